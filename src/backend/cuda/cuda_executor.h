// The executor of a GPU: a stream of its own, and for each operation a kernel or a call of a
// library.
//
// Parameters and their gradients are float32, statistics double. Activations and their gradients
// are float32 or BFloat16: an operation takes either, and gives what it was given
// (cuda_elements.h). No operation stops the host, but where a shape needs memory that the pool does
// not have yet.
#pragma once

#include <memory>
#include <span>

#include "backend/cuda/cuda_elements.h"
#include "backend/cuda/cuda_stream.h"
#include "backend/cuda/filter_cache.h"
#include "backend/cuda/kernels/normalize.h"
#include "backend/cuda/libraries.h"
#include "backend/executor.h"

namespace syncbn::backend::cuda {

class CudaExecutor final : public CudaStream<Executor> {
 public:
  CudaExecutor(const CudaDevice& device, Precision precision);

  ElementTypes types() const override { return ElementTypesOf(precision_); }
  MemoryUse Memory() const override;
  using CudaStream::New;
  using Executor::New;

  // cuda_images.cc
  Tensor MakeImages(const RawImages& raw) override;

  // cuda_products.cc
  Tensor Conv2dForward(const Conv2dSpec& spec, const Tensor& x, const Tensor& weight,
                       const Tensor& bias) override;
  Tensor Conv2dBackwardInput(const Conv2dSpec& spec, const Shape& x_shape, const Tensor& dy,
                             const Tensor& weight) override;
  void Conv2dBackwardWeights(const Conv2dSpec& spec, const Tensor& x, const Tensor& dy,
                             GradientOut dweight, GradientOut dbias) override;
  Tensor LinearForward(const Tensor& x, const Tensor& weight, const Tensor& bias) override;
  Tensor LinearBackwardInput(const Tensor& dy, const Tensor& weight) override;
  void LinearBackwardWeights(const Tensor& x, const Tensor& dy, GradientOut dweight,
                             GradientOut dbias) override;
  void SetWeightsVersion(WeightsVersion version) override;

  // cuda_pooling.cc
  PoolResult Pool2dForward(const Pool2dSpec& spec, const Tensor& x) override;
  Tensor Pool2dBackward(const Pool2dSpec& spec, const Shape& x_shape, const Tensor& dy,
                        const Tensor& positions) override;
  Tensor GlobalAveragePoolForward(const Tensor& x) override;
  Tensor GlobalAveragePoolBackward(const Shape& x_shape, const Tensor& dy) override;
  Tensor FlattenToChannelsFirst(const Tensor& x) override;
  Tensor UnflattenFromChannelsFirst(const Shape& x_shape, const Tensor& dy) override;

  // cuda_elementwise.cc
  Tensor Convert(const Tensor& x, DType type) override;
  Tensor ActivationForward(ActivationKind kind, Tensor x) override;
  Tensor ActivationBackward(ActivationKind kind, const Tensor& kept, Tensor dy) override;
  Tensor Add(Tensor a, const Tensor& b) override;
  Tensor Dropout(Tensor x, std::span<const RandomKey> keys, double probability) override;
  Tensor Noise(const NoiseSpec& noise, Tensor x, std::span<const RandomKey> keys) override;
  Tensor NoiseBackward(const NoiseSpec& noise, Tensor dy, std::span<const RandomKey> keys) override;
  Tensor ConcatChannels(std::span<const Tensor> parts) override;
  Tensor SliceChannels(const Tensor& x, int64_t begin, int64_t channels) override;

  // cuda_normalization.cc
  void Moments(const RowLayout& layout, const Tensor& x, Tensor& moments) override;
  Tensor NormalizeForward(const Normalization& norm, const Tensor& x,
                          const Tensor& residual) override;
  void NormalizeBackwardSums(const Normalization& norm, const Tensor& x, const Tensor& y,
                             const Tensor& dy, Tensor& sum_dy, Tensor& sum_dy_xhat) override;
  Tensor NormalizeBackwardInput(const Normalization& norm, const Tensor& x, const Tensor& y,
                                Tensor dy, const InputTerms& terms, Tensor* dresidual) override;

  // cuda_statistics.cc
  void MergeMoments(std::span<const int64_t> channels, std::span<const int64_t> sizes,
                    const Tensor& from, Tensor& into) override;
  void MergeChannels(int64_t groups, Tensor& moments) override;
  Statistics FinishMoments(const Tensor& moments, std::span<const int64_t> repeats,
                           double epsilon) override;
  Tensor InverseStd(const Tensor& variance, double epsilon) override;
  void AffineGradients(const Tensor& sum_dy, const Tensor& sum_dy_xhat, GradientOut dgamma,
                       GradientOut dbeta) override;
  InputTerms BatchInputTerms(const Tensor& sum_dy, const Tensor& sum_dy_xhat, const Tensor& counts,
                             const Tensor& gamma, std::span<const int64_t> sizes) override;
  InputTerms GroupInputTerms(const Tensor& sum_dy, const Tensor& sum_dy_xhat, const Tensor& counts,
                             const Tensor& gamma, int64_t groups) override;
  Renorm Renormalize(const RenormLimits& limits, const Tensor& running_mean,
                     const Tensor& running_inv_std, Statistics& statistics) override;
  void RenormInputTerms(const Renorm& renorm, InputTerms& terms) override;

