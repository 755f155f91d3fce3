// Runs operations for one replica at a time: a back end's arithmetic with the workspace it needs.
//
// An Executor owns its primitives, scratch memory and a pool from which activations come; an
// operation described by the same spec and shapes as before reuses what was created then. It is
// confined to one thread at a time (a replica takes one for a step and may hand it on); results do
// not depend on which executor or thread ran an operation. Operations on tensors without samples
// (N = 0) are right: empty results, zero gradients.
//
// Tensors of activations, parameters and gradients have type dtype(); statistics are always F64.
// A Tensor parameter taken by value may be overwritten with the result when nobody else holds it.
#pragma once

#include <span>

#include "backend/specs.h"
#include "backend/weights_version.h"
#include "base/rng.h"
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

struct LossResult {
  // Loss of each sample, F64 [n], not scaled.
  Tensor losses;
  // Samples whose largest logit (the first of equals) is the label's.
  int64_t correct = 0;
  // scale * d losses / d logits; undefined unless asked for.
  Tensor dlogits;
};

// In bytes, rounded up to blocks.
struct MemoryUse {
  size_t in_use = 0;
  size_t peak = 0;  // the most that was in use at any time
  size_t held = 0;  // in use, or kept for the next tensor
};

class Executor {
 public:
  virtual ~Executor() = default;

  virtual DType dtype() const = 0;

  // Uninitialized memory from the pool.
  virtual Tensor New(Shape shape, DType dtype) = 0;
  Tensor New(Shape shape) { return New(shape, dtype()); }
  // To be called at the beginning of each pass. The parameters behind every `weight` argument keep their
  // values until this is called again, and have those values in every pass of this version: packed copies of
  // them may be kept, and shared by the executors of a Backend. Who writes to parameters takes a new version;
  // a pass that finds others under an old one throws INTERNAL. Before the first call nothing is kept.
  virtual void SetWeightsVersion(WeightsVersion version) = 0;
  // Memory handed out by New and by operations; zeros where a back end does not count.
  virtual MemoryUse Memory() const { return {}; }

  // -- Convolution and matrix products -----------------------------------------------------------
  // x [N,H,W,C], weight OIHW, bias [O] or undefined -> [N,OH,OW,O].
  virtual Tensor Conv2dForward(const Conv2dSpec& spec, const Tensor& x, const Tensor& weight,
                               const Tensor& bias) = 0;
  virtual Tensor Conv2dBackwardInput(const Conv2dSpec& spec, const Shape& x_shape,
                                     const Tensor& dy, const Tensor& weight) = 0;
  // dbias.tensor may be undefined.
  virtual void Conv2dBackwardWeights(const Conv2dSpec& spec, const Tensor& x, const Tensor& dy,
                                     GradientOut dweight, GradientOut dbias) = 0;
  // y = x weight^T + bias; x [N,in], weight [out,in], bias [out] or undefined.
  virtual Tensor LinearForward(const Tensor& x, const Tensor& weight, const Tensor& bias) = 0;
  virtual Tensor LinearBackwardInput(const Tensor& dy, const Tensor& weight) = 0;
  virtual void LinearBackwardWeights(const Tensor& x, const Tensor& dy, GradientOut dweight,
                                     GradientOut dbias) = 0;

  // -- Pooling and layout --------------------------------------------------------------------------
  virtual PoolResult Pool2dForward(const Pool2dSpec& spec, const Tensor& x) = 0;
  virtual Tensor Pool2dBackward(const Pool2dSpec& spec, const Shape& x_shape, const Tensor& dy,
                                const Tensor& positions) = 0;
  // [N,H,W,C] -> [N,C], the mean over H and W.
  virtual Tensor GlobalAveragePoolForward(const Tensor& x) = 0;
  virtual Tensor GlobalAveragePoolBackward(const Shape& x_shape, const Tensor& dy) = 0;
  // [N,H,W,C] -> [N, C*H*W] in the order C, H, W (PyTorch's flatten), and back.
  virtual Tensor FlattenToChannelsFirst(const Tensor& x) = 0;
  virtual Tensor UnflattenFromChannelsFirst(const Shape& x_shape, const Tensor& dy) = 0;

