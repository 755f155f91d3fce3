// Filters of convolutions between PyTorch's layout, in which parameters and gradients lie, and
// cuDNN's, of elements T: float or BFloat16.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace syncbn::backend::cuda::kernels {

// ohwi[o, k, i] = oihw[o, i, k], with k = h * W + w of `window` = H * W.
template <typename T>
void PackFilter(cudaStream_t stream, const float* oihw, T* ohwi, int64_t outputs, int64_t inputs,
                int64_t window);
// oihw[o, i, k] (+)= ohwi[o, k, i]
template <typename T>
void UnpackFilter(cudaStream_t stream, const T* ohwi, float* oihw, int64_t outputs, int64_t inputs,
                  int64_t window, bool accumulate);

}  // namespace syncbn::backend::cuda::kernels
