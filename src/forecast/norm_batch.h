// The normalization batch of a model, changed.
#pragma once

#include "syncbn/v1/run.pb.h"

namespace syncbn::forecast {

enum class Norms {
  kOfTheModel,  // those that have the model's own: a layer of a hand-written model carries a copy
  kAll,
};

void SetNormBatch(v1::ModelSpec& model, const v1::NormBatch& batch, Norms norms);

v1::NormBatch GlobalNormBatch();

}  // namespace syncbn::forecast
