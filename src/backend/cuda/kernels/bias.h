// Biases: added to rows, and their gradients, the sums over rows.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace syncbn::backend::cuda::kernels {

// y[r, c] += bias[c] of y [rows, channels]. Moves 8 bytes an element; the bias comes from a cache.
void AddBias(cudaStream_t stream, float* y, const float* bias, int64_t rows, int64_t channels);

// gradient[c] (+)= the sum of dy[r, c] over the rows, in double, in an order that follows from the
// sizes alone. scratch: BiasGradientScratch(rows, channels) doubles.
int64_t BiasGradientScratch(int64_t rows, int64_t channels);
void BiasGradient(cudaStream_t stream, const float* dy, int64_t rows, int64_t channels,
                  bool accumulate, float* gradient, double* scratch);

}  // namespace syncbn::backend::cuda::kernels
