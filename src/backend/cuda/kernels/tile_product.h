// A tile of a product of matrices, in double, by one block of threads.
#pragma once

#include <cstdint>

#include "backend/specs.h"
#include "kernel_language.h"

namespace syncbn::backend::cuda::kernels {

inline constexpr int kTile = 64;       // rows and columns of a tile
inline constexpr int kTileDepth = 32;  // of what is in shared memory at a time
inline constexpr int kTileThreads = 256;
// Elements of each factor that a thread brings at a time.
inline constexpr int kTileLoads = kTile * kTileDepth / kTileThreads;
// The threads are a square; each has rows and columns of the tile that are its side apart.
inline constexpr int kTileSide = 16;
inline constexpr int kTileOfThread = kTile / kTileSide;
// Of a row in shared memory: so that a column of it is in different banks.
inline constexpr int kTilePitch = kTile + 1;
inline constexpr int kTileElements = kTileDepth * kTilePitch;

// Where tile (row, column) of `rows` x `columns` ends, and over how many terms its elements go.
struct TileExtent {
  int rows = 0, columns = 0, depth = 0;
};

// sums[i][j] += sum over k of a(row, k) b(k, column) in the order of k, for the rows Thread() / 16
// + 16 i and the columns Thread() % 16 + 16 j of the tile. a and b are asked once for each element
// of the tile's extent, neighbouring lanes for neighbouring k of a if kDepthFirst, else for
// neighbouring rows, and for neighbouring columns of b. side(a's part) is called once for each part
// of the depth, while it may be read: element (k, row) at k * kTilePitch + row. All threads of the
// block call it, 256. Two tiles of 16.25 KiB are in shared memory.
template <bool kDepthFirst, typename A, typename B, typename Side>
SYNCBN_DEVICE void AddTileProduct(const TileExtent& extent, const A& a, const B& b,
                                  const Side& side, double (&sums)[kTileOfThread][kTileOfThread]) {
  SYNCBN_SHARED(double, left, kTileElements);
  SYNCBN_SHARED(double, right, kTileElements);
  const int row = Thread() / kTileSide, column = Thread() % kTileSide;
  for (int begin = 0; begin < extent.depth; begin += kTileDepth) {
    const int rest = extent.depth - begin;
    const int depth = rest < kTileDepth ? rest : kTileDepth;
    // All loads are on their way before the first is waited for.
    double of_a[kTileLoads], of_b[kTileLoads];
    SYNCBN_UNROLL
    for (int n = 0; n < kTileLoads; ++n) {
      const int e = Thread() + n * kTileThreads;
      const int k = kDepthFirst ? e % kTileDepth : e / kTile;
      const int i = kDepthFirst ? e / kTileDepth : e % kTile;
      of_a[n] = k < depth && i < extent.rows ? a(i, begin + k) : 0;
    }
    SYNCBN_UNROLL
    for (int n = 0; n < kTileLoads; ++n) {
      const int k = (Thread() + n * kTileThreads) / kTile, j = Thread() % kTile;
      of_b[n] = k < depth && j < extent.columns ? b(begin + k, j) : 0;
    }
    Barrier();  // the last part is read
    SYNCBN_UNROLL
    for (int n = 0; n < kTileLoads; ++n) {
      const int e = Thread() + n * kTileThreads;
      const int k = kDepthFirst ? e % kTileDepth : e / kTile;
      const int i = kDepthFirst ? e / kTileDepth : e % kTile;
      left[k * kTilePitch + i] = of_a[n];
      right[e / kTile * kTilePitch + e % kTile] = of_b[n];
    }
    Barrier();
    side(left, depth);
    if (row >= extent.rows || column >= extent.columns) continue;
    for (int k = 0; k < depth; ++k) {
      double of_row[kTileOfThread];
      SYNCBN_UNROLL
      for (int i = 0; i < kTileOfThread; ++i)
        of_row[i] = left[k * kTilePitch + row + kTileSide * i];
      SYNCBN_UNROLL
      for (int j = 0; j < kTileOfThread; ++j) {
        const double of_column = right[k * kTilePitch + column + kTileSide * j];
        SYNCBN_UNROLL
        for (int i = 0; i < kTileOfThread; ++i) sums[i][j] = fma(of_row[i], of_column, sums[i][j]);
      }
    }
  }
}

// store(row, column, sum) for what this thread has of the tile.
template <typename Store>
SYNCBN_DEVICE void ForTile(const TileExtent& extent,
                           const double (&sums)[kTileOfThread][kTileOfThread], const Store& store) {
  SYNCBN_UNROLL
  for (int i = 0; i < kTileOfThread; ++i) {
    const int row = Thread() / kTileSide + kTileSide * i;
    SYNCBN_UNROLL
    for (int j = 0; j < kTileOfThread; ++j) {
      const int column = Thread() % kTileSide + kTileSide * j;
      if (row < extent.rows && column < extent.columns) store(row, column, sums[i][j]);
    }
  }
}

// Of tile `index` of `size` elements.
SYNCBN_HOST_DEVICE int TileSize(int64_t size, int64_t index) {
  const int64_t rest = size - index * kTile;
  return static_cast<int>(rest < kTile ? rest : kTile);
}
SYNCBN_HOST_DEVICE int64_t TilesOf(int64_t size) {
  return (size + kTile - 1) / kTile;
}

// Groups of channels (WhiteningSpec), and where what belongs to them lies.
struct Groups {
  int64_t channels = 0, group = 0, groups = 0;

  explicit Groups(const WhiteningSpec& spec)
      : channels(spec.channels), group(spec.group), groups(spec.groups()) {}

  SYNCBN_HOST_DEVICE int64_t Begin(int64_t k) const { return k * group; }
  SYNCBN_HOST_DEVICE int64_t Size(int64_t k) const {
    return k + 1 < groups ? group : channels - k * group;
  }
  // Of the largest.
  SYNCBN_HOST_DEVICE int64_t Most() const { return groups > 1 ? group : channels; }
  // The first element of group k where those of size d have `fixed` + `linear` d + `square` d^2.
  SYNCBN_HOST_DEVICE int64_t Offset(int64_t k, int64_t fixed, int64_t linear,
                                    int64_t square) const {
    return k * (fixed + linear * group + square * group * group);
  }
};

// Elements of the upper triangle of a d x d matrix, and where row i of it begins.
SYNCBN_HOST_DEVICE int64_t Triangle(int64_t d) {
  return d * (d + 1) / 2;
}
SYNCBN_HOST_DEVICE int64_t TriangleAt(int64_t d, int64_t i, int64_t j) {
  return i * d - i * (i - 1) / 2 + (j - i);
}

}  // namespace syncbn::backend::cuda::kernels
