// Norms over too little: of a single number the normalized value is 0 whatever it is, and of a
// whole image the mean is.
#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "base/text.h"
#include "config/norm_fit.h"
#include "config/norm_kind.h"
#include "config/validate.h"

namespace syncbn::config {
namespace {

std::vector<int64_t> BatchesOf(const RunCheck& check) {
  if (!check.Readable({"cluster"})) return {};
  const auto& batches = check.spec.cluster().batch_per_replica();
  return {batches.begin(), batches.end()};
}

// The first of these keys of a norm that was given; else the norm.
std::string GivenPath(const RunCheck& check, const std::string& path,
                      std::initializer_list<const char*> keys) {
  for (const char* key : keys) {
    if (check.origins.Given(path + key)) return path + key;
  }
  return path;
}

// The norms of a model by name that see one number a channel and sample, as far as they are known.
struct FlatNorm {
  int64_t channels;
  std::string where;
};

std::vector<FlatNorm> FlatNormsOf(const RunCheck& check) {
  const v1::ModelSpec& model = check.spec.model();
  std::vector<FlatNorm> norms;
  if (model.architecture() == "mlp" && check.Readable({"model.hidden"})) {
    for (const int width : model.hidden()) {
      norms.push_back({width, "the hidden layer of " + Plural(width, "feature")});
    }
  }
  // LeNet with instance norm has none behind its hidden layer.
  if (model.architecture() == "lenet" && model.norm().kind() != v1::NORM_KIND_INSTANCE) {
    norms.push_back({500, "the hidden layer of 500 features"});
  }
  if (model.architecture().starts_with("vgg1") && check.Readable({"data.dataset", "model.width"})) {
    // Halved five times, or until they are a single pixel.
    const KnownData data = KnownDataOf(check.spec.data());
    if (data.height > 0 && data.height < 32) {
      norms.push_back({ScaledChannels(512, model.width()),
                       "the last stage of " + model.architecture() + ", where images of " +
                           std::to_string(data.height) + " x " + std::to_string(data.width) +
                           " are a single pixel,"});
    }
  }
  return norms;
}

// Channels of the last norm of a residual network.
int64_t LastResNetChannels(const v1::ModelSpec& model) {
  const std::string& name = model.architecture();
  if (name == "resnet50" || name == "resnet101" || name == "resnet152") {
    return 4 * ScaledChannels(512, model.width());
  }
  const bool large = name == "resnet18" || name == "resnet34";
  return ScaledChannels(large ? 512 : 64, model.width());
}

}  // namespace

bool CheckNormElements(const RunCheck& check, const std::string& path, const v1::NormSpec& norm,
                       int64_t channels, const std::string& where, const std::string& other_kinds) {
  if (IsOverBatch(norm.kind())) {
    const std::vector<int64_t> batches = BatchesOf(check);
    const std::optional<NormGroups> groups = FitNormBatch(norm.batch(), batches);
    const std::string single = groups ? GroupOfOneSample(*groups, batches) : "";
    if (single.empty()) return true;
    check.Report(GivenPath(check, path, {".batch.samples", ".batch.scope"}),
                 single + ", and " + where +
                     " has one number for each channel and sample: over a single number every "
                     "output of a norm is the same",
                 "Give the normalization batch at least 2 samples, or use " + other_kinds + ".");
    return false;
  }
  if (!NormalizesChannelsAlone(norm, channels, {})) return true;
  const bool group = norm.kind() == v1::NORM_KIND_GROUP;
  check.Report(GivenPath(check, path, {group ? ".groups" : ".kind"}),
               "every statistic of " + where +
                   " would be over a single number, whose normalized "
                   "value is always 0",
               group ? "Use fewer groups or more channels."
               : norm.kind() == v1::NORM_KIND_INSTANCE
                   ? "Instance norm needs height and width: use `group` or `layer`."
                   : "Use more channels.");
  return false;
}

bool NormalizesChannelsAlone(const RunCheck& check, const v1::NormSpec& norm, int64_t channels) {
  return NormalizesChannelsAlone(norm, channels, BatchesOf(check));
}

void ReportConstantMean(const RunCheck& check, const std::string& path) {
  check.ReportKey(path,
                  "the mean over height and width of each normalized channel of each sample is the "
                  "norm's shift, the same for every image: the model could learn nothing",
                  "Put an activation between the norm and the mean, or take a norm over several "
                  "channels or samples.");
}

void ValidateNormSizes(const RunCheck& check) {
  const v1::ModelSpec& model = check.spec.model();
  if (!model.layers().empty()) return;  // ValidateLayers knows the shapes
  const v1::NormSpec& norm = model.norm();
  for (const FlatNorm& flat : FlatNormsOf(check)) {
    if (!CheckNormElements(check, "model.norm", norm, flat.channels, flat.where)) break;
  }
  // The last norm of a ResNet then stands directly before the mean over height and width.
  if (model.architecture().starts_with("resnet") && check.Readable({"model.width"}) &&
      norm.placement() == v1::NORM_PLACEMENT_AFTER_ACTIVATION &&
      NormalizesChannelsAlone(check, norm, LastResNetChannels(model))) {
    ReportConstantMean(check, "model.norm.placement");
  }
}

}  // namespace syncbn::config
