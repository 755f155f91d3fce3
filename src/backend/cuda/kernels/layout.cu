#include "backend/cuda/kernels/layout.h"

#include "backend/cuda/kernels/each.h"

namespace syncbn::backend::cuda::kernels {
namespace {

// Element i is channel i % channels of row i / channels; N of them are of one row. 8 bytes an element.
struct CopyChannelsBody {
  const float* from;
  float* to;
  int64_t from_row, to_row, channels;
  template <int N>
  SYNCBN_DEVICE void At(int64_t i) const {
    const int64_t row = i / channels, c = i % channels;
    StoreVector(to + row * to_row + c, LoadVector<N>(from + row * from_row + c));
  }
};

constexpr int kTile = 32, kTileThreads = 256;

// A tile of 32 x 32 elements a block: its rows come in as 128 bytes side by side, and so do its columns go out; in
// between they lie in shared memory, whose rows are one longer so that a column is in 32 banks. 8 bytes an element.
struct TransposeKernel {
  static constexpr bool kCooperative = true;
  const float* from;
  float* to;
  int64_t rows, columns, row_tiles, column_tiles;

  SYNCBN_DEVICE void operator()() const {
    SYNCBN_SHARED(float, tile, kTile * (kTile + 1));
    const int64_t row0 = Block() / column_tiles % row_tiles * kTile, column0 = Block() % column_tiles * kTile;
    const int64_t matrix = Block() / column_tiles / row_tiles * rows * columns;
    const int line = Thread() / kTile, place = Thread() % kTile;
    SYNCBN_UNROLL
    for (int k = line; k < kTile; k += kTileThreads / kTile) {
      const int64_t r = row0 + k, c = column0 + place;
      if (r < rows && c < columns) tile[k * (kTile + 1) + place] = Load(from + matrix + r * columns + c);
    }
    Barrier();
    SYNCBN_UNROLL
    for (int k = line; k < kTile; k += kTileThreads / kTile) {
      const int64_t c = column0 + k, r = row0 + place;
      if (r < rows && c < columns) Store(to + matrix + c * rows + r, tile[place * (kTile + 1) + k]);
    }
  }
};

// Element `i` of [keep, a, inner]; N of them are of one inner row. 8 bytes an element.
struct SwapBody {
  const float* from;
  float* to;
  int64_t a, b, inner;
  template <int N>
  SYNCBN_DEVICE void At(int64_t i) const {
    const int64_t d = i % inner, block = i / inner;
    StoreVector(to + i, LoadVector<N>(from + (block % a * b + block / a) * inner + d));
  }
};

// Element `i` of [a, b, inner]. 4 bytes an element, and 4 for each that was kept.
struct SwapBackBody {
  const float* from;
  float* to;
  int64_t a, b, inner, keep;
  template <int N>
  SYNCBN_DEVICE void At(int64_t i) const {
    const int64_t d = i % inner, block = i / inner, j = block % b;
    Vector<float, N> value{};
    if (j < keep) value = LoadVector<N>(from + (j * a + block / b) * inner + d);
    StoreVector(to + i, value);
  }
};

}  // namespace

void CopyChannels(cudaStream_t stream, const float* from, int64_t from_row, float* to, int64_t to_row, int64_t rows,
                  int64_t channels) {
  const bool vectors = channels % 4 == 0 && from_row % 4 == 0 && to_row % 4 == 0 && Aligned16(from, to);
  LaunchEach<4>(stream, "copy channels", rows * channels, 2 * sizeof(float), vectors,
                CopyChannelsBody{from, to, from_row, to_row, channels});
}

void Transpose(cudaStream_t stream, const float* from, float* to, int64_t matrices, int64_t rows, int64_t columns) {
  const int64_t row_tiles = CeilDiv(rows, kTile), column_tiles = CeilDiv(columns, kTile);
  Launch(stream,
         {.name = "transpose",
          .blocks = matrices * row_tiles * column_tiles,
          .threads = kTileThreads,
          .bytes = matrices * rows * columns * int64_t{2 * sizeof(float)}},
         TransposeKernel{from, to, rows, columns, row_tiles, column_tiles});
}

void SwapAxes(cudaStream_t stream, const float* from, float* to, int64_t a, int64_t b, int64_t inner, int64_t keep) {
  LaunchEach<4>(stream, "swap axes", keep * a * inner, 2 * sizeof(float), inner % 4 == 0 && Aligned16(from, to),
                SwapBody{from, to, a, b, inner});
}

void SwapAxesBack(cudaStream_t stream, const float* from, float* to, int64_t a, int64_t b, int64_t inner,
                  int64_t keep) {
  LaunchEachMoving<4>(stream, "swap axes back", a * b * inner, (b + keep) * a * inner * int64_t{sizeof(float)},
                      inner % 4 == 0 && Aligned16(from, to), SwapBackBody{from, to, a, b, inner, keep});
}

}  // namespace syncbn::backend::cuda::kernels
