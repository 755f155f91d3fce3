// Kernels that move elements to other places. Sizes are in elements; nothing is done for 0. T:
// float or BFloat16.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace syncbn::backend::cuda::kernels {

// to[r to_row + c] = from[r from_row + c] for c < channels: some channels of each row.
template <typename T>
void CopyChannels(cudaStream_t stream, const T* from, int64_t from_row, T* to, int64_t to_row,
                  int64_t rows, int64_t channels);
// Of each matrix of a batch: to[c rows + r] = from[r columns + c].
template <typename T>
void Transpose(cudaStream_t stream, const T* from, T* to, int64_t matrices, int64_t rows,
               int64_t columns);
// [a, b, inner] -> [keep, a, inner], keep <= b: to[j, i] = from[i, j].
template <typename T>
void SwapAxes(cudaStream_t stream, const T* from, T* to, int64_t a, int64_t b, int64_t inner,
              int64_t keep);
// [keep, a, inner] -> [a, b, inner]: to[i, j] = from[j, i] for j < keep, else 0.
template <typename T>
void SwapAxesBack(cudaStream_t stream, const T* from, T* to, int64_t a, int64_t b, int64_t inner,
                  int64_t keep);

}  // namespace syncbn::backend::cuda::kernels
