// What the kind and the place of a norm mean for the layers around it: rules that validation and
// the layers share.
#pragma once

#include <string>

#include "base/unknown_value.h"
#include "syncbn/v1/run.pb.h"

namespace syncbn::config {

using LayerSpecs = google::protobuf::RepeatedPtrField<v1::LayerSpec>;

// Whether it is a layer of its own, which subtracts a mean: weight normalization belongs to the
// weight of another one. A kind that could not be read counts as one.
inline bool IsNormLayer(v1::NormKind kind) {
  switch (kind) {
    case v1::NORM_KIND_NONE:
    case v1::NORM_KIND_WEIGHT:
      return false;
    case v1::NORM_KIND_UNSPECIFIED:
    case v1::NORM_KIND_BATCH:
    case v1::NORM_KIND_LAYER:
    case v1::NORM_KIND_INSTANCE:
    case v1::NORM_KIND_GROUP:
    case v1::NORM_KIND_BATCH_RENORM:
    case v1::NORM_KIND_ITERATIVE:
      return true;
    default:
      ThrowUnknownValue("model.norm.kind", static_cast<int>(kind));
  }
}

// Whether its statistics are of several samples: it has a normalization batch, and running
// statistics.
inline bool IsOverBatch(v1::NormKind kind) {
  return kind == v1::NORM_KIND_BATCH || kind == v1::NORM_KIND_BATCH_RENORM ||
         kind == v1::NORM_KIND_ITERATIVE;
}

// Whether its output gets noise in training.
inline bool HasNoise(const v1::NormSpec& norm) {
  return norm.kind() == v1::NORM_KIND_BATCH &&
         (norm.noise().shift() > 0 || norm.noise().scale() > 1);
}

// Calls visit(layers, path) for each list of layers within a layer at `path`: bodies, shortcuts,
// branches.
template <typename Visit>
void ForInnerLayers(const v1::LayerSpec& layer, const std::string& path, Visit visit) {
  if (layer.has_residual()) {
    visit(layer.residual().body(), path + ".residual.body");
    visit(layer.residual().shortcut(), path + ".residual.shortcut");
  }
  for (int i = 0; layer.has_concat() && i < layer.concat().branches_size(); ++i) {
    visit(layer.concat().branches(i).body(),
          path + ".concat.branches." + std::to_string(i) + ".body");
  }
}
// The same of a layer that may be changed.
template <typename Visit>
void ForInnerLayers(v1::LayerSpec& layer, Visit visit) {
  if (layer.has_residual()) {
    visit(*layer.mutable_residual()->mutable_body());
    visit(*layer.mutable_residual()->mutable_shortcut());
  }
  if (!layer.has_concat()) return;
  for (v1::BranchSpec& branch : *layer.mutable_concat()->mutable_branches()) {
    visit(*branch.mutable_body());
  }
}

inline bool IsAfterActivation(v1::NormPlacement placement) {
  switch (placement) {
    case v1::NORM_PLACEMENT_UNSPECIFIED:
    case v1::NORM_PLACEMENT_BEFORE_ACTIVATION:
      return false;
    case v1::NORM_PLACEMENT_AFTER_ACTIVATION:
      return true;
    default:
      ThrowUnknownValue("model.norm.placement", static_cast<int>(placement));
  }
}

// Whether a norm layer stands directly behind layer `index` of a list: a bias of that layer would
// be lost in it.
inline bool NormLayerFollows(const LayerSpecs& layers, int index) {
  return index + 1 < layers.size() && layers[index + 1].has_norm() &&
         IsNormLayer(layers[index + 1].norm().kind());
}

// Whether the weight of layer `index` is normalized, which a weight norm directly behind it asks
// for.
inline bool WeightNormFollows(const LayerSpecs& layers, int index) {
  return index + 1 < layers.size() && layers[index + 1].has_norm() &&
         layers[index + 1].norm().kind() == v1::NORM_KIND_WEIGHT;
}

// False for a weight norm at `index` that has no weight to act on: it must stand directly behind a
// conv or linear.
inline bool HasItsWeight(const LayerSpecs& layers, int index) {
  if (layers[index].norm().kind() != v1::NORM_KIND_WEIGHT) return true;
  return index > 0 && (layers[index - 1].has_conv() || layers[index - 1].has_linear());
}

}  // namespace syncbn::config
