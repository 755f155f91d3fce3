// The arithmetic of reductions: dst <- dst combined with src, for parts of a message.
//
// Every element's value depends on the two inputs alone, not on its place, alignment, vector length or
// instruction set; a NaN becomes the one quiet NaN, because which payload survives an addition depends on
// the order in which a compiler puts the operands.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "comm/reducer.h"
#include "tensor/dtype.h"

namespace syncbn::comm {

// What a message holds.
struct Content {
  Operation operation = Operation::kSum;
  DType dtype = DType::kFloat32;
  int64_t elements = 0;
  // For kMergeMoments: channels of the consecutive blocks.
  std::span<const int64_t> channels;

  size_t bytes() const { return static_cast<size_t>(elements) * SizeOf(dtype); }
};

// Throws INVALID_ARGUMENT when the operation cannot be done on such elements, or the blocks of moments do
// not add up to them.
void CheckContent(const Content& content);

// Elements [begin, end) of a message.
struct Range {
  int64_t begin = 0;
  int64_t end = 0;
  int64_t size() const { return end - begin; }
};

// Cuts the message into `parts` consecutive ranges of nearly equal size (some may be empty), each of which
// can be merged on its own: moments are cut between blocks, sums at cache lines.
std::vector<Range> CutIntoRanges(const Content& content, int parts);

// Merges elements [range.begin, range.end) of a message; dst and src point at range.begin. The range is
// the whole message or one of CutIntoRanges; for a sum any range.
void MergeRange(const Content& content, Range range, void* dst, const void* src);

}  // namespace syncbn::comm
