#include "backend/cuda/cuda_executor.h"
#include "backend/cuda/kernels/moments.h"
#include "backend/cuda/kernels/normalize.h"
#include "backend/shape_checks.h"

namespace syncbn::backend::cuda {

template <typename T>
kernels::NormalizeArgs<T> CudaExecutor::ArgsOf(const Normalization& norm, const Tensor& x) {
  CheckNormalization(norm, x);
  return {.segments = norm.layout.segments,
          .rows = norm.layout.rows_per_segment(),
          .channels = norm.layout.channels,
          .x = In<T>(x),
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
  ForElements(x, [&](auto element) {
    using T = decltype(element);
    const Tensor scratch =
        New({kernels::MomentsScratch<T>(layout.segments, rows, layout.channels)}, DType::kFloat64);
    const T* const from = In<T>(x);
    double *const to = Out<double>(moments), *const memory = Out<double>(scratch);
    Run("moments", [&](cudaStream_t stream) {
      kernels::Moments(stream, from, layout.segments, rows, layout.channels, to, memory);
    });
  });
}

Tensor CudaExecutor::NormalizeForward(const Normalization& norm, const Tensor& x,
                                      const Tensor& residual) {
  if (residual.defined()) CheckElements(norm.layout, residual, "residual");
  Tensor y = NewLike(x);
  ForElements(x, [&](auto element) {
    using T = decltype(element);
    const kernels::NormalizeArgs<T> args = ArgsOf<T>(norm, x);
    const T* const added = In<T>(residual);
    T* const to = Out<T>(y);
    Run("normalization", [&](cudaStream_t stream) { kernels::Normalize(stream, args, added, to); });
  });
  return y;
}

void CudaExecutor::NormalizeBackwardSums(const Normalization& norm, const Tensor& x,
                                         const Tensor& y, const Tensor& dy, Tensor& sum_dy,
                                         Tensor& sum_dy_xhat) {
  CheckGradient(norm, y, dy);
  CheckStatistic(norm.layout, sum_dy, "sum of gradients");
  CheckStatistic(norm.layout, sum_dy_xhat, "sum of gradients times xhat");
  if (x.elements() == 0) {
    Zero(sum_dy);
    return Zero(sum_dy_xhat);
  }
  ForElements(x, [&](auto element) {
    using T = decltype(element);
    const kernels::NormalizeArgs<T> args = ArgsOf<T>(norm, x);
    const Tensor scratch =
        New({kernels::NormalizeSumsScratch<T>(args.segments, args.rows, args.channels)},
            DType::kFloat64);
    const T *const output = In<T>(y), *const gradient = In<T>(dy);
    double *const sums = Out<double>(sum_dy), *const products = Out<double>(sum_dy_xhat);
    double* const memory = Out<double>(scratch);
    Run("sums of a normalization's gradient", [&](cudaStream_t stream) {
      kernels::NormalizeSums(stream, args, output, gradient, sums, products, memory);
    });
  });
}

Tensor CudaExecutor::NormalizeBackwardInput(const Normalization& norm, const Tensor& x,
                                            const Tensor& y, Tensor dy, const InputTerms& terms,
                                            Tensor* dresidual) {
  const Tensor &a = terms.mean_dy, &b = terms.mean_dy_xhat;
  CheckGradient(norm, y, dy);
  CheckTerms(norm.layout, terms);
  // One of the results may lie where dy was.
  const Tensor in_place = core().MayOverwrite(dy) ? dy : Tensor();
  const bool masked_copy = dresidual != nullptr && norm.relu;
  Tensor dx;
  if (dresidual == nullptr) {
    dx = in_place.defined() ? in_place : NewLike(x);
  } else {
    // Where nothing is masked dresidual is the gradient itself.
    *dresidual = !norm.relu ? dy : in_place.defined() ? in_place : NewLike(x);
    dx = NewLike(x);
  }
  ForElements(x, [&](auto element) {
    using T = decltype(element);
    const kernels::NormalizeArgs<T> args = ArgsOf<T>(norm, x);
    const kernels::NormalizeInputArgs<T> gradients{
        .y = In<T>(y),
        .dy = In<T>(dy),
        .a = In<double>(a),
        .b = In<double>(b),
        .dx = Out<T>(dx),
        .dresidual = masked_copy ? Out<T>(*dresidual) : nullptr};
    Run("gradient of a normalization's input",
        [&](cudaStream_t stream) { kernels::NormalizeInput(stream, args, gradients); });
  });
  return dx.Reshape(x.shape());
}

}  // namespace syncbn::backend::cuda
