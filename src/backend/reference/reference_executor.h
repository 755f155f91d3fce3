// The back end of plain loops in double: the oracle of the tests.
//
// Every operation is written straight from its formula, in the order in which one would read it: no
// pool, no packed weights, no vector code, no cached state. Tensors are allocated anew for every
// result; arguments are never overwritten. An executor may be used by one thread at a time, as
// Executor says; two of them share nothing.
#pragma once

#include <span>

#include "backend/backend.h"
#include "backend/host/host_executor.h"

namespace syncbn::backend::reference {

class ReferenceExecutor final : public host::HostExecutor {
 public:
  explicit ReferenceExecutor(Allocate allocate = AllocateAligned) : allocate_(allocate) {}

  ElementTypes types() const override {
    return {DType::kFloat64, DType::kFloat64, DType::kFloat64};
  }
  using Executor::New;
  // Filled with bytes 0xff (a NaN in floating point, -1 in integers), so that reading what was
  // never written shows.
  Tensor New(Shape shape, DType dtype) override;
  // Nothing is kept of the weights.
  void SetWeightsVersion(WeightsVersion version) override {}

  // convolution.cc
  Tensor Conv2dForward(const Conv2dSpec& spec, const Tensor& x, const Tensor& weight,
                       const Tensor& bias) override;
  Tensor Conv2dBackwardInput(const Conv2dSpec& spec, const Shape& x_shape, const Tensor& dy,
                             const Tensor& weight) override;
  void Conv2dBackwardWeights(const Conv2dSpec& spec, const Tensor& x, const Tensor& dy,
                             GradientOut dweight, GradientOut dbias) override;

  // linear.cc
  Tensor LinearForward(const Tensor& x, const Tensor& weight, const Tensor& bias) override;
  Tensor LinearBackwardInput(const Tensor& dy, const Tensor& weight) override;
  void LinearBackwardWeights(const Tensor& x, const Tensor& dy, GradientOut dweight,
                             GradientOut dbias) override;

  // pooling.cc. Positions of maxima are I32, of y's shape: h * W + w of the input.
  PoolResult Pool2dForward(const Pool2dSpec& spec, const Tensor& x) override;
  Tensor Pool2dBackward(const Pool2dSpec& spec, const Shape& x_shape, const Tensor& dy,
                        const Tensor& positions) override;
  Tensor GlobalAveragePoolForward(const Tensor& x) override;
  Tensor GlobalAveragePoolBackward(const Shape& x_shape, const Tensor& dy) override;
  Tensor FlattenToChannelsFirst(const Tensor& x) override;
  Tensor UnflattenFromChannelsFirst(const Shape& x_shape, const Tensor& dy) override;

  // activation.cc
  Tensor ActivationForward(ActivationKind kind, Tensor x) override;
  Tensor ActivationBackward(ActivationKind kind, const Tensor& kept, Tensor dy) override;
  Tensor Add(Tensor a, const Tensor& b) override;
  Tensor Dropout(Tensor x, std::span<const RandomKey> keys, double probability) override;
  Tensor Noise(const NoiseSpec& noise, Tensor x, std::span<const RandomKey> keys) override;
  Tensor NoiseBackward(const NoiseSpec& noise, Tensor dy, std::span<const RandomKey> keys) override;

  // normalization.cc. Moments: two passes over a whole segment.
  void Moments(const RowLayout& layout, const Tensor& x, Tensor& moments) override;
  Tensor NormalizeForward(const Normalization& norm, const Tensor& x,
                          const Tensor& residual) override;
  void NormalizeBackwardSums(const Normalization& norm, const Tensor& x, const Tensor& y,
                             const Tensor& dy, Tensor& sum_dy, Tensor& sum_dy_xhat) override;
  Tensor NormalizeBackwardInput(const Normalization& norm, const Tensor& x, const Tensor& y,
                                Tensor dy, const InputTerms& terms, Tensor* dresidual) override;

  // weight_norm.cc
  WeightNormResult WeightNormForward(const Tensor& v, const Tensor& gain) override;
  void WeightNormBackward(const Tensor& v, const Tensor& gain, const Tensor& norms,
                          const Tensor& dweight, GradientOut dv, GradientOut dgain) override;

  // recurrent.cc
  void RnnForward(const Tensor& a, const Tensor& b, Tensor& state) override;
  void RnnBackward(const Tensor& state, const Tensor& dstate, Tensor& dsum) override;
  LstmCell LstmCellForward(const Tensor& a, Tensor b, const Tensor& before) override;
  Tensor LstmStateForward(const Tensor& gates, Tensor u, Tensor& state) override;
  Tensor LstmStateBackward(const Tensor& gates, const Tensor& tanh_u,
                           const Tensor& dstate) override;
  Tensor LstmCellBackward(const Tensor& gates, const Tensor& before, const Tensor& tanh_u,
                          const Tensor& dstate, Tensor dcell, Tensor& dsum) override;

  // loss.cc
  LossResult SoftmaxCrossEntropy(const Tensor& logits, const Tensor& labels, double label_smoothing,
                                 double scale, bool want_gradient) override;

 private:
  // update.cc
  double SumOfSquares(const Tensor& x) override;
  void SgdUpdate(const host::SgdSpec& spec, const Tensor& gradient, Tensor& velocity,
                 Tensor& weight) override;
  void AdamWUpdate(const host::AdamWSpec& spec, const Tensor& gradient, Tensor& mean,
                   Tensor& square, Tensor& weight) override;

  // Activations, filled with 0.
  Tensor NewZeros(Shape shape);

  const Allocate allocate_;
};

}  // namespace syncbn::backend::reference
