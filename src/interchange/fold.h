// Batch norms as a part of the layer before them: with running statistics a norm is a scale and a
// shift of each channel, and where a convolution or a linear layer feeds it alone, that layer can
// apply both.
//
//   s = gamma / sqrt(running_var + epsilon);  weight' = s weight;  bias' = beta + s (bias -
//   running_mean)
//
// in double, rounded once to float32.
#pragma once

#include <map>
#include <set>
#include <string>

#include "interchange/state_dict.h"
#include "nn/model.h"
#include "tensor/tensor.h"

namespace syncbn::interchange {

struct FoldedLayer {
  Tensor weight, bias;  // F32, in the layer's layout
};

struct Folds {
  std::map<std::string, FoldedLayer, std::less<>> layers;
  // The norms that are gone.
  std::set<std::string, std::less<>> norms;
};

// Of all batch norms (and batch renormalizations, which are the same in inference) with running
// statistics that stand directly behind a layer with a plain weight; the others stay.
Folds FoldBatchNorms(const nn::Model& model, const Weights& weights);

}  // namespace syncbn::interchange
