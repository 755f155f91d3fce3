#include "backend/cuda/cuda_executor.h"
#include "backend/cuda/kernels/whitening.h"
#include "backend/merge.h"

namespace syncbn::backend::cuda {
namespace {

int64_t RowsOf(const WhiteningSpec& spec, const Tensor& x) {
  SYNCBN_CHECK_EQ(x.shape().channels(), spec.channels) << "channels of a whitening";
  return x.shape().rows();
}

int64_t MomentsElementsOf(const WhiteningSpec& spec) {
  int64_t elements = 0;
  for (int64_t k = 0; k < spec.groups(); ++k) elements += MomentsElements(-spec.size(k));
  return elements;
}

Whitening NewWhitening(Executor& executor, const WhiteningSpec& spec) {
  return {.mean = executor.New({spec.channels}, DType::kFloat64),
          .matrix = executor.New({spec.matrix_elements()}, DType::kFloat64),
          .newton = executor.New({kernels::NewtonElements(spec)}, DType::kFloat64)};
}

}  // namespace

void CudaExecutor::CoMoments(const WhiteningSpec& spec, const Tensor& x, Tensor& moments) {
  const int64_t rows = RowsOf(spec, x), elements = MomentsElementsOf(spec);
  SYNCBN_CHECK_EQ(moments.elements(), elements) << "moments of a whitening";
  Tensor scratch = New({(kernels::RowPieces(rows) + 1) * elements}, DType::kFloat64);
  ForElements(x, [&](auto element) {
    using T = decltype(element);
    const T* const from = In<T>(x);
    double *const between = Out<double>(scratch), *const to = Out<double>(moments);
    Run("co-moments",
        [&](cudaStream_t stream) { kernels::CoMoments(stream, spec, from, rows, between, to); });
  });
}

Whitening CudaExecutor::WhitenByMoments(const WhiteningSpec& spec, const Tensor& moments) {
  SYNCBN_CHECK_EQ(moments.elements(), MomentsElementsOf(spec)) << "moments of a whitening";
  Whitening whitening = NewWhitening(*this, spec);
  Tensor scratch = New({spec.matrix_elements()}, DType::kFloat64);
  const double* const from = In<double>(moments);
  const kernels::NewtonArguments to{.mean = Out<double>(whitening.mean),
                                    .matrix = Out<double>(whitening.matrix),
                                    .newton = Out<double>(whitening.newton),
                                    .scratch = Out<double>(scratch)};
  Run("whiten by moments",
      [&](cudaStream_t stream) { kernels::WhitenByMoments(stream, spec, from, to); });
  return whitening;
}

Whitening CudaExecutor::WhitenByRunning(const WhiteningSpec& spec, const Tensor& running) {
  SYNCBN_CHECK_EQ(running.elements(), spec.channels + spec.matrix_elements() + spec.groups())
      << "running statistics of a whitening";
  Whitening whitening = NewWhitening(*this, spec);
  Tensor scratch = New({spec.matrix_elements()}, DType::kFloat64);
  const double* const from = In<double>(running);
  const kernels::NewtonArguments to{.mean = Out<double>(whitening.mean),
                                    .matrix = Out<double>(whitening.matrix),
                                    .newton = Out<double>(whitening.newton),
                                    .scratch = Out<double>(scratch)};
  Run("whiten by running statistics",
      [&](cudaStream_t stream) { kernels::WhitenByRunning(stream, spec, from, to); });
  return whitening;
}

void CudaExecutor::Whiten(const WhiteningSpec& spec, const Whitening& whitening, const Tensor& x,
                          Tensor& xhat) {
  const int64_t rows = RowsOf(spec, x);
  SYNCBN_CHECK_EQ(xhat.elements(), x.elements()) << "result of a whitening";
  ForElements(x, [&](auto element) {
    using T = decltype(element);
    const kernels::RowsTerm<T> term{.x = In<T>(x),
                                    .shift = In<double>(whitening.mean),
                                    .matrices = In<double>(whitening.matrix)};
    T* const to = Out<T>(xhat);
    Run("whiten",
        [&](cudaStream_t stream) { kernels::WhitenRows(stream, spec, &term, 1, rows, to); });
  });
}

void CudaExecutor::WhitenBackwardSums(const WhiteningSpec& spec, const Whitening& whitening,
                                      const Tensor& x, const Tensor& dxhat, Tensor& sums) {
  const int64_t rows = RowsOf(spec, x), elements = spec.channels + spec.matrix_elements();
  SYNCBN_CHECK_EQ(x.elements(), dxhat.elements()) << "gradient of a whitening";
  SYNCBN_CHECK_EQ(sums.elements(), elements) << "sums of a whitening";
  Tensor scratch = New({kernels::RowPieces(rows) * elements}, DType::kFloat64);
  ForElements(x, [&](auto element) {
    using T = decltype(element);
    const T *const from = In<T>(x), *const gradient = In<T>(dxhat);
    const double* const mean = In<double>(whitening.mean);
    double *const between = Out<double>(scratch), *const to = Out<double>(sums);
    Run("sums of a whitening's gradient", [&](cudaStream_t stream) {
      kernels::WhitenSums(stream, spec, from, mean, gradient, rows, between, to);
    });
  });
}

// With D the gradient of the covariance: dx_i = W (g_i - mean g) + 2 / n D (x_i - mean).
void CudaExecutor::WhitenBackwardInput(const WhiteningSpec& spec, const Whitening& whitening,
                                       const Tensor& sums, const Tensor& x, const Tensor& dxhat,
                                       Tensor& dx) {
  const int64_t rows = RowsOf(spec, x);
  SYNCBN_CHECK_EQ(x.elements(), dxhat.elements()) << "gradient of a whitening";
  SYNCBN_CHECK_EQ(x.elements(), dx.elements()) << "gradient of a whitening";
  Tensor mean_gradient = New({spec.channels}, DType::kFloat64);
  Tensor slopes;
  if (sums.defined()) {
    slopes = New({spec.matrix_elements()}, DType::kFloat64);
    Tensor scratch = New({kernels::WhitenBackwardScratch(spec)}, DType::kFloat64);
    const double *const newton = In<double>(whitening.newton), *const from = In<double>(sums);
    double *const mean = Out<double>(mean_gradient), *const slope = Out<double>(slopes);
    double* const between = Out<double>(scratch);
    Run("whitening backward", [&](cudaStream_t stream) {
      kernels::WhitenBackward(stream, spec, newton, from, mean, slope, between);
    });
  } else {
    Zero(mean_gradient);
  }
  ForElements(x, [&](auto element) {
    using T = decltype(element);
    const kernels::RowsTerm<T> terms[] = {
        {.x = In<T>(dxhat),
         .shift = In<double>(mean_gradient),
         .matrices = In<double>(whitening.matrix)},
        {.x = In<T>(x), .shift = In<double>(whitening.mean), .matrices = In<double>(slopes)}};
    T* const to = Out<T>(dx);
    Run("whitening backward", [&](cudaStream_t stream) {
      kernels::WhitenRows(stream, spec, terms, sums.defined() ? 2 : 1, rows, to);
    });
  });
}

}  // namespace syncbn::backend::cuda
