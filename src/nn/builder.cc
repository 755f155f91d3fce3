#include "nn/builder.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "base/pattern.h"
#include "base/text.h"
#include "base/unknown_value.h"
#include "config/norm_fit.h"
#include "nn/batch_norm.h"
#include "nn/batch_renorm.h"
#include "nn/iterative_norm.h"
#include "nn/sample_norm.h"

namespace syncbn::nn {
namespace {

RunningRule RuleOf(const v1::RunningSpec& spec) {
  using Kind = RunningRule::Kind;
  switch (spec.kind()) {
    case v1::RUNNING_KIND_UNSPECIFIED:
    case v1::RUNNING_KIND_MOMENTUM:
      return {.kind = Kind::kMomentum, .momentum = spec.momentum()};
    case v1::RUNNING_KIND_CUMULATIVE: return {.kind = Kind::kCumulative, .momentum = 0};
    case v1::RUNNING_KIND_NONE: return {.kind = Kind::kNone};
    default: ThrowUnknownValue("model.norm.running.kind", static_cast<int>(spec.kind()));
  }
}

}  // namespace

ModelBuilder::ModelBuilder(const v1::ModelSpec& spec, const v1::ClusterSpec& cluster,
                           const BuildOptions& options)
    : spec_(spec), cluster_(cluster), options_(options) {}

int64_t ModelBuilder::Scaled(int64_t channels) const {
  return config::ScaledChannels(channels, spec_.width());
}

void ModelBuilder::Claim(const std::string& layer) {
  if (names_.insert(layer).second) return;
  throw Error(ErrorCode::kInvalidArgument, "two layers are called \"" + layer +
                                               "\": give the layers of a model different names");
}

Initializer ModelBuilder::WeightInitializer(int64_t fan_in, int64_t fan_out, int64_t he_fan) const {
  const v1::InitSpec& init = spec_.init();
  using Kind = Initializer::Kind;
  switch (init.kind()) {
    case v1::INIT_KIND_UNSPECIFIED:
    case v1::INIT_KIND_HE:
      return {Kind::kNormal, init.scale() * std::sqrt(2.0 / static_cast<double>(he_fan))};
    case v1::INIT_KIND_XAVIER:
      return {Kind::kUniform,
              init.scale() * std::sqrt(6.0 / static_cast<double>(fan_in + fan_out))};
    case v1::INIT_KIND_NORMAL:
      return {Kind::kNormal, init.scale() * init.std()};
    default:
      ThrowUnknownValue("model.init.kind", static_cast<int>(init.kind()));
  }
}

int ModelBuilder::Declare(std::string name, Shape shape, ParameterRole role,
                          Initializer initializer) {
  return parameters_.Add(
      {.name = std::move(name), .shape = shape, .role = role, .initializer = initializer});
}

bool ModelBuilder::AdoptRunningRule(const std::string& name, const v1::RunningSpec& spec) {
  const RunningRule rule = RuleOf(spec);
  if (rule.kind == RunningRule::Kind::kNone) return false;
  if (!running_rule_) running_rule_ = rule;
  if (running_rule_->kind != rule.kind || running_rule_->momentum != rule.momentum) {
    throw Error(
        ErrorCode::kInvalidArgument,
        "layer " + name +
            ": its running statistics move by another rule than those of the layers before; "
            "give all norms of a model the same `running`, or `running: none`");
  }
  return true;
}

bool ModelBuilder::IsFrozen(const std::string& name, const v1::RunningSpec& spec) {
  tracked_.push_back(name);
  bool frozen = false;
  for (const std::string& pattern : spec.frozen()) {
    const bool fits = FitsPattern(pattern, name);
    frozen_[pattern] |= fits;
    frozen |= fits;
  }
  return frozen;
}

bool ModelBuilder::NormalizesChannelsAlone(const v1::NormSpec& spec, int64_t channels) const {
  return config::NormalizesChannelsAlone(spec, channels, BatchOfEachReplica(cluster_));
}

std::unique_ptr<Norm> ModelBuilder::MakeNorm(const std::string& name, const v1::NormSpec& spec,
                                             const Shape& input, double initial_gamma) {
  const int64_t channels = input.channels(), pixels = LayoutOf(input, 1, 1).rows_per_sample;
  norms_.push_back({.name = name, .spec = spec, .pixels = pixels, .channels = channels});
  Norm::Options options{.epsilon = spec.epsilon()};
  if (!spec.has_affine() || spec.affine()) {
    using Kind = Initializer::Kind;
    options.gamma = Declare(name + ".weight", {channels}, ParameterRole::kNormScale,
                            {Kind::kConstant, initial_gamma});
    options.beta =
        Declare(name + ".bias", {channels}, ParameterRole::kNormShift, {Kind::kConstant, 0});
  }
  const auto sample_norm = [&](int64_t groups) {
    return std::make_unique<SampleNorm>(name, options, channels, groups);
  };
  switch (spec.kind()) {
    case v1::NORM_KIND_LAYER:
      return sample_norm(1);
    case v1::NORM_KIND_INSTANCE:
      return sample_norm(channels);
    case v1::NORM_KIND_GROUP:
      return sample_norm(config::FittingGroups(channels, spec.groups()));
    case v1::NORM_KIND_BATCH:
    case v1::NORM_KIND_BATCH_RENORM:
    case v1::NORM_KIND_ITERATIVE:
      return MakeBatchNorm(name, spec, input, options);
    default:
      throw Error(
          ErrorCode::kInvalidArgument,
          "layer " + name + ": " + v1::NormKind_Name(spec.kind()) + " is not a layer of its own");
  }
}

std::unique_ptr<Norm> ModelBuilder::MakeBatchNorm(const std::string& name, const v1::NormSpec& spec,
                                                  const Shape& input,
                                                  const Norm::Options& options) {
  const int64_t channels = input.channels(), pixels = LayoutOf(input, 1, 1).rows_per_sample;
  if (spec.kind() == v1::NORM_KIND_ITERATIVE) {
    const StatisticsScope scope = ScopeOf(name, spec, channels, pixels);
    const bool tracked = AdoptRunningRule(name, spec.running());
    if (tracked && IsFrozen(name, spec.running())) {
      throw Error(
          ErrorCode::kInvalidArgument,
          "layer " + name +
              ": `iterative` cannot be trained behind frozen statistics; name only norms of "
              "kind `batch` or `batch_renorm` in `running.frozen`");
    }
    return std::make_unique<IterativeNorm>(
        name, options,
        IterativeNorm::IterativeOptions{
            .scope = scope,
            .whitening = {.channels = channels,
                          .group = std::min<int64_t>(spec.group_channels(), channels),
                          .iterations = spec.iterations(),
                          .epsilon = spec.epsilon()},
            .statistics = running_statistics_.Add(name, channels, tracked, spec.group_channels())});
  }
  const BatchNorm::BatchOptions batch = BatchStatistics(name, spec, channels, pixels);
  if (spec.kind() == v1::NORM_KIND_BATCH) return std::make_unique<BatchNorm>(name, options, batch);
  if (!running_statistics_[batch.statistics].tracked) {
    throw Error(
        ErrorCode::kInvalidArgument,
        "layer " + name +
            ": batch renormalization corrects statistics of a batch by the running ones; it "
            "cannot do without them");
  }
  const v1::RenormSpec& renorm = spec.renorm();
  return std::make_unique<BatchRenorm>(
      name, options, batch,
      RenormSchedule{.last = {.r_max = renorm.r_max(), .d_max = renorm.d_max()},
                     .hold = renorm.hold_steps(),
                     .ramp = renorm.ramp_steps()});
}

StatisticsScope ModelBuilder::ScopeOf(const std::string& name, const v1::NormSpec& spec,
                                      int64_t channels, int64_t pixels) {
  const StatisticsScope scope = WithFrame([&] { return "layer " + name; },
                                          [&] { return ResolveScope(spec.batch(), cluster_); });
  const std::string single = config::GroupOfOneSample(
      {.slice_samples = scope.slice_samples, .replicas_per_group = scope.replicas_per_group},
      BatchOfEachReplica(cluster_));
  if (pixels == 1 && !single.empty()) {
    throw Error(ErrorCode::kInvalidArgument,
                "batch norm: " + single + ", so each of the " + Plural(channels, "channel") +
                    " has a single number to normalize there, and its output would be the same "
                    "whatever comes in; give the normalization batch at least 2 samples")
        .AddFrame("layer " + name);
  }
  if (scope.crosses_replicas()) group_sizes_.insert(scope.replicas_per_group);
  return scope;
}

BatchNorm::BatchOptions ModelBuilder::BatchStatistics(const std::string& name,
                                                      const v1::NormSpec& spec, int64_t channels,
                                                      int64_t pixels,
                                                      std::optional<int64_t> steps) {
  const StatisticsScope scope = ScopeOf(name, spec, channels, pixels);
  const bool tracked = AdoptRunningRule(name, spec.running());
  BatchNorm::BatchOptions batch{
      .scope = scope, .channels = channels, .frozen = tracked && IsFrozen(name, spec.running())};
  if (!steps) {
    batch.statistics = running_statistics_.Add(name, channels, tracked);
    return batch;
  }
  batch.steps = *steps;
  batch.statistics = running_statistics_.size();
  for (int64_t step = 0; step < *steps; ++step) {
    running_statistics_.Add(name + "." + std::to_string(step), channels, tracked);
  }
  return batch;
}

void ModelBuilder::MarkActivated(const std::string& layer) {
  const auto output = std::ranges::find(outputs_, layer, &LayerOutput::layer);
  SYNCBN_CHECK(output != outputs_.end()) << layer;
  output->activated = true;
}

std::unique_ptr<Model> ModelBuilder::Finish(std::unique_ptr<Layer> body, const InputSpec& input) {
  for (const auto& [pattern, fits] : frozen_) {
    if (fits) continue;
    throw Error(ErrorCode::kInvalidArgument,
                "model.norm.running.frozen: " +
                    FitsNone(pattern, "norm with running statistics", tracked_));
  }
  parameters_.Freeze(options_.freeze);
  const RunningRule rule = running_rule_.value_or(RunningRule{.kind = RunningRule::Kind::kNone});
  auto model = std::make_unique<Model>(std::move(body), std::move(parameters_),
                                       std::move(running_statistics_), rule, input);
  model->set_dropouts(std::move(dropouts_));
  model->set_noises(std::move(noises_));
  std::vector<comm::Group> groups;
  for (const int size : group_sizes_) {
    const StatisticsScope scope{.replicas_per_group = size};
    for (int first = 0; first < cluster_.replicas(); first += size) {
      groups.push_back(scope.GroupOf(first));
    }
  }
  model->set_statistics_groups(std::move(groups));
  model->set_norms(std::move(norms_));
  model->set_outputs(std::move(outputs_));
  return model;
}

}  // namespace syncbn::nn
