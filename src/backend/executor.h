// Runs operations for one replica at a time: a back end's arithmetic with the workspace it needs.
//
// An Executor owns its primitives, scratch memory and a pool from which activations come; an
// operation described by the same spec and shapes as before reuses what was created then. It is
// confined to one thread at a time (a replica takes one for a step and may hand it on); results do
// not depend on which executor or thread ran an operation. Operations on tensors without samples
// (N = 0) are right: empty results, zero gradients.
//
// Tensors of activations, parameters and gradients have the element types of types(); statistics
// are always F64. All are on the executor's device. A block of moments is F64 [count, mean[C],
// m2[C]], m2 the sum of squared deviations (with co-moments in its place: merge.h). A Tensor
// parameter taken by value may be overwritten with the result when nobody else holds it.
#pragma once

#include <span>

#include "backend/images.h"
#include "backend/results.h"
#include "backend/specs.h"
#include "backend/stream.h"
#include "backend/update_specs.h"
#include "backend/weights_version.h"
#include "base/rng.h"

namespace syncbn::backend {

class Executor : public Stream {
 public:
  virtual ElementTypes types() const = 0;

  using Stream::New;
  // Of activations.
  Tensor New(Shape shape) { return New(shape, types().activations); }
  // To be called at the beginning of each pass; nn::StepContext does, by the nn::ParameterSet that it reads. The
  // parameters behind every `weight` argument keep their values until this is called again, and have those values
  // in every pass of this version: packed copies of them may be kept, and shared by the executors of a Backend.
  // Who writes to parameters takes a new version; a pass that finds others under an old one throws INTERNAL.
  // Before the first call nothing is kept.
  virtual void SetWeightsVersion(WeightsVersion version) = 0;
  // Memory handed out by New and by operations; zeros where a back end does not count.
  virtual MemoryUse Memory() const { return {}; }

  // -- Input -------------------------------------------------------------------------------------
  // Activations [N,H,W,C]: element (y, x, c) of image n is values[c][p], rounded to their type,
  // where p is the byte (y + dy, x' + dx, c) of its pixels, 0 outside of them, and x' is W - 1 - x
  // where it is flipped, else x. The values are those of ImageWriter.
  virtual Tensor MakeImages(const RawImages& raw) = 0;

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
  // `kept`: the input x of the forward pass where IsFromInput(kind), else its output y.
  virtual Tensor ActivationBackward(ActivationKind kind, const Tensor& kept, Tensor dy) = 0;
  virtual Tensor Add(Tensor a, const Tensor& b) = 0;
  // x in another floating type: itself where it has that.
  virtual Tensor Convert(const Tensor& x, DType type) = 0;
  // x * mask / (1 - probability); element j of sample i is kept when the j-th word of keys[i]'s
  // Philox sequence (word j % 4 of block j / 4, counter {block, 0, 0, 0}), as a 32-bit fraction, is at
  // least `probability`. Linear in x, hence its own backward. Precondition: keys.size() == N.
  virtual Tensor Dropout(Tensor x, std::span<const RandomKey> keys, double probability) = 0;
  // s x + m, and s dy: see NoiseSpec. Precondition: keys.size() == N.
  virtual Tensor Noise(const NoiseSpec& noise, Tensor x, std::span<const RandomKey> keys) = 0;
  virtual Tensor NoiseBackward(const NoiseSpec& noise, Tensor dy,
                               std::span<const RandomKey> keys) = 0;
  // The channels of all parts, one behind the other; all other extents are equal. At least one
  // part.
  virtual Tensor ConcatChannels(std::span<const Tensor> parts) = 0;
  // Channels [begin, begin + channels).
  virtual Tensor SliceChannels(const Tensor& x, int64_t begin, int64_t channels) = 0;

  // -- Normalization -------------------------------------------------------------------------------
  // The moments of each segment, blocks F64 [segments, 1 + 2C]. No cancellation: the relative error of M2
  // stays below 1e-6 for |mean| / std up to 1e5 and every count (how: cpu/kernels/moments.cc). A segment
  // without rows gives zeros.
  virtual void Moments(const RowLayout& layout, const Tensor& x, Tensor& moments) = 0;
  // y; residual may be undefined.
  virtual Tensor NormalizeForward(const Normalization& norm, const Tensor& x,
                                  const Tensor& residual) = 0;
  // Per segment and channel: sum of dy and of dy * xhat, F64 [segments, channels]. With relu, dy counts
  // where the forward result is positive: y is needed then if there was a residual, otherwise it may
  // be undefined and the sign is computed again with the forward's arithmetic.
  virtual void NormalizeBackwardSums(const Normalization& norm, const Tensor& x, const Tensor& y,
                                     const Tensor& dy, Tensor& sum_dy, Tensor& sum_dy_xhat) = 0;
  // dx = inv_std * (gamma * dy - mean_dy - xhat * mean_dy_xhat), undefined terms for 0 (statistics that do
  // not depend on x). If dresidual is not null it receives the masked dy.
  virtual Tensor NormalizeBackwardInput(const Normalization& norm, const Tensor& x, const Tensor& y,
                                        Tensor dy, const InputTerms& terms, Tensor* dresidual) = 0;

