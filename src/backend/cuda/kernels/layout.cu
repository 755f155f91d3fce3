#include "backend/cuda/kernels/layout.h"

#include "backend/cuda/kernels/each.h"
#include "backend/cuda/kernels/elements.h"

namespace syncbn::backend::cuda::kernels {
namespace {

// Element i is channel i % channels of row i / channels; N of them are of one row. Read and written once.
template <typename T>
struct CopyChannelsBody {
  const T* from;
  T* to;
  int64_t from_row, to_row, channels;
  template <int N>
  SYNCBN_DEVICE void At(int64_t i) const {
    const int64_t row = i / channels, c = i % channels;
    StoreVector(to + row * to_row + c, LoadVector<N>(from + row * from_row + c));
  }
};

constexpr int kTile = 32, kTileThreads = 256;

// A tile of 32 x 32 elements a block: its rows come in side by side, 128 bytes of float or 64 of BFloat16, and so do
// its columns go out; in between they lie in shared memory as float, whose rows are one longer so that a column is in
// 32 banks. Read and written once.
template <typename T>
struct TransposeKernel {
  static constexpr bool kCooperative = true;
  const T* from;
  T* to;
  int64_t rows, columns, row_tiles, column_tiles;

  SYNCBN_DEVICE void operator()() const {
    SYNCBN_SHARED(float, tile, kTile * (kTile + 1));
    const int64_t row0 = Block() / column_tiles % row_tiles * kTile, column0 = Block() % column_tiles * kTile;
    const int64_t matrix = Block() / column_tiles / row_tiles * rows * columns;
    const int line = Thread() / kTile, place = Thread() % kTile;
    SYNCBN_UNROLL
    for (int k = line; k < kTile; k += kTileThreads / kTile) {
      const int64_t r = row0 + k, c = column0 + place;
      if (r < rows && c < columns) tile[k * (kTile + 1) + place] = LoadFloat(from + matrix + r * columns + c);
    }
    Barrier();
    SYNCBN_UNROLL
    for (int k = line; k < kTile; k += kTileThreads / kTile) {
      const int64_t c = column0 + k, r = row0 + place;
      if (r < rows && c < columns) StoreFloat(to + matrix + c * rows + r, tile[place * (kTile + 1) + k]);
    }
  }
};

// Element `i` of [keep, a, inner]; N of them are of one inner row. Read and written once.
template <typename T>
struct SwapBody {
  const T* from;
  T* to;
  int64_t a, b, inner;
  template <int N>
  SYNCBN_DEVICE void At(int64_t i) const {
    const int64_t d = i % inner, block = i / inner;
    StoreVector(to + i, LoadVector<N>(from + (block % a * b + block / a) * inner + d));
  }
};

// Element `i` of [a, b, inner]. Written once, and read what was kept.
template <typename T>
struct SwapBackBody {
  const T* from;
  T* to;
  int64_t a, b, inner, keep;
  template <int N>
  SYNCBN_DEVICE void At(int64_t i) const {
    const int64_t d = i % inner, block = i / inner, j = block % b;
    Vector<T, N> value{};
    if (j < keep) value = LoadVector<N>(from + (j * a + block / b) * inner + d);
    StoreVector(to + i, value);
  }
};

}  // namespace

template <typename T>
void CopyChannels(cudaStream_t stream, const T* from, int64_t from_row, T* to, int64_t to_row, int64_t rows,
                  int64_t channels) {
  constexpr int kWidth = kInVector<T>;
  const bool vectors =
      channels % kWidth == 0 && from_row % kWidth == 0 && to_row % kWidth == 0 && Aligned16(from, to);
  LaunchEach<kWidth>(stream, "copy channels", rows * channels, 2 * sizeof(T), vectors,
                     CopyChannelsBody<T>{from, to, from_row, to_row, channels});
}

template <typename T>
void Transpose(cudaStream_t stream, const T* from, T* to, int64_t matrices, int64_t rows, int64_t columns) {
  const int64_t row_tiles = CeilDiv(rows, kTile), column_tiles = CeilDiv(columns, kTile);
  Launch(stream,
         {.name = "transpose",
          .blocks = matrices * row_tiles * column_tiles,
          .threads = kTileThreads,
          .bytes = matrices * rows * columns * int64_t{2 * sizeof(T)}},
         TransposeKernel<T>{from, to, rows, columns, row_tiles, column_tiles});
}

template <typename T>
void SwapAxes(cudaStream_t stream, const T* from, T* to, int64_t a, int64_t b, int64_t inner, int64_t keep) {
  LaunchEach<kInVector<T>>(stream, "swap axes", keep * a * inner, 2 * sizeof(T),
                           inner % kInVector<T> == 0 && Aligned16(from, to), SwapBody<T>{from, to, a, b, inner});
}

template <typename T>
void SwapAxesBack(cudaStream_t stream, const T* from, T* to, int64_t a, int64_t b, int64_t inner, int64_t keep) {
  LaunchEachMoving<kInVector<T>>(stream, "swap axes back", a * b * inner, (b + keep) * a * inner * int64_t{sizeof(T)},
                                 inner % kInVector<T> == 0 && Aligned16(from, to),
                                 SwapBackBody<T>{from, to, a, b, inner, keep});
}

template void CopyChannels(cudaStream_t, const float*, int64_t, float*, int64_t, int64_t, int64_t);
template void Transpose(cudaStream_t, const float*, float*, int64_t, int64_t, int64_t);
template void SwapAxes(cudaStream_t, const float*, float*, int64_t, int64_t, int64_t, int64_t);
template void SwapAxesBack(cudaStream_t, const float*, float*, int64_t, int64_t, int64_t, int64_t);
template void CopyChannels(cudaStream_t, const BFloat16*, int64_t, BFloat16*, int64_t, int64_t, int64_t);
template void Transpose(cudaStream_t, const BFloat16*, BFloat16*, int64_t, int64_t, int64_t);
template void SwapAxes(cudaStream_t, const BFloat16*, BFloat16*, int64_t, int64_t, int64_t, int64_t);
template void SwapAxesBack(cudaStream_t, const BFloat16*, BFloat16*, int64_t, int64_t, int64_t, int64_t);

}  // namespace syncbn::backend::cuda::kernels
