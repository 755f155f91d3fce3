// The passes of a normalization over segments of rows x channels.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace syncbn::backend::cuda::kernels {

// xhat = (x - mean) inv_std, y = gamma xhat + beta [+ residual], relu: max(y, 0). x is
// [segments][rows][channels], mean and inv_std are [segments][channels], gamma and beta [channels]
// or null for 1 and 0.
struct NormalizeArgs {
  int64_t segments = 0, rows = 0, channels = 0;
  const float* x = nullptr;
  const double* mean = nullptr;
  const double* inv_std = nullptr;
  const float* gamma = nullptr;
  const float* beta = nullptr;
  bool relu = false;
};

// residual may be null.
void Normalize(cudaStream_t stream, const NormalizeArgs& args, const float* residual, float* y);

// sum_dy = sum over a segment's rows of g, sum_dy_xhat = of g xhat, [segments][channels]; g is dy
// where there is no ReLU or its result is positive, else 0. y, the result, may be null where there
// was no residual. At least one element. Scratch: NormalizeSumsScratch doubles.
void NormalizeSums(cudaStream_t stream, const NormalizeArgs& args, const float* y, const float* dy,
                   double* sum_dy, double* sum_dy_xhat, double* scratch);
int64_t NormalizeSumsScratch(int64_t segments, int64_t rows, int64_t channels);

// dx = inv_std (gamma g - a - xhat b), a and b [segments][channels] or both null for 0; dresidual =
// g unless it is null. dx or dresidual may be dy.
struct NormalizeInputArgs {
  const float* y = nullptr;
  const float* dy = nullptr;
  const double* a = nullptr;
  const double* b = nullptr;
  float* dx = nullptr;
  float* dresidual = nullptr;
};
void NormalizeInput(cudaStream_t stream, const NormalizeArgs& args,
                    const NormalizeInputArgs& gradients);

}  // namespace syncbn::backend::cuda::kernels
