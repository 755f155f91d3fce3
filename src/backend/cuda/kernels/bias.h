// Biases: added to rows, and their gradients, the sums over rows. T: float or BFloat16.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace syncbn::backend::cuda::kernels {

// y[r, c] += bias[c] of y [rows, channels]. Reads and writes y once; the bias comes from a cache.
template <typename T>
void AddBias(cudaStream_t stream, T* y, const float* bias, int64_t rows, int64_t channels);

// gradient[c] (+)= the sum of dy[r, c] over the rows, in double, in an order that follows from the
// sizes alone. scratch: BiasGradientScratch<T>(rows, channels) doubles.
template <typename T>
int64_t BiasGradientScratch(int64_t rows, int64_t channels);
template <typename T>
void BiasGradient(cudaStream_t stream, const T* dy, int64_t rows, int64_t channels, bool accumulate,
                  float* gradient, double* scratch);

}  // namespace syncbn::backend::cuda::kernels
