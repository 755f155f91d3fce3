#include "config/validate.h"

#include <algorithm>
#include <cctype>
#include <numeric>
#include <utility>

#include "base/home.h"
#include "base/text.h"
#include "config/norm_kind.h"
#include "config/schema.h"

namespace syncbn::config {
namespace {

void ValidateName(const RunCheck& check) {
  if (!check.Readable({"name"})) return;
  const std::string& name = check.spec.name();
  const bool characters = std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return c < 0x80 && (std::isalnum(c) != 0 || c == '.' || c == '_' || c == '-');
  });
  const bool start = !name.empty() && std::isalnum(static_cast<unsigned char>(name[0])) != 0;
  if (name.empty() || name.size() > 128 || !characters || !start) {
    check.Report(
        "name", "expected 1 to 128 letters, digits, `.`, `_` and `-`, the first a letter or digit");
  }
}

void ValidateInitialWeights(const RunCheck& check) {
  const std::string key = "model.init.from";
  if (!check.Readable({key})) return;
  const std::string& path = check.spec.model().init().from();
  if (!CheckWholePath(check, key, path) || !path.empty() || !check.origins.Given(key)) return;
  check.Report(key, "is empty: expected a safetensors file", "Leave it out for drawn weights.");
}

void ValidateCluster(const RunCheck& check) {
  if (!check.Readable({"cluster"})) return;
  const auto& batches = check.spec.cluster().batch_per_replica();
  const int64_t sum = std::accumulate(batches.begin(), batches.end(), int64_t{0});
  if (sum == 0) {
    check.Report("cluster.batch_per_replica",
                 "no replica has a sample: the SGD batch would be empty",
                 "Give a number of at least 1, or a list with at least one.");
    return;
  }
  const v1::DataSpec& data = check.spec.data();
  if (!check.Readable({"data.last_batch", "data.train_limit", "data.shapes", "data.dataset"}))
    return;
  if (data.last_batch() != v1::LAST_BATCH_DROP) return;
  int64_t samples = data.train_limit();
  if (data.dataset() == v1::DATASET_SHAPES) {
    const int64_t generated = data.shapes().train_samples();
    samples = samples == 0 ? generated : std::min(samples, generated);
  }
  if (samples == 0 || samples >= sum) return;
  check.Report("data.last_batch",
               "an epoch would have no step: it has " + Plural(samples, "sample") +
                   ", and the only batch, smaller than the SGD batch of " + std::to_string(sum) +
                   ", is dropped",
               "Write `last_batch: keep`, or make the batches smaller.");
}

// Where dropout stands before every norm, there must be norms.
void ValidateDropoutPlace(const RunCheck& check) {
  const v1::ModelSpec& model = check.spec.model();
  if (!check.Readable({"model.dropout", "model.dropout_place", "model.norm.kind"})) return;
  if (!(model.dropout() > 0) || model.dropout_place() != v1::DROPOUT_PLACE_BEFORE_NORM ||
      model.norm().kind() == v1::NORM_KIND_UNSPECIFIED || IsNormLayer(model.norm().kind())) {
    return;
  }
  check.Report("model.dropout_place",
               "there is no norm layer with `model.norm: " +
                   EnumText(*v1::NormKind_descriptor()->FindValueByNumber(model.norm().kind())) +
                   "`, so nothing would be dropped",
               "Use `after_activation` or `last_layers`, or another norm.");
}

// VGG's linear layers want 7 x 7 features, to which torchvision pools; ours does where the windows
// of that are alike (nn/vgg.cc). Said here, before the images are looked for.
void ValidateVggSize(const RunCheck& check) {
  if (!check.Readable({"data.dataset", "data.image_size"})) return;
  const v1::DataSpec& data = check.spec.data();
  const std::string& name = check.spec.model().architecture();
  if (!name.starts_with("vgg1") || data.dataset() != v1::DATASET_IMAGE_FOLDER) return;
  const int side = data.image_size() / 32;
  if (side < 7 || side % 7 <= 1) return;
  const std::string features = std::to_string(side);
  check.Report("data.image_size",
               "gives " + name + " " + features + " x " + features +
                   " features, which cannot be pooled evenly to the 7 x 7 of its linear layers",
               "Take a multiple of 224 or up to 63 more (224 to 287, 448 to 511), or less than 224 "
               "(one linear layer, behind the mean).");
}

