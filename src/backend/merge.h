// What a reduction does with two messages: dst <- dst combined with src, for parts of a message.
//
// Every element's value depends on the two inputs alone, not on its place, alignment, vector length or
// instruction set; a NaN becomes the one quiet NaN, because which payload survives an addition depends on
// the order in which a compiler puts the operands.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "tensor/dtype.h"

namespace syncbn::backend {

enum class MergeOperation {
  kSum,           // elementwise a + b, in the tensor's type
  kMergeMoments,  // F64 blocks of moments, one for each of `channels`, by Chan's formula
};

// What a message holds.
struct MergeContent {
  MergeOperation operation = MergeOperation::kSum;
  DType dtype = DType::kFloat32;
  int64_t elements = 0;
  // For kMergeMoments: of each of the consecutive blocks its channels, C > 0 for [count, mean[C],
  // m2[C]] and -C for [count, mean[C], co-moments[C (C + 1) / 2]], the sums of (x_i - mean_i) (x_j
  // - mean_j) for i <= j, row by row: all that iterative normalization needs in one message, merged
  // pairwise along the same tree.
  std::span<const int64_t> channels;

  size_t bytes() const { return static_cast<size_t>(elements) * SizeOf(dtype); }
  // What elements [begin, end) hold: of a sum any of them, of moments whole blocks.
  MergeContent Part(int64_t begin, int64_t end) const;
};

// Throws INVALID_ARGUMENT when the operation cannot be done on such elements, or the blocks of moments do
// not add up to them.
void CheckContent(const MergeContent& content);

// values[into] <- values[into] combined with values[from].
struct MergeStep {
  int into = 0;
  int from = 0;
  bool operator==(const MergeStep&) const = default;
};

// Elements [begin, end) of a message.
struct ElementRange {
  int64_t begin = 0;
  int64_t end = 0;
  int64_t size() const { return end - begin; }
};

// Elements of a block of moments, by its entry in `channels`.
constexpr int64_t MomentsElements(int64_t channels) {
  return channels >= 0 ? 1 + 2 * channels : 1 - channels + channels * (channels - 1) / 2;
}

// -- On memory of the host -----------------------------------------------------------------------------

// Merges elements [range.begin, range.end) of a message; dst and src point at range.begin. The range is
// the whole message or holds whole blocks of moments; for a sum any range.
void MergeRange(const MergeContent& content, ElementRange range, void* dst, const void* src);

// dst <- dst merged with src, both such blocks, by Chan's formula in double.
void MergeMoments(std::span<const int64_t> channels, std::span<double> dst,
                  std::span<const double> src);

}  // namespace syncbn::backend