  // cuda_whitening.cc
  void CoMoments(const WhiteningSpec& spec, const Tensor& x, Tensor& moments) override;
  Whitening WhitenByMoments(const WhiteningSpec& spec, const Tensor& moments) override;
  Whitening WhitenByRunning(const WhiteningSpec& spec, const Tensor& running) override;
  void Whiten(const WhiteningSpec& spec, const Whitening& whitening, const Tensor& x,
              Tensor& xhat) override;
  void WhitenBackwardSums(const WhiteningSpec& spec, const Whitening& whitening, const Tensor& x,
                          const Tensor& dxhat, Tensor& sums) override;
  void WhitenBackwardInput(const WhiteningSpec& spec, const Whitening& whitening,
                           const Tensor& sums, const Tensor& x, const Tensor& dxhat,
                           Tensor& dx) override;

  // cuda_weight_norm.cc
  WeightNormResult WeightNormForward(const Tensor& v, const Tensor& gain) override;
  void WeightNormBackward(const Tensor& v, const Tensor& gain, const Tensor& norms,
                          const Tensor& dweight, GradientOut dv, GradientOut dgain) override;

  // cuda_recurrent.cc
  Tensor SwapLeadingAxes(const Tensor& x, int64_t keep) override;
  Tensor SwapLeadingAxesBackward(const Shape& x_shape, const Tensor& dy) override;
  void RnnForward(const Tensor& a, const Tensor& b, Tensor& state) override;
  void RnnBackward(const Tensor& state, const Tensor& dstate, Tensor& dsum) override;
  LstmCell LstmCellForward(const Tensor& a, Tensor b, const Tensor& before) override;
  Tensor LstmStateForward(const Tensor& gates, Tensor u, Tensor& state) override;
  Tensor LstmStateBackward(const Tensor& gates, const Tensor& tanh_u,
                           const Tensor& dstate) override;
  Tensor LstmCellBackward(const Tensor& gates, const Tensor& before, const Tensor& tanh_u,
                          const Tensor& dstate, Tensor dcell, Tensor& dsum) override;

  // cuda_training.cc
  LossResult SoftmaxCrossEntropy(const Tensor& logits, const Tensor& labels, double label_smoothing,
                                 double scale, bool want_gradient) override;
  void AddSum(const Tensor& values, Tensor& total) override;
  void SumsOfSquares(std::span<const Tensor> tensors, Tensor& sums) override;
  void JudgeStep(const StepEvidence& evidence, double clip_norm, Tensor& verdict) override;
  void Update(const UpdateSpec& spec, const UpdateInputs& inputs, Tensor& parameters,
              std::span<Tensor> slots, Tensor& updates) override;
  Tensor UpdateRunning(const RunningRule& rule, std::span<const RunningBlock> blocks,
                       const Tensor& running, const Tensor& moments,
                       const Tensor& verdict) override;

 private:
  // Where a result may go: `x` where it may be overwritten, else new memory like it.
  Tensor Reuse(const Tensor& x) { return core().MayOverwrite(x) ? x : NewLike(x); }
  Tensor NewLike(const Tensor& x) { return New(x.shape(), x.dtype()); }
  Tensor DrawnNoise(const NoiseSpec& noise, Tensor x, std::span<const RandomKey> keys,
                    bool shifted);
  // A filter in the layout of the libraries, and the weight of a linear layer, in this type, made
  // once for each version of the parameters.
  Tensor Packed(const Conv2dSpec& spec, const Tensor& weight, DType type);
  Tensor Converted(const Tensor& weight, DType type);
  // The same elements at a multiple of 16 bytes.
  Tensor Aligned(const Tensor& x);
  // What the libraries are given.
  Factor FactorOf(const Tensor& x) { return {core().AnyAddress(x), x.dtype()}; }
  Result ResultOf(const Tensor& x) { return {core().AnyAddress(x), x.dtype()}; }
  // y += bias where there is one, row by row.
  void AddBias(Tensor& y, const Tensor& bias);
  // gradient (+)= the sums of dy over its rows.
  void BiasGradient(const Tensor& dy, GradientOut gradient);
  // Of a normalization and its input, checked.
  template <typename T>
  kernels::NormalizeArgs<T> ArgsOf(const Normalization& norm, const Tensor& x);

  const Precision precision_;
  const std::unique_ptr<Libraries> libraries_;
  FilterCache filters_;
};

}  // namespace syncbn::backend::cuda