  // -- Elementwise ---------------------------------------------------------------------------------
  virtual Tensor ActivationForward(ActivationKind kind, Tensor x) = 0;
  // From the output y of the forward pass.
  virtual Tensor ActivationBackward(ActivationKind kind, const Tensor& y, Tensor dy) = 0;
  virtual Tensor Add(Tensor a, const Tensor& b) = 0;
  // x * mask / (1 - probability); element j of sample i is kept when the j-th word of keys[i]'s
  // Philox sequence (word j % 4 of block j / 4, counter {block, 0, 0, 0}), as a 32-bit fraction, is at
  // least `probability`. Linear in x, hence its own backward. Precondition: keys.size() == N.
  virtual Tensor Dropout(Tensor x, std::span<const RandomKey> keys, double probability) = 0;

  // -- Normalization -------------------------------------------------------------------------------
  // Mean and sum of squared deviations (M2) of each segment and channel, F64 [segments, channels],
  // written into tensors of that shape. No cancellation: the relative error of M2 stays below 1e-6 for
  // |mean| / std up to 1e5 and every count (how: cpu/kernels/moments.cc). A segment without rows gives
  // 0 and 0.
  virtual void Moments(const RowLayout& layout, const Tensor& x, Tensor& mean, Tensor& m2) = 0;
  // y; residual may be undefined.
  virtual Tensor NormalizeForward(const Normalization& norm, const Tensor& x,
                                  const Tensor& residual) = 0;
  // Per segment and channel: sum of dy and of dy * xhat, F64 [segments, channels]. With relu, dy counts
  // where the forward result is positive: y is needed then if there was a residual, otherwise it may
  // be undefined and the sign is computed again with the forward's arithmetic.
  virtual void NormalizeBackwardSums(const Normalization& norm, const Tensor& x, const Tensor& y,
                                     const Tensor& dy, Tensor& sum_dy, Tensor& sum_dy_xhat) = 0;
  // dx = inv_std * (gamma * dy - a - xhat * b), a and b F64 [segments, channels], undefined for 0
  // (statistics that do not depend on x). If dresidual is not null it receives the masked dy.
  virtual Tensor NormalizeBackwardInput(const Normalization& norm, const Tensor& x, const Tensor& y,
                                        Tensor dy, const Tensor& a, const Tensor& b,
                                        Tensor* dresidual) = 0;

  // w = gain * v / |v| for each output (first axis) (Salimans and Kingma 2016).
  virtual WeightNormResult WeightNormForward(const Tensor& v, const Tensor& gain) = 0;
  virtual void WeightNormBackward(const Tensor& v, const Tensor& gain, const Tensor& norms,
                                  const Tensor& dweight, GradientOut dv, GradientOut dgain) = 0;

  // -- Loss ----------------------------------------------------------------------------------------
  // Softmax cross-entropy of logits [n, classes] against labels I32 [n]; the target is
  // (1 - smoothing) * onehot + smoothing / classes.
  virtual LossResult SoftmaxCrossEntropy(const Tensor& logits, const Tensor& labels,
                                         double label_smoothing, double scale,
                                         bool want_gradient) = 0;

  // -- Parameters ----------------------------------------------------------------------------------
  // Sum of squares in double, in fixed blocks of the tensor's order; NaN or infinity when any element
  // is not finite.
  virtual double SumOfSquares(const Tensor& x) = 0;
  // In place; velocity may be undefined when momentum is 0 (velocity starts at 0; PyTorch's form).
  virtual void SgdUpdate(const SgdSpec& spec, const Tensor& gradient, Tensor& velocity,
                         Tensor& weight) = 0;
  virtual void AdamWUpdate(const AdamWSpec& spec, const Tensor& gradient, Tensor& mean,
                           Tensor& square, Tensor& weight) = 0;
};

}  // namespace syncbn::backend
