// Moments of segments of rows x channels. T: float or BFloat16.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace syncbn::backend::cuda::kernels {

// moments[segment] = [rows, mean[channels], m2[channels]] of x[segments][rows][channels]. At least
// one element. Scratch: MomentsScratch doubles.
template <typename T>
void Moments(cudaStream_t stream, const T* x, int64_t segments, int64_t rows, int64_t channels,
             double* moments, double* scratch);
template <typename T>
int64_t MomentsScratch(int64_t segments, int64_t rows, int64_t channels);

}  // namespace syncbn::backend::cuda::kernels
