#include "backend/cuda/cuda_executor.h"
#include "backend/cuda/kernels/moments.h"
#include "backend/cuda/kernels/normalize.h"
#include "backend/merge.h"

namespace syncbn::backend::cuda {
namespace {

void CheckElements(const RowLayout& layout, const Tensor& tensor, const char* what) {
  SYNCBN_CHECK_EQ(tensor.elements(), layout.rows() * layout.channels)
      << what << " of a normalization over " << layout.segments << " segments of "
      << layout.rows_per_segment() << " rows of " << layout.channels << " channels";
}

void CheckStatistic(const RowLayout& layout, const Tensor& tensor, const char* what) {
  SYNCBN_CHECK_EQ(tensor.elements(), layout.segments * layout.channels)
      << what << " for each of " << layout.segments << " segments and " << layout.channels
      << " channels";
}

}  // namespace

kernels::NormalizeArgs CudaExecutor::ArgsOf(const Normalization& norm, const Tensor& x) {
  CheckElements(norm.layout, x, "input");
  CheckStatistic(norm.layout, norm.mean, "mean");
  CheckStatistic(norm.layout, norm.inv_std, "inv_std");
  for (const Tensor* parameter : {&norm.gamma, &norm.beta}) {
    if (!parameter->defined()) continue;
    SYNCBN_CHECK_EQ(parameter->elements(), norm.layout.channels) << "scale or shift of a norm";
  }
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
  CheckElements(layout, x, "input");
  SYNCBN_CHECK_EQ(moments.elements(), layout.segments * MomentsElements(layout.channels))
      << "moments of a normalization";
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
  CheckElements(norm.layout, dy, "gradient");
  if (y.defined()) CheckElements(norm.layout, y, "output");
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
  CheckElements(norm.layout, dy, "gradient");
  if (y.defined()) CheckElements(norm.layout, y, "output");
  SYNCBN_CHECK_EQ(a.defined(), b.defined()) << "parts of a normalization's backward pass";
  if (a.defined()) {
    CheckStatistic(norm.layout, a, "mean of gradients");
    CheckStatistic(norm.layout, b, "mean of gradients times xhat");
  }
  // One of the results may lie where dy was.
  const Tensor in_place = dy.use_count() == 1 ? dy : Tensor();
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
