// Descriptions of operations: what is computed, without the data.
//
// Activations are channels-last: N x H x W x C, or rows x channels. Weights keep PyTorch's layouts
// (convolution: out x in/groups x height x width; linear: out x in), so that a checkpoint or a dumped
// step loads elsewhere without a permutation.
#pragma once

#include <cstdint>

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

enum class ActivationKind { kRelu, kSigmoid, kTanh };

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

// Where the gradient of a parameter goes: written, or added to what is there.
struct GradientOut {
  Tensor tensor;
  bool accumulate = false;
};

}  // namespace syncbn::backend
