#include "backend/cuda/cuda_executor.h"
#include "backend/cuda/kernels/moments.h"
#include "backend/cuda/kernels/normalize.h"
#include "backend/shape_checks.h"

namespace syncbn::backend::cuda {
kernels::NormalizeArgs CudaExecutor::ArgsOf(const Normalization& norm, const Tensor& x) {
  CheckNormalization(norm, x);
  return {.segments = norm.layout.segments,
          .rows = norm.layout.rows_per_segment(),
          .channels = norm.layout.channels,
          .x = In<float>(x),
          .mean = In<double>(norm.mean),
          .inv_std = In<double>(norm.inv_std),
          .gamma = In<float>(norm.gamma),
          .beta = In<float>(norm.beta),
          .relu = norm.relu};
}

void CudaExecutor::Moments(const RowLayout& layout, const Tensor& x, Tensor& moments) {
  CheckMoments(layout, x, moments);
  if (x.elements() == 0) return Zero(moments);
  const int64_t rows = layout.rows_per_segment();
  const Tensor scratch =
      New({kernels::MomentsScratch(layout.segments, rows, layout.channels)}, DType::kFloat64);
  const float* const from = In<float>(x);
  double *const to = Out<double>(moments), *const memory = Out<double>(scratch);
  Run("moments", [&](cudaStream_t stream) {
    kernels::Moments(stream, from, layout.segments, rows, layout.channels, to, memory);
  });
}

Tensor CudaExecutor::NormalizeForward(const Normalization& norm, const Tensor& x,
                                      const Tensor& residual) {
  const kernels::NormalizeArgs args = ArgsOf(norm, x);
  if (residual.defined()) CheckElements(norm.layout, residual, "residual");
  Tensor y = New(x.shape());
  const float* const added = In<float>(residual);
  float* const to = Out<float>(y);
  Run("normalization", [&](cudaStream_t stream) { kernels::Normalize(stream, args, added, to); });
  return y;
}

void CudaExecutor::NormalizeBackwardSums(const Normalization& norm, const Tensor& x,
                                         const Tensor& y, const Tensor& dy, Tensor& sum_dy,
                                         Tensor& sum_dy_xhat) {
  const kernels::NormalizeArgs args = ArgsOf(norm, x);
  CheckGradient(norm, y, dy);
  CheckStatistic(norm.layout, sum_dy, "sum of gradients");
  CheckStatistic(norm.layout, sum_dy_xhat, "sum of gradients times xhat");
  if (x.elements() == 0) {
    Zero(sum_dy);
    return Zero(sum_dy_xhat);
  }
  const Tensor scratch = New(
      {kernels::NormalizeSumsScratch(args.segments, args.rows, args.channels)}, DType::kFloat64);
  const float *const output = In<float>(y), *const gradient = In<float>(dy);
  double *const sums = Out<double>(sum_dy), *const products = Out<double>(sum_dy_xhat);
  double* const memory = Out<double>(scratch);
  Run("sums of a normalization's gradient", [&](cudaStream_t stream) {
    kernels::NormalizeSums(stream, args, output, gradient, sums, products, memory);
  });
}

Tensor CudaExecutor::NormalizeBackwardInput(const Normalization& norm, const Tensor& x,
                                            const Tensor& y, Tensor dy, const InputTerms& terms,
                                            Tensor* dresidual) {
  const Tensor &a = terms.mean_dy, &b = terms.mean_dy_xhat;
  const kernels::NormalizeArgs args = ArgsOf(norm, x);
  CheckGradient(norm, y, dy);
  CheckTerms(norm.layout, terms);
  // One of the results may lie where dy was.
  const Tensor in_place = core().MayOverwrite(dy) ? dy : Tensor();
  const bool masked_copy = dresidual != nullptr && norm.relu;
  Tensor dx;
  if (dresidual == nullptr) {
    dx = in_place.defined() ? in_place : New(x.shape());
  } else {
    // Where nothing is masked dresidual is the gradient itself.
    *dresidual = !norm.relu ? dy : in_place.defined() ? in_place : New(x.shape());
    dx = New(x.shape());
  }
  const kernels::NormalizeInputArgs gradients{
      .y = In<float>(y),
      .dy = In<float>(dy),
      .a = In<double>(a),
      .b = In<double>(b),
      .dx = Out<float>(dx),
      .dresidual = masked_copy ? Out<float>(*dresidual) : nullptr};
  Run("gradient of a normalization's input",
      [&](cudaStream_t stream) { kernels::NormalizeInput(stream, args, gradients); });
  return dx.Reshape(x.shape());
}

}  // namespace syncbn::backend::cuda
