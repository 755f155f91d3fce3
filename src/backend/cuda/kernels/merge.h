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

}  // namespace syncbn::backend::cuda::kernels
