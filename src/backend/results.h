// What operations of an executor give, where it is more than a tensor.
#pragma once

#include <cstddef>

#include "tensor/tensor.h"

namespace syncbn::backend {

struct PoolResult {
  Tensor y;
  // What the backward pass needs beside shapes (positions of maxima); may be undefined.
  Tensor positions;
};

struct WeightNormResult {
  Tensor weight;
  // |v| of each output channel, F64 [out].
  Tensor norms;
};

struct LstmCell {
  Tensor gates;  // [n, 4 H]
  Tensor cell;   // [n, H]
};

struct LossResult {
  // Loss of each sample, F64 [n], not scaled.
  Tensor losses;
  // F64 [n]: 1 where the largest logit (the first of equals) is the label's, else 0.
  Tensor correct;
  // scale * d losses / d logits; undefined unless asked for.
  Tensor dlogits;
};

// Of the segments of a RowLayout.
struct Statistics {
  Tensor mean, inv_std;  // F64 [segments, C]
  Tensor counts;         // F64 [segments]: elements behind them
};

// Batch renormalization's r and d, F64 [segments, C]: constants of the backward pass.
struct Renorm {
  Tensor r, d;
};

// What whitens the samples of one normalization batch (see WhiteningSpec). All are F64, group by
// group.
struct Whitening {
  Tensor mean;    // [C]
  Tensor matrix;  // W, d x d of each group
  // For the backward pass: of each group its count, trace S and the iterates.
  Tensor newton;
};

// What a normalization's gradient needs: the means of gamma dy and gamma dy xhat over the elements that share
// statistics, F64 [segments, C].
struct InputTerms {
  Tensor mean_dy, mean_dy_xhat;
};

// In bytes, rounded up to blocks.
struct MemoryUse {
  size_t in_use = 0;
  size_t peak = 0;  // the most that was in use at any time
  size_t held = 0;  // in use, or kept for the next tensor
};

}  // namespace syncbn::backend
