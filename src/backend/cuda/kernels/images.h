// Images from the bytes of a data set: cropped, flipped, each byte replaced by its value, and a
// part cut out.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace syncbn::backend::cuda::kernels {

// What is done to one image: backend::ImageChange::Numbers.
struct alignas(16) ImageChange {
  int32_t dy, dx, flip, unused;
  int32_t top, bottom, left, right;
};

// See backend::RawImages.
struct RawImages {
  const uint8_t* pixels;
  const ImageChange* changes;
  const float* values;
  uint32_t height, width, channels;
};

// Executor::MakeImages; `elements` of them all, at most 2^31 - 1. T: float or BFloat16.
template <typename T>
void MakeImages(cudaStream_t stream, const RawImages& raw, T* images, int64_t elements);

}  // namespace syncbn::backend::cuda::kernels
