// Kernels of pooling over N x H x W x C. Nothing is done for 0 images.
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
template <typename Position>
void MaxPool(cudaStream_t stream, const Pooling& pooling, const float* x, float* y,
             Position* positions);
template <typename Position>
void MaxPoolBackward(cudaStream_t stream, const Pooling& pooling, const float* dy,
                     const Position* positions, float* dx);
// The mean of what a window holds of the image.
void AveragePool(cudaStream_t stream, const Pooling& pooling, const float* x, float* y);
void AveragePoolBackward(cudaStream_t stream, const Pooling& pooling, const float* dy, float* dx);

// [images, area, channels] -> [images, channels], the means over the area; back: dy / area
// everywhere. Precondition: area > 0. scratch: GlobalAverageScratch(...) doubles.
int64_t GlobalAverageScratch(int64_t images, int64_t area, int64_t channels);
void GlobalAverage(cudaStream_t stream, const float* x, float* y, int64_t images, int64_t area,
                   int64_t channels, double* scratch);
void GlobalAverageBackward(cudaStream_t stream, const float* dy, float* dx, int64_t images,
                           int64_t area, int64_t channels);

}  // namespace syncbn::backend::cuda::kernels
