// The passes of a normalization over segments of rows x channels, of elements T: float or BFloat16.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace syncbn::backend::cuda::kernels {

// xhat = (x - mean) inv_std, y = gamma xhat + beta [+ residual], relu: max(y, 0). x is
// [segments][rows][channels], mean and inv_std are [segments][channels], gamma and beta [channels]
// or null for 1 and 0.
template <typename T>
struct NormalizeArgs {
  int64_t segments = 0, rows = 0, channels = 0;
  const T* x = nullptr;
  const double* mean = nullptr;
  const double* inv_std = nullptr;
  const float* gamma = nullptr;
  const float* beta = nullptr;
  bool relu = false;
};

// residual may be null.
template <typename T>
void Normalize(cudaStream_t stream, const NormalizeArgs<T>& args, const T* residual, T* y);

// sum_dy = sum over a segment's rows of g, sum_dy_xhat = of g xhat, [segments][channels]; g is dy
// where there is no ReLU or its result is positive, else 0. y, the result, may be null where there
// was no residual. At least one element. Scratch: NormalizeSumsScratch doubles.
template <typename T>
void NormalizeSums(cudaStream_t stream, const NormalizeArgs<T>& args, const T* y, const T* dy,
                   double* sum_dy, double* sum_dy_xhat, double* scratch);
template <typename T>
int64_t NormalizeSumsScratch(int64_t segments, int64_t rows, int64_t channels);

// dx = inv_std (gamma g - a - xhat b), a and b [segments][channels] or both null for 0; dresidual =
// g unless it is null. dx or dresidual may be dy.
template <typename T>
struct NormalizeInputArgs {
  const T* y = nullptr;
  const T* dy = nullptr;
  const double* a = nullptr;
  const double* b = nullptr;
  T* dx = nullptr;
  T* dresidual = nullptr;
};
template <typename T>
void NormalizeInput(cudaStream_t stream, const NormalizeArgs<T>& args,
                    const NormalizeInputArgs<T>& gradients);

}  // namespace syncbn::backend::cuda::kernels
