// model.norm and the norms of hand-written layers.
#include <algorithm>
#include <optional>
#include <set>
#include <vector>

#include "base/text.h"
#include "config/norm_fit.h"
#include "config/schema.h"
#include "config/validate.h"

namespace syncbn::config {
namespace {

using Layers = google::protobuf::RepeatedPtrField<v1::LayerSpec>;

struct PlacedNorm {
  std::string path;
  const v1::NormSpec* norm;
};

void CollectNorms(const Layers& layers, const std::string& path, std::vector<PlacedNorm>& norms) {
  for (int i = 0; i < layers.size(); ++i) {
    const std::string below = path + "." + std::to_string(i);
    if (layers[i].has_norm()) norms.push_back({below + ".norm", &layers[i].norm()});
    if (layers[i].has_residual()) {
      CollectNorms(layers[i].residual().body(), below + ".residual.body", norms);
      CollectNorms(layers[i].residual().shortcut(), below + ".residual.shortcut", norms);
    }
  }
}

// The norms that the model has: model.norm, or those of its layers.
std::vector<PlacedNorm> NormsOf(const v1::ModelSpec& model) {
  std::vector<PlacedNorm> norms;
  if (model.layers().empty()) {
    norms.push_back({"model.norm", &model.norm()});
  } else {
    CollectNorms(model.layers(), "model.layers", norms);
  }
  return norms;
}

// A number of samples fits when it is at most the largest batch of a replica (whose batches are
// then cut into slices) or the samples of every group of g consecutive replicas, for a g that
// divides R.
void ValidateNormBatch(const RunCheck& check, const std::string& path, int64_t samples) {
  const v1::ClusterSpec& cluster = check.spec.cluster();
  const std::vector<int64_t> batches(cluster.batch_per_replica().begin(),
                                     cluster.batch_per_replica().end());
  const int64_t largest = *std::max_element(batches.begin(), batches.end());
  if (samples <= largest || largest == 0) return;  // an empty SGD batch is an error of its own
  std::set<int64_t> fitting = {largest};
  for (size_t group = 1; group <= batches.size(); ++group) {
    if (batches.size() % group != 0) continue;
    const std::optional<int64_t> sum = SamplesOfGroups(batches, group);
    if (sum && *sum > largest) fitting.insert(*sum);
  }
  if (fitting.contains(samples)) return;
  const auto above = fitting.upper_bound(samples);
  std::vector<std::string> nearest = {std::to_string(*std::prev(above))};
  if (above != fitting.end()) nearest.push_back(std::to_string(*above));
  const bool equal = std::all_of(batches.begin(), batches.end(),
                                 [&](int64_t batch) { return batch == batches.front(); });
  const std::string what =
      "a normalization batch of " + std::to_string(samples) + " samples does not fit " +
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

// Rules of running averages of all norms of a model must be one.
void ValidateRunning(const RunCheck& check, const std::vector<PlacedNorm>& norms) {
  const PlacedNorm* first = nullptr;
  for (const PlacedNorm& placed : norms) {
    const v1::RunningSpec& running = placed.norm->running();
    if (placed.norm->kind() != v1::NORM_KIND_BATCH || running.kind() == v1::RUNNING_KIND_NONE)
      continue;
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

void ValidateMlpNorm(const RunCheck& check) {
  const v1::ModelSpec& model = check.spec.model();
  if (model.architecture() != "mlp") return;
  const v1::NormSpec& norm = model.norm();
  if (norm.kind() == v1::NORM_KIND_INSTANCE) {
    check.Report("model.norm.kind",
                 "instance norm needs height and width: over a single feature every output is 0",
                 "Use `layer` or `group` in an mlp.");
    return;
  }
  for (int i = 0; i < model.hidden_size(); ++i) {
    const int64_t width = model.hidden(i);
    const bool single =
        (norm.kind() == v1::NORM_KIND_LAYER && width == 1) ||
        (norm.kind() == v1::NORM_KIND_GROUP && FittingGroups(width, norm.groups()) == width);
    if (!single) continue;
    const std::string path =
        norm.kind() == v1::NORM_KIND_LAYER ? "model.norm.kind" : "model.norm.groups";
    check.Report(path,
                 "every group of the hidden layer of " + std::to_string(width) +
                     " has a single feature, whose normalized value is always 0",
                 "Use fewer groups or a wider layer.");
    return;
  }
}

// VGG halves the images five times, or until they are a single pixel.
void ValidateVggNorm(const RunCheck& check) {
  const v1::ModelSpec& model = check.spec.model();
  const KnownData data = KnownDataOf(check.spec.data());
  if (!model.architecture().starts_with("vgg") || data.height == 0 || data.height >= 32) return;
  if (model.norm().kind() != v1::NORM_KIND_INSTANCE) return;
  check.Report("model.norm.kind",
               "images of " + std::to_string(data.height) + " x " + std::to_string(data.width) +
                   " are a single pixel in the last stage of " + model.architecture() +
                   ": over a single number every output of instance norm is 0",
               "Use `group` or `layer`.");
}

void ValidateUnusedNorm(const RunCheck& check, const std::vector<PlacedNorm>& norms) {
  if (check.spec.model().layers().empty()) return;
  if (norms.empty() && check.origins.Given("model.norm")) {
    check.ReportKey("model.norm", "has no effect: `layers` holds no `norm`",
                    "Remove it, or put `- norm` where it belongs.");
    return;
  }
  std::vector<std::string> paths = {"model.norm"};
  for (const PlacedNorm& placed : norms) paths.push_back(placed.path);
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
  return std::any_of(norms.begin(), norms.end(), [](const PlacedNorm& placed) {
    return placed.norm->kind() == v1::NORM_KIND_BATCH;
  });
}

bool HasNormLayer(const v1::ModelSpec& model) {
  return !NormsOf(model).empty();
}

bool EvaluationFits(const v1::ModelSpec& model, v1::EvaluationMode mode) {
  if (mode == v1::EVALUATION_MODE_BATCH) return HasBatchNorm(model);
  // Precise moments take the place of the running statistics: where there are none there is no place.
  if (mode == v1::EVALUATION_MODE_PRECISE && !HasBatchNorm(model)) return false;
  // By hand, a single norm may have no running statistics and the others have.
  return !model.layers().empty() || model.norm().kind() != v1::NORM_KIND_BATCH ||
         model.norm().running().kind() != v1::RUNNING_KIND_NONE;
}

void ValidateNorms(const RunCheck& check) {
  if (!check.Readable({"model.norm", "model.layers", "model.architecture"})) return;
  const std::vector<PlacedNorm> norms = NormsOf(check.spec.model());
  ValidateUnusedNorm(check, norms);
  ValidateRunning(check, norms);
  if (check.Readable({"model.hidden"})) ValidateMlpNorm(check);
  if (check.Readable({"data.dataset"})) ValidateVggNorm(check);
  if (!check.Readable({"cluster"}) || check.spec.cluster().batch_per_replica().empty()) return;
  bool shared = false;  // the value of model.norm is reported once
  for (const PlacedNorm& placed : norms) {
    if (placed.norm->kind() != v1::NORM_KIND_BATCH || placed.norm->batch().samples() == 0) continue;
    std::string path = placed.path + ".batch.samples";
    if (!check.origins.Given(path)) {
      if (shared) continue;
      shared = true;
      path = "model.norm.batch.samples";
    }
    ValidateNormBatch(check, path, placed.norm->batch().samples());
  }
}

}  // namespace syncbn::config
