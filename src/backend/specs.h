// Descriptions of operations: what is computed, without the data.
//
// Activations are channels-last: N x H x W x C, or rows x channels. Weights keep PyTorch's layouts
// (convolution: out x in/groups x height x width; linear: out x in), so that a checkpoint or a dumped
// step loads elsewhere without a permutation.
#pragma once

#include <cstdint>

#include "base/rng.h"
#include "tensor/tensor.h"

namespace syncbn::backend {

// What the elements of tensors are, by what the tensors hold. Parameters and what optimizers keep of them are
// masters: they may be wider than what is computed with.
struct ElementTypes {
  DType activations = DType::kFloat32;
  DType parameters = DType::kFloat32;
  DType gradients = DType::kFloat32;
};

struct Conv2dSpec {
  int64_t in_channels = 0;
  int64_t out_channels = 0;
  int64_t kernel_h = 1, kernel_w = 1;
  int64_t stride_h = 1, stride_w = 1;
  int64_t pad_h = 0, pad_w = 0;
  int64_t groups = 1;

  bool operator==(const Conv2dSpec&) const = default;
  // [N, OH, OW, out_channels] for x = [N, H, W, in_channels]. Throws INVALID_ARGUMENT when the kernel
  // does not fit the padded input or the channels do not match.
  Shape OutputShape(const Shape& x) const;
  // [out_channels, in_channels / groups, kernel_h, kernel_w]
  Shape WeightShape() const;
};

enum class PoolKind { kMax, kAverage };

struct Pool2dSpec {
  PoolKind kind = PoolKind::kMax;
  int64_t kernel = 2;
  int64_t stride = 2;
  // Padding is never the maximum and is not counted in a mean.
  int64_t pad = 0;

  bool operator==(const Pool2dSpec&) const = default;
  Shape OutputShape(const Shape& x) const;
};

enum class ActivationKind { kRelu, kSigmoid, kTanh, kGelu, kSilu };

// What the backward pass of an activation is computed from: its input; else its output, so that the
// input's memory is free as soon as it was read.
constexpr bool IsFromInput(ActivationKind kind) {
  return kind == ActivationKind::kGelu || kind == ActivationKind::kSilu;
}

// Noise of a normalized output (Santurkar et al. 2018): s x + m. For the channels, in their order,
// mu is drawn from U(-shift, shift) and sigma from U(1, scale), both from the sequence of
// `channels`. Element j of sample i has m from U(mu - spread, mu + spread) and s from N(sigma,
// spread^2), of the j-th words a, b and c of the Philox sequences of keys[i].Fold(0), .Fold(1) and
// .Fold(2) (see Executor::Dropout):
//   m = mu + spread (2 (a >> 8) / 2^24 - 1)
//   s = sigma + spread sqrt(-2 log(((b >> 9) + 1/2) / 2^23)) cos(2 pi (c >> 8) / 2^24)
struct NoiseSpec {
  double shift = 0, scale = 1, spread = 0;
  RandomKey channels{0};
};

// A matrix rows x channels seen as segments that have statistics of their own; a segment holds
// `samples` samples of `rows_per_sample` rows each. Batch norm over a slice: 1 segment; instance norm:
// N segments of 1 sample.
struct RowLayout {
  int64_t segments = 1;
  int64_t samples = 0;
  int64_t rows_per_sample = 1;
  int64_t channels = 0;

  int64_t rows_per_segment() const { return samples * rows_per_sample; }
  int64_t rows() const { return segments * rows_per_segment(); }
  bool operator==(const RowLayout&) const = default;
};

// What a normalization applies, once its statistics are known:
//   xhat = (x - mean) * inv_std;  y = gamma * xhat + beta + residual;  relu: max(y, 0)
// mean and inv_std are double, [segments, channels]; gamma and beta are [channels], or undefined
// tensors for 1 and 0.
struct Normalization {
  RowLayout layout;
  Tensor mean;
  Tensor inv_std;
  Tensor gamma;
  Tensor beta;
  bool relu = false;
};

// How far batch renormalization (Ioffe 2017) goes from batch normalization.
struct RenormLimits {
  double r_max = 1;  // r is within [1 / r_max, r_max]
  double d_max = 0;  // d within [-d_max, d_max]
};

// Iterative normalization (Huang et al. 2019) of `channels` channels, in groups of `group`
// consecutive ones that are made uncorrelated with each other; the last may have fewer. For each
// group of d channels, with S their covariance plus epsilon on its diagonal:
//   P_0 = I;  P_k+1 = (3 P_k - P_k^3 S / trace S) / 2;  W = P_iterations / sqrt(trace S);  xhat = W
//   (x - mean)
struct WhiteningSpec {
  int64_t channels = 0;
  int64_t group = 1;
  int64_t iterations = 5;
  double epsilon = 1e-5;

  int64_t groups() const { return (channels + group - 1) / group; }
  // Of group k.
  int64_t begin(int64_t k) const { return k * group; }
  int64_t size(int64_t k) const { return k + 1 < groups() ? group : channels - k * group; }
  // Elements of one d x d matrix for each group.
  int64_t matrix_elements() const {
    const int64_t last = size(groups() - 1);
    return (groups() - 1) * group * group + last * last;
  }
};

// Where the gradient of a parameter goes: written, or added to what is there.
struct GradientOut {
  Tensor tensor;
  bool accumulate = false;
};

}  // namespace syncbn::backend
