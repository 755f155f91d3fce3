// The executor of the CPU back end: float32, oneDNN for convolution, matrix products and average
// pooling, own kernels for the rest and for convolutions in Winograd's form. One thread.
//
// The results of an operation depend only on its arguments: kernels sum in an order fixed by the
// shapes, and oneDNN runs with one thread, whatever the calling thread was set to.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "backend/cpu/average_pool.h"
#include "backend/cpu/convolution.h"
#include "backend/cpu/dnnl_session.h"
#include "backend/cpu/kernels/kernel_table.h"
#include "backend/cpu/matrix_product.h"
#include "backend/cpu/memory_pool.h"
#include "backend/host/host_executor.h"

namespace syncbn::backend::cpu {

class CpuExecutor final : public host::HostExecutor {
 public:
  CpuExecutor(const KernelTable& kernels, dnnl::engine engine,
              std::shared_ptr<PackedWeights> packed, Allocate allocate,
              ConvolutionForms convolutions);
  ~CpuExecutor() override;

  ElementTypes types() const override { return {}; }
  using Executor::New;
  Tensor New(Shape shape, DType dtype) override;
  void SetWeightsVersion(WeightsVersion version) override;
  MemoryUse Memory() const override { return pool_->Use(); }

  // cpu_executor.cc
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

  // cpu_pooling.cc. Positions of maxima are U8: the number of the tap inside the window.
  PoolResult Pool2dForward(const Pool2dSpec& spec, const Tensor& x) override;
  Tensor Pool2dBackward(const Pool2dSpec& spec, const Shape& x_shape, const Tensor& dy,
                        const Tensor& positions) override;
  Tensor GlobalAveragePoolForward(const Tensor& x) override;
  Tensor GlobalAveragePoolBackward(const Shape& x_shape, const Tensor& dy) override;
  Tensor FlattenToChannelsFirst(const Tensor& x) override;
  Tensor UnflattenFromChannelsFirst(const Shape& x_shape, const Tensor& dy) override;

  // cpu_elementwise.cc
  Tensor ActivationForward(ActivationKind kind, Tensor x) override;
  Tensor ActivationBackward(ActivationKind kind, const Tensor& kept, Tensor dy) override;
  Tensor Add(Tensor a, const Tensor& b) override;
  Tensor Dropout(Tensor x, std::span<const RandomKey> keys, double probability) override;
  Tensor Noise(const NoiseSpec& noise, Tensor x, std::span<const RandomKey> keys) override;
  Tensor NoiseBackward(const NoiseSpec& noise, Tensor dy, std::span<const RandomKey> keys) override;

  // cpu_normalization.cc
  void Moments(const RowLayout& layout, const Tensor& x, Tensor& moments) override;
  Tensor NormalizeForward(const Normalization& norm, const Tensor& x,
                          const Tensor& residual) override;
  void NormalizeBackwardSums(const Normalization& norm, const Tensor& x, const Tensor& y,
                             const Tensor& dy, Tensor& sum_dy, Tensor& sum_dy_xhat) override;
  Tensor NormalizeBackwardInput(const Normalization& norm, const Tensor& x, const Tensor& y,
                                Tensor dy, const InputTerms& terms, Tensor* dresidual) override;
  WeightNormResult WeightNormForward(const Tensor& v, const Tensor& gain) override;
  void WeightNormBackward(const Tensor& v, const Tensor& gain, const Tensor& norms,
                          const Tensor& dweight, GradientOut dv, GradientOut dgain) override;

  // cpu_recurrent.cc
  void RnnForward(const Tensor& a, const Tensor& b, Tensor& state) override;
  void RnnBackward(const Tensor& state, const Tensor& dstate, Tensor& dsum) override;
  LstmCell LstmCellForward(const Tensor& a, Tensor b, const Tensor& before) override;
  Tensor LstmStateForward(const Tensor& gates, Tensor u, Tensor& state) override;
  Tensor LstmStateBackward(const Tensor& gates, const Tensor& tanh_u,
                           const Tensor& dstate) override;
  Tensor LstmCellBackward(const Tensor& gates, const Tensor& before, const Tensor& tanh_u,
                          const Tensor& dstate, Tensor dcell, Tensor& dsum) override;

  // cpu_training.cc
  LossResult SoftmaxCrossEntropy(const Tensor& logits, const Tensor& labels, double label_smoothing,
                                 double scale, bool want_gradient) override;

 private:
  double SumOfSquares(const Tensor& x) override;
  void SgdUpdate(const host::SgdSpec& spec, const Tensor& gradient, Tensor& velocity,
                 Tensor& weight) override;
  void AdamWUpdate(const host::AdamWSpec& spec, const Tensor& gradient, Tensor& mean,
                   Tensor& square, Tensor& weight) override;
  // cpu_elementwise.cc
  Tensor DrawnNoise(const NoiseSpec& noise, Tensor x, std::span<const RandomKey> keys,
                    bool shifted);
  void MultiplyAdd(const host::Product& product) override;
  // Scratch memory of the row kernels.
  void* Scratch(int64_t channels);
  // `given` if nobody else holds it, else new memory of its shape.
  Tensor Reuse(const Tensor& given);
  // Sums of dy over all rows, for a bias.
  void BiasGradient(const Tensor& dy, int64_t channels, const GradientOut& dbias);

  const KernelTable& kernels_;
  std::shared_ptr<MemoryPool> pool_;
  std::shared_ptr<PackedWeights> packed_;
  DnnlSession session_;
  Convolutions convolutions_;
  MatrixProducts products_;
  AveragePools average_pools_;
  std::shared_ptr<void> scratch_;
  size_t scratch_bytes_ = 0;
};

// A tensor without elements, or one whose gradient nobody contributed to: zeros, unless added to.
void ZeroGradient(const GradientOut& gradient);

}  // namespace syncbn::backend::cpu
