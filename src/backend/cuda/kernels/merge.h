// What a reduction does with two messages, on a device: bit for bit what backend/host/merge.cc
// does.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <span>

namespace syncbn::backend::cuda::kernels {

// into[i] += from[i]; integers wrap, NaN becomes the quiet NaN.
void AddInto(cudaStream_t stream, float* into, const float* from, int64_t elements);
void AddInto(cudaStream_t stream, double* into, const double* from, int64_t elements);
void AddInto(cudaStream_t stream, int32_t* into, const int32_t* from, int64_t elements);
void AddInto(cudaStream_t stream, int64_t* into, const int64_t* from, int64_t elements);

// A row holds a block of moments for each of `channels` (merge.h), of `row` elements together. The
// first counts[0] rows of `from` are merged into the first row of `into`, one after the other, and
// so on.
void MergeBlocks(cudaStream_t stream, std::span<const int64_t> channels, int64_t row,
                 std::span<const int64_t> counts, const double* from, double* into);

// A tree over messages as a program of a stack: they are pushed one after the other, and after the
// i-th the top two are combined merges[i] times, the lower with the upper.
struct MergeTree {
  static constexpr int kMostLeaves = 32, kMostDepth = 6;
  std::span<const void* const> leaves;
  std::span<const uint8_t> merges;
};

// into <- the tree, elementwise, as AddInto adds. `into` may be one of the leaves.
template <typename T>
void SumTree(cudaStream_t stream, const MergeTree& tree, T* into, int64_t elements);
// The same of a row of blocks of moments without co-moments, as MergeBlocks merges.
void MergeMomentsTree(cudaStream_t stream, std::span<const int64_t> channels, const MergeTree& tree,
                      double* into);

}  // namespace syncbn::backend::cuda::kernels
