// What the executors of the host share: the arithmetic on statistics, which is in double whatever activations
// are made of, and the decisions and updates of a step.
#pragma once

#include <span>

#include "backend/executor.h"
#include "backend/host/host_stream.h"

namespace syncbn::backend::host {

// An update of a single range.
struct SgdSpec {
  double learning_rate = 0;
  double momentum = 0;
  bool nesterov = false;
  double weight_decay = 0;
  // Decoupled: w -= learning_rate * weight_decay * w; else weight_decay * w is added to the gradient.
  bool decoupled = false;
  // The gradient is multiplied by this first.
  double gradient_scale = 1;
};

struct AdamWSpec {
  double learning_rate = 0;
  double beta1 = 0.9, beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0;
  double gradient_scale = 1;
  // Number of this update, from 1 (bias correction).
  double update = 1;
};

// Matrices of double: c [rows, columns] += a b, b [depth, columns], element (i, k) of a at
// i a_row + k a_depth.
struct Product {
  const double* a = nullptr;
  int64_t a_row = 0, a_depth = 0;
  const double* b = nullptr;
  double* c = nullptr;
  int64_t rows = 0, depth = 0, columns = 0;
};

class HostExecutor : public HostStream<Executor> {
 public:
  Tensor Convert(const Tensor& x, DType type) final {
    if (x.dtype() == type) return x;
    Tensor converted = New(x.shape(), type);
    Copy(x.As(type), converted);
    return converted;
  }

  // images.cc
  Tensor MakeImages(const RawImages& raw) final;

  // channels.cc
  Tensor ConcatChannels(std::span<const Tensor> parts) final;
  Tensor SliceChannels(const Tensor& x, int64_t begin, int64_t channels) final;

  // statistics.cc
  void MergeMoments(std::span<const int64_t> channels, std::span<const int64_t> sizes,
                    const Tensor& from, Tensor& into) final;
  void MergeChannels(int64_t groups, Tensor& moments) final;
  Statistics FinishMoments(const Tensor& moments, std::span<const int64_t> repeats,
                           double epsilon) final;
  Tensor InverseStd(const Tensor& variance, double epsilon) final;
  void AffineGradients(const Tensor& sum_dy, const Tensor& sum_dy_xhat, GradientOut dgamma,
                       GradientOut dbeta) final;
  InputTerms BatchInputTerms(const Tensor& sum_dy, const Tensor& sum_dy_xhat, const Tensor& counts,
                             const Tensor& gamma, std::span<const int64_t> sizes) final;
  InputTerms GroupInputTerms(const Tensor& sum_dy, const Tensor& sum_dy_xhat, const Tensor& counts,
                             const Tensor& gamma, int64_t groups) final;

  Renorm Renormalize(const RenormLimits& limits, const Tensor& running_mean,
                     const Tensor& running_inv_std, Statistics& statistics) final;
  void RenormInputTerms(const Renorm& renorm, InputTerms& terms) final;

  // whitening.cc. In double, whatever x is; the largest products by MultiplyAdd.
  void CoMoments(const WhiteningSpec& spec, const Tensor& x, Tensor& moments) final;
  Whitening WhitenByMoments(const WhiteningSpec& spec, const Tensor& moments) final;
  Whitening WhitenByRunning(const WhiteningSpec& spec, const Tensor& running) final;
  void Whiten(const WhiteningSpec& spec, const Whitening& whitening, const Tensor& x,
              Tensor& xhat) final;
  void WhitenBackwardSums(const WhiteningSpec& spec, const Whitening& whitening, const Tensor& x,
                          const Tensor& dxhat, Tensor& sums) final;
  void WhitenBackwardInput(const WhiteningSpec& spec, const Whitening& whitening,
                           const Tensor& sums, const Tensor& x, const Tensor& dxhat,
                           Tensor& dx) final;

  // sequence.cc
  Tensor SwapLeadingAxes(const Tensor& x, int64_t keep) final;
  Tensor SwapLeadingAxesBackward(const Shape& x_shape, const Tensor& dy) final;

  // step.cc
  void AddSum(const Tensor& values, Tensor& total) final;
  void SumsOfSquares(std::span<const Tensor> tensors, Tensor& sums) final;
  void JudgeStep(const StepEvidence& evidence, double clip_norm, Tensor& verdict) final;
  void Update(const UpdateSpec& spec, const UpdateInputs& inputs, Tensor& parameters,
              std::span<Tensor> slots, Tensor& updates) final;
  Tensor UpdateRunning(const RunningRule& rule, std::span<const RunningBlock> blocks,
                       const Tensor& running, const Tensor& moments, const Tensor& verdict) final;

 private:
  // In whatever order of the sum, the same for the same sizes.
  virtual void MultiplyAdd(const Product& product);
  virtual double SumOfSquares(const Tensor& x) = 0;
  // In place; without momentum, velocity is undefined.
  virtual void SgdUpdate(const SgdSpec& spec, const Tensor& gradient, Tensor& velocity,
                         Tensor& weight) = 0;
  virtual void AdamWUpdate(const AdamWSpec& spec, const Tensor& gradient, Tensor& mean,
                           Tensor& square, Tensor& weight) = 0;
};

}  // namespace syncbn::backend::host
