// One launch for many ranges: which blocks are whose goes into the kernel's arguments.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "kernel_language.h"

namespace syncbn::backend::cuda::kernels {

// Of one launch, so that its arguments stay below 4 KiB.
inline constexpr int kPieceEntries = 64;

template <typename Entry>
struct Piece {
  int count = 0;
  int64_t first[kPieceEntries + 1] = {};  // blocks [first[i], first[i + 1]) are those of entry i
  Entry entries[kPieceEntries] = {};

  // Whose block it is, of first[count].
  SYNCBN_DEVICE int Find(int64_t block) const {
    int low = 0, high = count;
    while (high - low > 1) {
      const int middle = (low + high) / 2;
      if (first[middle] <= block) {
        low = middle;
      } else {
        high = middle;
      }
    }
    return low;
  }
};

// launch(piece, blocks, the number of the piece's first entry) for all entries, as many at a time
// as a launch takes.
template <typename Entry, typename BlocksOf, typename Launch>
void ForPieces(std::span<const Entry> entries, const BlocksOf& blocks_of, const Launch& launch) {
  for (size_t begin = 0; begin < entries.size(); begin += kPieceEntries) {
    Piece<Entry> piece;
    piece.count = static_cast<int>(std::min<size_t>(kPieceEntries, entries.size() - begin));
    for (int i = 0; i < piece.count; ++i) {
      piece.entries[i] = entries[begin + static_cast<size_t>(i)];
      piece.first[i + 1] = piece.first[i] + blocks_of(piece.entries[i]);
    }
    launch(piece, piece.first[piece.count], static_cast<int64_t>(begin));
  }
}

}  // namespace syncbn::backend::cuda::kernels
