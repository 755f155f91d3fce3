// Biases: added to rows, and their gradients, the sums over rows.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace syncbn::backend::cuda::kernels {

// y[r, c] += bias[c] of y [rows, channels].
void AddBias(cudaStream_t stream, float* y, const float* bias, int64_t rows, int64_t channels);

// How many parts the rows of a sum are taken in: a function of the sizes alone, and with it the
// order of the sum.
int64_t RowSumParts(int64_t rows, int64_t channels);
// sums[c] (+)= the sum of x[r, c] over the rows, in double. partial: double [RowSumParts(rows,
// channels), channels].
void RowSums(cudaStream_t stream, const float* x, double* partial, float* sums, int64_t rows,
             int64_t channels, bool accumulate);

}  // namespace syncbn::backend::cuda::kernels
