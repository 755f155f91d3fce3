#include "config/recurrent.h"

#include <algorithm>

#include "base/unknown_value.h"
#include "config/norm_kind.h"

namespace syncbn::config {

bool HasRecurrentLayer(const LayerSpecs& layers) {
  return std::any_of(layers.begin(), layers.end(), [](const v1::LayerSpec& layer) {
    bool found = layer.has_rnn() || layer.has_lstm();
    ForInnerLayers(layer, "", [&](const LayerSpecs& inner, const std::string& path) {
      found |= HasRecurrentLayer(inner);
    });
    return found;
  });
}

bool HasRecurrentLayer(const v1::ModelSpec& model) {
  if (!model.layers().empty()) return HasRecurrentLayer(model.layers());
  return model.architecture() == "rnn" || model.architecture() == "lstm";
}

std::string NormUnfitForRecurrence(const v1::NormSpec& norm) {
  constexpr const char* kUnfit =
      "is no norm of a recurrent layer: batch norm has a form for the time steps, of each apart or "
      "of "
      "all together, and layer norm";
  switch (norm.kind()) {
    case v1::NORM_KIND_NONE:
    case v1::NORM_KIND_LAYER:
    case v1::NORM_KIND_BATCH:
      return "";
    case v1::NORM_KIND_UNSPECIFIED:
    case v1::NORM_KIND_INSTANCE:
    case v1::NORM_KIND_GROUP:
    case v1::NORM_KIND_WEIGHT:
    case v1::NORM_KIND_BATCH_RENORM:
    case v1::NORM_KIND_ITERATIVE:
      return kUnfit;
    default:
      ThrowUnknownValue("model.norm.kind", static_cast<int>(norm.kind()));
  }
}

}  // namespace syncbn::config
