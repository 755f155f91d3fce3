// Every operation of an executor on tensors of the checked device.
#pragma once

#include "backend/checked/checked_stream.h"
#include "backend/executor.h"

namespace syncbn::backend::checked {

class CheckedExecutor final : public CheckedStream<Executor> {
 public:
  using CheckedStream::CheckedStream;

  ElementTypes types() const override { return inner().types(); }
  void SetWeightsVersion(WeightsVersion version) override { inner().SetWeightsVersion(version); }
  MemoryUse Memory() const override { return inner().Memory(); }

  Tensor MakeImages(const RawImages& raw) override;

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

  PoolResult Pool2dForward(const Pool2dSpec& spec, const Tensor& x) override;
  Tensor Pool2dBackward(const Pool2dSpec& spec, const Shape& x_shape, const Tensor& dy,
                        const Tensor& positions) override;
  Tensor GlobalAveragePoolForward(const Tensor& x) override;
  Tensor GlobalAveragePoolBackward(const Shape& x_shape, const Tensor& dy) override;
  Tensor FlattenToChannelsFirst(const Tensor& x) override;
  Tensor UnflattenFromChannelsFirst(const Shape& x_shape, const Tensor& dy) override;

  Tensor ActivationForward(ActivationKind kind, Tensor x) override;
  Tensor ActivationBackward(ActivationKind kind, const Tensor& kept, Tensor dy) override;
  Tensor Add(Tensor a, const Tensor& b) override;
  Tensor Convert(const Tensor& x, DType type) override;
  Tensor Dropout(Tensor x, std::span<const RandomKey> keys, double probability) override;
  Tensor Noise(const NoiseSpec& noise, Tensor x, std::span<const RandomKey> keys) override;
  Tensor NoiseBackward(const NoiseSpec& noise, Tensor dy, std::span<const RandomKey> keys) override;
  Tensor ConcatChannels(std::span<const Tensor> parts) override;
  Tensor SliceChannels(const Tensor& x, int64_t begin, int64_t channels) override;

  void Moments(const RowLayout& layout, const Tensor& x, Tensor& moments) override;
  Tensor NormalizeForward(const Normalization& norm, const Tensor& x,
                          const Tensor& residual) override;
  void NormalizeBackwardSums(const Normalization& norm, const Tensor& x, const Tensor& y,
                             const Tensor& dy, Tensor& sum_dy, Tensor& sum_dy_xhat) override;
  Tensor NormalizeBackwardInput(const Normalization& norm, const Tensor& x, const Tensor& y,
                                Tensor dy, const InputTerms& terms, Tensor* dresidual) override;

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

  WeightNormResult WeightNormForward(const Tensor& v, const Tensor& gain) override;
  void WeightNormBackward(const Tensor& v, const Tensor& gain, const Tensor& norms,
                          const Tensor& dweight, GradientOut dv, GradientOut dgain) override;

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
  using CheckedStream::Read;
  using CheckedStream::Result;
  using CheckedStream::Written;
  GradientOut Written(GradientOut out);
  Normalization Read(const Normalization& norm);
  InputTerms Read(const InputTerms& terms);
  InputTerms Result(InputTerms terms);
  Whitening Read(const Whitening& whitening);
  Whitening Result(Whitening whitening);
};

}  // namespace syncbn::backend::checked
