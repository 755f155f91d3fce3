// What the settings of a norm mean for the layers around it.
#pragma once

#include "base/unknown_value.h"
#include "syncbn/v1/run.pb.h"

namespace syncbn::nn {

// Whether it is a layer of its own: weight normalization belongs to the weight of another one.
inline bool IsLayer(v1::NormKind kind) {
  switch (kind) {
    case v1::NORM_KIND_NONE:
    case v1::NORM_KIND_WEIGHT: return false;
    case v1::NORM_KIND_BATCH:
    case v1::NORM_KIND_LAYER:
    case v1::NORM_KIND_INSTANCE:
    case v1::NORM_KIND_GROUP: return true;
    default: ThrowUnknownValue("model.norm.kind", static_cast<int>(kind));
  }
}

inline bool IsAfterActivation(v1::NormPlacement placement) {
  switch (placement) {
    case v1::NORM_PLACEMENT_UNSPECIFIED:
    case v1::NORM_PLACEMENT_BEFORE_ACTIVATION: return false;
    case v1::NORM_PLACEMENT_AFTER_ACTIVATION: return true;
    default: ThrowUnknownValue("model.norm.placement", static_cast<int>(placement));
  }
}

}  // namespace syncbn::nn
