// Kernels of pooling over N x H x W x C. Nothing is done for 0 images. T: float or
// BFloat16.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace syncbn::backend::cuda::kernels {

// Precondition: pad < kernel, so that every window holds something of the image.
struct Pooling {
  int64_t images, height, width, channels, out_height, out_width, kernel, stride, pad;
};

// y is the largest of each window, or a NaN where there is one; positions say which it is of the
// window's places row by row, the first of equals. Position: uint8_t for kernels up to 16 x 16,
// else int32_t.
template <typename T, typename Position>
void MaxPool(cudaStream_t stream, const Pooling& pooling, const T* x, T* y, Position* positions);
template <typename T, typename Position>
void MaxPoolBackward(cudaStream_t stream, const Pooling& pooling, const T* dy,
                     const Position* positions, T* dx);
// The mean of what a window holds of the image.
template <typename T>
void AveragePool(cudaStream_t stream, const Pooling& pooling, const T* x, T* y);
template <typename T>
void AveragePoolBackward(cudaStream_t stream, const Pooling& pooling, const T* dy, T* dx);

// [images, area, channels] -> [images, channels], the means over the area; back: dy / area
// everywhere. Precondition: area > 0. scratch: GlobalAverageScratch<T>(...) doubles.
template <typename T>
int64_t GlobalAverageScratch(int64_t images, int64_t area, int64_t channels);
template <typename T>
void GlobalAverage(cudaStream_t stream, const T* x, T* y, int64_t images, int64_t area,
                   int64_t channels, double* scratch);
template <typename T>
void GlobalAverageBackward(cudaStream_t stream, const T* dy, T* dx, int64_t images, int64_t area,
                           int64_t channels);

}  // namespace syncbn::backend::cuda::kernels
