#include <cmath>

#include "backend/cpu/cpu_executor.h"
#include "backend/merge.h"
#include "backend/shape_checks.h"
#include "base/check.h"

namespace syncbn::backend::cpu {
namespace {

Segments SegmentsOf(const RowLayout& layout) {
  return {layout.segments, layout.rows_per_segment(), layout.channels, layout.rows_per_sample == 1};
}

const float* OrNull(const Tensor& tensor) {
  return tensor.defined() ? tensor.Data<float>() : nullptr;
}

NormalizeArgs ArgsOf(const Normalization& norm, const Tensor& x) {
  CheckNormalization(norm, x);
  return {.layout = SegmentsOf(norm.layout),
          .mean = norm.mean.Data<double>(),
          .inv_std = norm.inv_std.Data<double>(),
          .gamma = OrNull(norm.gamma),
          .beta = OrNull(norm.beta),
          .relu = norm.relu,
          .x = x.Data<float>()};
}

}  // namespace

void CpuExecutor::Moments(const RowLayout& layout, const Tensor& x, Tensor& moments) {
  CheckMoments(layout, x, moments);
  const int64_t row = MomentsElements(layout.channels);
  if (x.elements() == 0) return Zero(moments);
  double* const block = moments.Data<double>();
  kernels_.moments(SegmentsOf(layout), x.Data<float>(), block + 1, block + 1 + layout.channels, row,
                   Scratch(layout.channels));
  for (int64_t s = 0; s < layout.segments; ++s) {
    block[s * row] = static_cast<double>(layout.rows_per_segment());
  }
}

Tensor CpuExecutor::NormalizeForward(const Normalization& norm, const Tensor& x,
                                     const Tensor& residual) {
  const NormalizeArgs args = ArgsOf(norm, x);
  if (residual.defined()) CheckElements(norm.layout, residual, "residual");
  Tensor y = New(x.shape());
  if (x.elements() > 0) {
    kernels_.normalize(args, OrNull(residual), y.Data<float>(), Scratch(norm.layout.channels));
  }
  return y;
}

void CpuExecutor::NormalizeBackwardSums(const Normalization& norm, const Tensor& x, const Tensor& y,
                                        const Tensor& dy, Tensor& sum_dy, Tensor& sum_dy_xhat) {
  const NormalizeArgs args = ArgsOf(norm, x);
  CheckGradient(norm, y, dy);
  CheckStatistic(norm.layout, sum_dy, "sum of gradients");
  CheckStatistic(norm.layout, sum_dy_xhat, "sum of gradients times xhat");
  if (x.elements() == 0) {
    Zero(sum_dy);
    return Zero(sum_dy_xhat);
  }
  kernels_.normalize_sums(args, OrNull(y), dy.Data<float>(), sum_dy.Data<double>(),
                          sum_dy_xhat.Data<double>(), Scratch(norm.layout.channels));
}

Tensor CpuExecutor::NormalizeBackwardInput(const Normalization& norm, const Tensor& x,
                                           const Tensor& y, Tensor dy, const InputTerms& terms,
                                           Tensor* dresidual) {
  const Tensor& a = terms.mean_dy;
  const Tensor& b = terms.mean_dy_xhat;
  const NormalizeArgs args = ArgsOf(norm, x);
  CheckGradient(norm, y, dy);
  CheckTerms(norm.layout, terms);
  Tensor dx;
  if (dresidual == nullptr) {
    dx = Reuse(dy);
  } else if (!norm.relu) {
    *dresidual = dy;  // nothing is masked: the gradient itself
    dx = New(x.shape());
  } else {
    // One of the two results may lie where dy was.
    *dresidual = Reuse(dy);
    dx = New(x.shape());
  }
  if (x.elements() > 0) {
    const bool masked_copy = dresidual != nullptr && norm.relu;
    const NormalizeInputArgs gradients{
        .y = OrNull(y),
        .dy = dy.Data<float>(),
        .a = a.defined() ? a.Data<double>() : nullptr,
        .b = b.defined() ? b.Data<double>() : nullptr,
        .dx = dx.Data<float>(),
        .dresidual = masked_copy ? dresidual->Data<float>() : nullptr};
    kernels_.normalize_input(args, gradients, Scratch(norm.layout.channels));
  }
  return dx.Reshape(x.shape());
}

// w[o] = gain[o] / |v[o]| * v[o] (Salimans and Kingma 2016, equation 2)
WeightNormResult CpuExecutor::WeightNormForward(const Tensor& v, const Tensor& gain) {
  const int64_t outputs = v.shape()[0];
  SYNCBN_CHECK_EQ(gain.elements(), outputs) << "gain of a weight norm";
  const int64_t inputs = outputs == 0 ? 0 : v.elements() / outputs;
  WeightNormResult result{.weight = New(v.shape()), .norms = New({outputs}, DType::kFloat64)};
  for (int64_t o = 0; o < outputs; ++o) {
    const float* row = v.Data<float>() + o * inputs;
    const double norm = std::sqrt(kernels_.dot(row, row, inputs));
    result.norms.Data<double>()[o] = norm;
    kernels_.scale(row, static_cast<float>(gain.Data<float>()[o] / norm),
                   result.weight.Data<float>() + o * inputs, inputs);
  }
  return result;
}

// dgain = dw . v / |v|;  dv = gain / |v| dw - gain dgain / |v|^2 v  (the same, equation 3)
void CpuExecutor::WeightNormBackward(const Tensor& v, const Tensor& gain, const Tensor& norms,
                                     const Tensor& dweight, GradientOut dv, GradientOut dgain) {
  const int64_t outputs = v.shape()[0];
  SYNCBN_CHECK_EQ(dweight.elements(), v.elements()) << "gradient of a weight norm";
  const int64_t inputs = outputs == 0 ? 0 : v.elements() / outputs;
  for (int64_t o = 0; o < outputs; ++o) {
    const float* row = v.Data<float>() + o * inputs;
    const float* dw = dweight.Data<float>() + o * inputs;
    const double norm = norms.Data<double>()[o], g = gain.Data<float>()[o];
    const double slope = kernels_.dot(dw, row, inputs) / norm;
    float& out = dgain.tensor.Data<float>()[o];
    out = static_cast<float>(dgain.accumulate ? out + slope : slope);
    // The two terms nearly cancel where dw is along v.
    kernels_.combine(g / norm, dw, -g * slope / (norm * norm), row,
                     dv.tensor.Data<float>() + o * inputs, dv.accumulate, inputs);
  }
}

}  // namespace syncbn::backend::cpu