  // -- Statistics ----------------------------------------------------------------------------------
  // Rows of blocks for each C of `channels` are merged by Chan's formula, in their order: the first sizes[0]
  // rows of `from` into the first of `into`, and so on. Empty sizes: all of them into the only one.
  virtual void MergeMoments(std::span<const int64_t> channels, std::span<const int64_t> sizes,
                            const Tensor& from, Tensor& into) = 0;
  // The moments of `groups` groups of consecutive channels, in the place of those of each of their channels.
  // Precondition: all channels of a row hold equally many elements.
  virtual void MergeChannels(int64_t groups, Tensor& moments) = 0;
  // From blocks [n, 1 + 2C], with inv_std = 1 / sqrt(m2 / count + epsilon), where 0 elements have variance 0:
  // a segment for each, or repeats[i] equal segments for the i-th.
  virtual Statistics FinishMoments(const Tensor& moments, std::span<const int64_t> repeats,
                                   double epsilon) = 0;
  // 1 / sqrt(variance + epsilon)
  virtual Tensor InverseStd(const Tensor& variance, double epsilon) = 0;
  // From NormalizeBackwardSums: dgamma (+)= sum_dy_xhat, dbeta (+)= sum_dy, summed over the segments. Either
  // may be undefined.
  virtual void AffineGradients(const Tensor& sum_dy, const Tensor& sum_dy_xhat, GradientOut dgamma,
                               GradientOut dbeta) = 0;
  // Where each channel of a segment has its own statistics: gamma sum / count. With `sizes`, the first
  // sizes[0] segments share theirs, and so on: their sums are added first. gamma may be undefined (1).
  virtual InputTerms BatchInputTerms(const Tensor& sum_dy, const Tensor& sum_dy_xhat,
                                     const Tensor& counts, const Tensor& gamma,
                                     std::span<const int64_t> sizes) = 0;
  // Where `groups` groups of consecutive channels do: (sum of gamma sum over the group) / count.
  virtual InputTerms GroupInputTerms(const Tensor& sum_dy, const Tensor& sum_dy_xhat,
                                     const Tensor& counts, const Tensor& gamma, int64_t groups) = 0;

  // Batch renormalization: from statistics of a batch, which become those with which a norm gives r
  // xhat + d. running_mean and running_inv_std are [C].
  virtual Renorm Renormalize(const RenormLimits& limits, const Tensor& running_mean,
                             const Tensor& running_inv_std, Statistics& statistics) = 0;
  // The input terms of such a norm, in place of those of a norm whose output depends on its sums as
  // BatchInputTerms takes it.
  virtual void RenormInputTerms(const Renorm& renorm, InputTerms& terms) = 0;

  // -- Iterative normalization: see WhiteningSpec; x is a matrix rows x channels ---------------

  // The blocks of moments with co-moments of each group, over all rows of x.
  virtual void CoMoments(const WhiteningSpec& spec, const Tensor& x, Tensor& moments) = 0;
  // From such blocks, merged over the normalization batch; from the running statistics of each
  // group, [mean[d], covariance[d, d], batches].
  virtual Whitening WhitenByMoments(const WhiteningSpec& spec, const Tensor& moments) = 0;
  virtual Whitening WhitenByRunning(const WhiteningSpec& spec, const Tensor& running) = 0;
  // xhat of the rows of x.
  virtual void Whiten(const WhiteningSpec& spec, const Whitening& whitening, const Tensor& x,
                      Tensor& xhat) = 0;
  // For each group the sums over the rows of dxhat, [d], and of dxhat (x - mean)^T, [d, d].
  virtual void WhitenBackwardSums(const WhiteningSpec& spec, const Whitening& whitening,
                                  const Tensor& x, const Tensor& dxhat, Tensor& sums) = 0;
  // dx of the rows of x, through mean, covariance and all iterations. `sums` are over the
  // normalization batch; undefined: the statistics do not depend on x.
  virtual void WhitenBackwardInput(const WhiteningSpec& spec, const Whitening& whitening,
                                   const Tensor& sums, const Tensor& x, const Tensor& dxhat,
                                   Tensor& dx) = 0;

