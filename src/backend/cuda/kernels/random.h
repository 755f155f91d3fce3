// Kernels that draw a number for each element. Element j of a sample takes word j % 4 of block j /
// 4 of the sample's Philox sequence (base/philox.h), so nothing depends on how a batch is laid out.
// Blocks are counted in 32 bits. T: float or BFloat16.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <span>

namespace syncbn::backend::cuda::kernels {

// y = x scale where the word is at least `threshold`, else 0; y may be x. keys: one for each sample
// of `size` elements.
template <typename T>
void Dropout(cudaStream_t stream, const T* x, T* y, int64_t size, std::span<const uint64_t> keys,
             uint64_t threshold, float scale);

// See NoiseSpec: s x + m where `shifted`, else s x.
struct NoiseOf {
  const float* mu;     // [channels], on the device
  const float* sigma;  // [channels]
  int64_t channels;
  float spread;
  bool shifted;
};
// keys: three for each sample of `size` elements. y may be x.
template <typename T>
void Noise(cudaStream_t stream, const NoiseOf& noise, const T* x, T* y, int64_t size,
           std::span<const uint64_t> keys);

}  // namespace syncbn::backend::cuda::kernels