// What a model by name and a model by hand have of their own.
void ValidateModel(const RunCheck& check) {
  if (!check.Readable({"model.architecture", "model.layers"})) return;
  const v1::ModelSpec& model = check.spec.model();
  const bool by_name = !model.architecture().empty(), by_hand = !model.layers().empty();
  if (by_name && check.origins.Given("model.layers")) {
    check.ReportKey("model.layers", "a model has either `architecture` or `layers`",
                    "Remove one of them.");
  } else if (!by_name && !by_hand) {
    check.ReportKey("model", "needs either `architecture` (a model by name) or `layers` (by hand)",
                    "For example: `architecture: resnet20`.");
  }
  ValidateDropoutPlace(check);
  ValidateVggSize(check);
  if (!check.Readable({"model.init", "model.norm"}) || !model.init().zero_last_gamma()) return;
  const std::string path = "model.init.zero_last_gamma";
  if (by_name && !model.architecture().starts_with("resnet")) {
    check.Report(path, "has no effect: " + model.architecture() + " has no residual blocks",
                 "Remove it.");
  } else if (!ZeroLastGammaFits(model)) {
    check.Report(path,
                 "needs residual blocks whose last norm has a learned scale and stands before the "
                 "activation: that scale starts at 0",
                 by_name ? "Remove it, or change model.norm (kind, affine, placement)."
                         : "Remove it, or end the body of a `residual` with a `norm`.");
  }
}

// A norm that is a layer, with a learned scale.
bool HasScale(const v1::NormSpec& norm) {
  return IsNormLayer(norm.kind()) && norm.affine();
}

bool SomeBodyEndsInScale(const LayerSpecs& layers) {
  return std::any_of(layers.begin(), layers.end(), [](const v1::LayerSpec& layer) {
    const auto& body = layer.residual().body();
    bool found = !body.empty() && body.rbegin()->has_norm() && HasScale(body.rbegin()->norm());
    ForInnerLayers(layer, "", [&](const LayerSpecs& inner, const std::string& path) {
      found |= SomeBodyEndsInScale(inner);
    });
    return found;
  });
}

}  // namespace

bool RunCheck::Readable(std::initializer_list<std::string_view> paths) const {
  return std::none_of(paths.begin(), paths.end(),
                      [&](std::string_view path) { return origins.Failed(path); });
}

bool RunCheck::IsShortened() const {
  return stored || origins.GivenBy("train.epochs") == Origin::Kind::kSet;
}

void RunCheck::Report(const std::string& path, std::string message, std::string hint) const {
  diagnostics.Add(origins.ValueLocation(path), path, std::move(message), std::move(hint));
}

void RunCheck::ReportKey(const std::string& path, std::string message, std::string hint) const {
  diagnostics.Add(origins.KeyLocation(path), path, std::move(message), std::move(hint));
}

bool CheckWholePath(const RunCheck& check, const std::string& key, const std::string& path) {
  const std::string whole = ExpandHome(path);
  if (whole == path) return true;
  check.Report(
      key,
      "begins with `~`, which only a shell reads as a home folder: a run file may be read on "
      "another machine, as another user",
      "Write the whole path, for example " + whole + ".");
  return false;
}

bool ZeroLastGammaFits(const v1::ModelSpec& model) {
  if (model.architecture().empty()) return SomeBodyEndsInScale(model.layers());
  return model.architecture().starts_with("resnet") && HasScale(model.norm()) &&
         !IsAfterActivation(model.norm().placement());
}

void ValidateRunSpec(const v1::RunSpec& spec, const Origins& origins, Diagnostics& diagnostics,
                     bool stored) {
  const RunCheck check{
      .spec = spec, .origins = origins, .diagnostics = diagnostics, .stored = stored};
  ValidateName(check);
  ValidateData(check);
  ValidateInitialWeights(check);
  ValidateModel(check);
  ValidateNorms(check);
  ValidateLayers(check);
  ValidateRecurrent(check);
  ValidateCluster(check);
  ValidateTraining(check);
}

}  // namespace syncbn::config
