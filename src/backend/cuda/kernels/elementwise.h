// Kernels that treat elements one by one. Sizes are in elements; nothing is done for 0.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace syncbn::backend::cuda::kernels {

// x[i] = value
void Fill(cudaStream_t stream, float* x, int64_t elements, float value);
void Fill(cudaStream_t stream, double* x, int64_t elements, double value);
// sum[i] = a[i] + b[i]; sum may be a.
void Add(cudaStream_t stream, const float* a, const float* b, float* sum, int64_t elements);

}  // namespace syncbn::backend::cuda::kernels