  // w = gain * v / |v| for each output (first axis) (Salimans and Kingma 2016).
  virtual WeightNormResult WeightNormForward(const Tensor& v, const Tensor& gain) = 0;
  virtual void WeightNormBackward(const Tensor& v, const Tensor& gain, const Tensor& norms,
                                  const Tensor& dweight, GradientOut dv, GradientOut dgain) = 0;

  // -- Sequences -----------------------------------------------------------------------------------
  // [A,B,...] -> [keep,A,...], the first `keep` of B: samples of steps to steps of samples, and back.
  virtual Tensor SwapLeadingAxes(const Tensor& x, int64_t keep) = 0;
  // Its backward: [keep,A,...] -> x_shape, with 0 where nothing was kept.
  virtual Tensor SwapLeadingAxesBackward(const Shape& x_shape, const Tensor& dy) = 0;
  // The next state of a recurrent layer: tanh(a + b), all [n,H]; and the gradient of a + b. What is written may
  // be a part of a larger tensor.
  virtual void RnnForward(const Tensor& a, const Tensor& b, Tensor& state) = 0;
  virtual void RnnBackward(const Tensor& state, const Tensor& dstate, Tensor& dsum) = 0;
  // Long short-term memory (Hochreiter and Schmidhuber 1997; Gers et al. 2000) on its gates i, f, g and o, side
  // by side in [n,4H]: gates = sigmoid(a + b), of g tanh; cell = f before + i g, [n,H].
  virtual LstmCell LstmCellForward(const Tensor& a, Tensor b, const Tensor& before) = 0;
  // Writes state = o tanh(u) and returns tanh(u); u is the cell, or what a norm has made of it.
  virtual Tensor LstmStateForward(const Tensor& gates, Tensor u, Tensor& state) = 0;
  // du, by tanh_u that LstmStateForward gave.
  virtual Tensor LstmStateBackward(const Tensor& gates, const Tensor& tanh_u,
                                   const Tensor& dstate) = 0;
  // Writes the gradient of a + b and returns that of `before`. dcell: of the cell, by all ways that it goes.
  virtual Tensor LstmCellBackward(const Tensor& gates, const Tensor& before, const Tensor& tanh_u,
                                  const Tensor& dstate, Tensor dcell, Tensor& dsum) = 0;

  // -- Loss ----------------------------------------------------------------------------------------
  // Softmax cross-entropy of logits [n, classes] against labels I32 [n]; the target is
  // (1 - smoothing) * onehot + smoothing / classes. A label that is no class is INTERNAL where the host
  // can see it; elsewhere the sample's loss is NaN.
  virtual LossResult SoftmaxCrossEntropy(const Tensor& logits, const Tensor& labels,
                                         double label_smoothing, double scale,
                                         bool want_gradient) = 0;

  // total[0] += values, one after the other, F64.
  virtual void AddSum(const Tensor& values, Tensor& total) = 0;

  // -- What a step changes ---------------------------------------------------------------------------
  // sums[i], F64: the sum of squares of tensors[i], in double, in fixed blocks of the tensor's order; NaN or
  // infinity when any element is not finite.
  virtual void SumsOfSquares(std::span<const Tensor> tensors, Tensor& sums) = 0;
  // The norm is the root of the sum of the squares; the scale brings it down to clip_norm where it is larger
  // and clip_norm is not 0, else it is 1.
  virtual void JudgeStep(const StepEvidence& evidence, double clip_norm, Tensor& verdict) = 0;
  // In place, in one operation for all parts. `updates`, F64 [1], counts those that were made.
  virtual void Update(const UpdateSpec& spec, const UpdateInputs& inputs, Tensor& parameters,
                      std::span<Tensor> slots, Tensor& updates) = 0;
  // The running statistics after a step whose merged moments are `moments`: r <- (1 - a) r + a v with the
  // unbiased variance (count - 1); kCumulative: a = 1 / batches so far. A block with count 0 or 1 stays as it
  // is: a single element has a mean and no variance, and does not count as a batch. All stay if the verdict
  // is defined and the step was not accepted.
  virtual Tensor UpdateRunning(const RunningRule& rule, std::span<const RunningBlock> blocks,
                               const Tensor& running, const Tensor& moments,
                               const Tensor& verdict) = 0;
};

}  // namespace syncbn::backend
