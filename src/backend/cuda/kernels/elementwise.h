// Kernels that treat elements one by one. Sizes are in elements; nothing is done for 0.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace syncbn::backend::cuda::kernels {

// x[i] = value; T: float, double or BFloat16.
template <typename T>
void Fill(cudaStream_t stream, T* x, int64_t elements, T value);
// sum[i] = a[i] + b[i]; sum may be a. T: float or BFloat16.
template <typename T>
void Add(cudaStream_t stream, const T* a, const T* b, T* sum, int64_t elements);
// Between float and BFloat16.
template <typename To, typename From>
void Convert(cudaStream_t stream, const From* from, To* to, int64_t elements);

}  // namespace syncbn::backend::cuda::kernels
