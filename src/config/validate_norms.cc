// model.norm and the norms of hand-written layers.
#include <algorithm>
#include <optional>
#include <set>
#include <vector>

#include "base/text.h"
#include "config/norm_fit.h"
#include "config/norm_kind.h"
#include "config/recurrent.h"
#include "config/schema.h"
#include "config/validate.h"

namespace syncbn::config {
namespace {

struct PlacedNorm {
  std::string path;
  const v1::NormSpec* norm;
};

void CollectNorms(const LayerSpecs& layers, const std::string& path,
                  std::vector<PlacedNorm>& norms) {
  for (int i = 0; i < layers.size(); ++i) {
    const std::string below = path + "." + std::to_string(i);
    if (layers[i].has_norm()) norms.push_back({below + ".norm", &layers[i].norm()});
    ForInnerLayers(layers[i], below, [&](const LayerSpecs& inner, const std::string& at) {
      CollectNorms(inner, at, norms);
    });
  }
}

// The norms that the model has: model.norm, or those of its layers.
std::vector<PlacedNorm> NormsOf(const v1::ModelSpec& model) {
  std::vector<PlacedNorm> norms;
  if (model.layers().empty()) {
    norms.push_back({"model.norm", &model.norm()});
  } else {
    if (HasRecurrentLayer(model)) norms.push_back({"model.norm", &model.norm()});
    CollectNorms(model.layers(), "model.layers", norms);
  }
  return norms;
}

// Reports a number of samples that does not fit, with the nearest that do.
void ValidateNormBatch(const RunCheck& check, const std::string& path, const v1::NormBatch& batch) {
  const v1::ClusterSpec& cluster = check.spec.cluster();
  const std::vector<int64_t> batches(cluster.batch_per_replica().begin(),
                                     cluster.batch_per_replica().end());
  const int64_t samples = batch.samples();
  const int64_t largest = *std::max_element(batches.begin(), batches.end());
  // An empty SGD batch is an error of its own.
  if (largest == 0 || FitNormBatch(batch, batches)) return;
  std::set<int64_t> fitting = {largest};
  for (size_t group = 1; group <= batches.size(); ++group) {
    if (batches.size() % group != 0) continue;
    const std::optional<int64_t> sum = SamplesOfGroups(batches, group);
    if (sum && *sum > largest) fitting.insert(*sum);
  }
  const auto above = fitting.upper_bound(samples);
  std::vector<std::string> nearest = {std::to_string(*std::prev(above))};
  if (above != fitting.end()) nearest.push_back(std::to_string(*above));
  const bool equal = std::all_of(batches.begin(), batches.end(),
                                 [&](int64_t batch) { return batch == batches.front(); });
  const std::string what =
      "a normalization batch of " + Plural(samples, "sample") + " does not fit " +
      Plural(cluster.replicas(), "replica") + " of " +
      (equal ? Plural(largest, "sample")
             : FieldText(cluster, *cluster.GetDescriptor()->FindFieldByName("batch_per_replica")) +
                   " samples");
  check.Report(
      path,
      what + "; the nearest that " + (nearest.size() > 1 ? "fit are " : "fits is ") +
          Join(nearest, " and "),
      "Up to the largest batch of a replica any number fits; above, it must be the samples "
      "of 2 or more consecutive replicas whose number divides `replicas`.");
}

// `key` of a norm where it was given, else that of model.norm, which it has it from.
std::string GivenOr(const RunCheck& check, const std::string& path, const std::string& key) {
  return check.origins.Given(path + key) ? path + key : "model.norm" + key;
}

// Where there is no learned scale it cannot start anywhere. What a norm has anyway may be named: a
// run file that was printed names every value.
void ValidateInitialScale(const RunCheck& check, const std::vector<PlacedNorm>& norms) {
  for (const PlacedNorm& placed : norms) {
    constexpr double kDefault = 1;  // model.proto
    const std::string key = placed.path + ".initial_scale";
    if (!check.origins.Given(key) || !IsNormLayer(placed.norm->kind()) || placed.norm->affine()) {
      continue;
    }
    const double anyway =
        placed.path == "model.norm" ? kDefault : check.spec.model().norm().initial_scale();
    if (placed.norm->initial_scale() == anyway) continue;
    check.ReportKey(key, "has no effect with `affine: false`: the norm has no scale",
                    "Remove one of the two.");
  }
}

// Rules of running averages of all norms of a model must be one.
void ValidateRunning(const RunCheck& check, const std::vector<PlacedNorm>& norms) {
  const PlacedNorm* first = nullptr;
  for (const PlacedNorm& placed : norms) {
    const v1::RunningSpec& running = placed.norm->running();
    if (!IsOverBatch(placed.norm->kind())) continue;
    if (running.kind() == v1::RUNNING_KIND_NONE) {
      if (placed.norm->kind() != v1::NORM_KIND_BATCH_RENORM) continue;
      check.Report(
          GivenOr(check, placed.path, ".running"),
          "batch renormalization corrects the statistics of a batch by the running ones and "
          "cannot do without them",
          "Keep running statistics (`momentum` or `cumulative`), or use `kind: batch`.");
      continue;
    }
    if (first == nullptr) {
      first = &placed;
      continue;
    }
    const v1::RunningSpec& other = first->norm->running();
    const bool same =
        running.kind() == other.kind() &&
        (running.kind() != v1::RUNNING_KIND_MOMENTUM || running.momentum() == other.momentum());
    if (same) continue;
    check.Report(placed.path + ".running",
                 "the running statistics of all norms of a model move by one rule; " + first->path +
                     " has another",
                 "Give it once, as model.norm.running; a single norm may have `running: none`.");
  }
}

void ValidateUnusedNorm(const RunCheck& check, const std::vector<PlacedNorm>& norms) {
  if (check.spec.model().layers().empty()) return;
  if (norms.empty() && check.origins.Given("model.norm")) {
    check.ReportKey("model.norm", "has no effect: `layers` holds no `norm`, `rnn` or `lstm`",
                    "Remove it, or put `- norm` where it belongs.");
    return;
  }
  std::set<std::string> paths = {"model.norm"};
  for (const PlacedNorm& placed : norms) paths.insert(placed.path);
  for (const std::string& path : paths) {
    if (!check.origins.Given(path + ".placement")) continue;
    check.ReportKey(path + ".placement",
                    "has no effect in a model by hand: a norm acts where it stands in `layers`",
                    "Remove it.");
  }
}

}  // namespace

bool HasBatchNorm(const v1::ModelSpec& model) {
  const std::vector<PlacedNorm> norms = NormsOf(model);
  return std::any_of(norms.begin(), norms.end(),
                     [](const PlacedNorm& placed) { return IsOverBatch(placed.norm->kind()); });
}

bool HasNormLayer(const v1::ModelSpec& model) {
  return !NormsOf(model).empty();
}

bool EvaluationFits(const v1::ModelSpec& model, v1::EvaluationMode mode) {
  if (mode == v1::EVALUATION_MODE_BATCH) return HasBatchNorm(model);
  // Precise moments take the place of the running statistics: where there are none there is no place.
  if (mode == v1::EVALUATION_MODE_PRECISE && !HasBatchNorm(model)) return false;
  // By hand, a single norm may have no running statistics and the others have.
  return !model.layers().empty() || !IsOverBatch(model.norm().kind()) ||
         model.norm().running().kind() != v1::RUNNING_KIND_NONE;
}

void ValidateNorms(const RunCheck& check) {
  if (!check.Readable({"model.norm", "model.layers", "model.architecture"})) return;
  const std::vector<PlacedNorm> norms = NormsOf(check.spec.model());
  ValidateUnusedNorm(check, norms);
  ValidateRunning(check, norms);
  ValidateInitialScale(check, norms);
  ValidateNormSizes(check);
  if (!check.Readable({"cluster"}) || check.spec.cluster().batch_per_replica().empty()) return;
  bool shared = false;  // the value of model.norm is reported once
  for (const PlacedNorm& placed : norms) {
    if (!IsOverBatch(placed.norm->kind()) || placed.norm->batch().samples() == 0) continue;
    std::string path = placed.path + ".batch.samples";
    if (!check.origins.Given(path)) {
      if (shared) continue;
      shared = true;
      path = "model.norm.batch.samples";
    }
    ValidateNormBatch(check, path, placed.norm->batch());
  }
}

}  // namespace syncbn::config
