#include "backend/cuda/kernels/pooling.h"

#include <algorithm>

#include "backend/cuda/kernels/column_sums.h"

namespace syncbn::backend::cuda::kernels {
namespace {

// Begin and end, along one axis.
struct Range {
  int64_t begin, end;
  SYNCBN_HOST_DEVICE int64_t size() const { return end - begin; }
};

// The part of window `place` that lies inside the image.
SYNCBN_HOST_DEVICE Range PixelRange(const Pooling& p, int64_t place, int64_t extent) {
  const int64_t start = place * p.stride - p.pad, end = start + p.kernel;
  return {start < 0 ? 0 : start, end < extent ? end : extent};
}
// The windows that hold a pixel.
SYNCBN_HOST_DEVICE Range WindowRange(const Pooling& p, int64_t pixel, int64_t places) {
  const int64_t from_pad = pixel + p.pad, last = from_pad / p.stride;
  return {from_pad < p.kernel ? 0 : (from_pad - p.kernel) / p.stride + 1, last + 1 < places ? last + 1 : places};
}

// Rows and columns of an image or of its windows.
struct Area {
  Range rows, columns;
  SYNCBN_HOST_DEVICE int64_t size() const { return rows.size() * columns.size(); }
  template <typename Use>
  SYNCBN_DEVICE void ForEach(const Use& use) const {
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      for (int64_t column = columns.begin; column < columns.end; ++column) use(row, column);
    }
  }
};

// Channel c of a pixel of N x rows x columns x channels. (Of 64-bit divisions nvcc makes 32-bit ones where both
// numbers are small.)
struct Place {
  int64_t n, row, column, c;
  SYNCBN_DEVICE Place(int64_t i, int64_t rows, int64_t columns, int64_t channels) {
    const int64_t pixel = i / channels, line = pixel / columns;
    n = line / rows;
    row = line - n * rows;
    column = pixel - line * columns;
    c = i - pixel * channels;
  }
};
// The pixels that a window holds, and the windows that hold a pixel.
SYNCBN_DEVICE Area PixelsOf(const Pooling& p, int64_t out_row, int64_t out_column) {
  return {PixelRange(p, out_row, p.height), PixelRange(p, out_column, p.width)};
}
SYNCBN_DEVICE Area WindowsOf(const Pooling& p, const Place& pixel) {
  return {WindowRange(p, pixel.row, p.out_height), WindowRange(p, pixel.column, p.out_width)};
}
// Where a pixel lies among the places of a window, row by row.
SYNCBN_DEVICE int64_t PlaceInWindow(const Pooling& p, int64_t out_row, int64_t out_column, int64_t row,
                                    int64_t column) {
  return (row - (out_row * p.stride - p.pad)) * p.kernel + (column - (out_column * p.stride - p.pad));
}
// Index of the channel `c` of a pixel.
SYNCBN_DEVICE int64_t InputAt(const Pooling& p, const Place& at, int64_t row, int64_t column) {
  return ((at.n * p.height + row) * p.width + column) * p.channels + at.c;
}
SYNCBN_DEVICE int64_t OutputAt(const Pooling& p, const Place& at, int64_t row, int64_t column) {
  return ((at.n * p.out_height + row) * p.out_width + column) * p.channels + at.c;
}

// N channels of an output a thread. Each input is read by every window that holds it: from a cache, but once, as
// neighbours in the grid are neighbours in the image; those reads are counted here.
template <typename T, typename Position>
struct MaxPoolBody {
  Pooling p;
  const T* x;
  T* y;
  Position* positions;
  template <int N>
  SYNCBN_DEVICE void At(int64_t i) const {
    const Place at(i, p.out_height, p.out_width, p.channels);
    Vector<float, N> best{};
    Vector<Position, N> chosen{};
    bool first = true;
    PixelsOf(p, at.row, at.column).ForEach([&](int64_t row, int64_t column) {
      const Vector<float, N> value = LoadFloats<N>(x + InputAt(p, at, row, column));
      const auto position = static_cast<Position>(PlaceInWindow(p, at.row, at.column, row, column));
      SYNCBN_UNROLL
      for (int k = 0; k < N; ++k) {
        if (first || value[k] > best[k] || value[k] != value[k]) {  // a NaN is never hidden
          best[k] = value[k];
          chosen[k] = position;
        }
      }
      first = false;
    });
    StoreFloats(y + i, best);
    StoreVector(positions + i, chosen);
  }
};

// N channels of an input a thread: the sum of dy of the windows that have chosen it, in their order. Positions are
// read by all inputs of their window, dy by the one that was chosen.
template <typename T, typename Position>
struct MaxPoolBackwardBody {
  Pooling p;
  const T* dy;
  const Position* positions;
  T* dx;
  template <int N>
  SYNCBN_DEVICE void At(int64_t i) const {
    const Place at(i, p.height, p.width, p.channels);
    Vector<float, N> sum{};
    WindowsOf(p, at).ForEach([&](int64_t row, int64_t column) {
      const int64_t from = OutputAt(p, at, row, column);
      const auto mine = static_cast<Position>(PlaceInWindow(p, row, column, at.row, at.column));
      const Vector<Position, N> chosen = LoadVector<N>(positions + from);
      SYNCBN_UNROLL
      for (int k = 0; k < N; ++k) {
        if (chosen[k] == mine) sum[k] += LoadFloat(dy + from + k);
      }
    });
    StoreFloats(dx + i, sum);
  }
};

// As MaxPoolBody.
template <typename T>
struct AveragePoolBody {
  Pooling p;
  const T* x;
  T* y;
  template <int N>
  SYNCBN_DEVICE void At(int64_t i) const {
    const Place at(i, p.out_height, p.out_width, p.channels);
    const Area pixels = PixelsOf(p, at.row, at.column);
    Vector<float, N> sum{};
    pixels.ForEach([&](int64_t row, int64_t column) {
      const Vector<float, N> value = LoadFloats<N>(x + InputAt(p, at, row, column));
      SYNCBN_UNROLL
      for (int k = 0; k < N; ++k) sum[k] += value[k];
    });
    const auto count = static_cast<float>(pixels.size());
    SYNCBN_UNROLL
    for (int k = 0; k < N; ++k) sum[k] /= count;
    StoreFloats(y + i, sum);
  }
};

// N channels of an input a thread: the sum of the shares that the windows which hold it give.
template <typename T>
struct AveragePoolBackwardBody {
  Pooling p;
  const T* dy;
  T* dx;
  template <int N>
  SYNCBN_DEVICE void At(int64_t i) const {
    const Place at(i, p.height, p.width, p.channels);
    Vector<float, N> sum{};
    WindowsOf(p, at).ForEach([&](int64_t row, int64_t column) {
      const auto count = static_cast<float>(PixelsOf(p, row, column).size());
      const Vector<float, N> gradient = LoadFloats<N>(dy + OutputAt(p, at, row, column));
      SYNCBN_UNROLL
      for (int k = 0; k < N; ++k) sum[k] += gradient[k] / count;
    });
    StoreFloats(dx + i, sum);
  }
};

// Pairs of a window and an element that it holds.
int64_t Taps(const Pooling& p) {
  int64_t rows = 0, columns = 0;
  for (int64_t oh = 0; oh < p.out_height; ++oh) rows += PixelRange(p, oh, p.height).size();
  for (int64_t ow = 0; ow < p.out_width; ++ow) columns += PixelRange(p, ow, p.width).size();
  return p.images * rows * columns * p.channels;
}
int64_t Inputs(const Pooling& p) { return p.images * p.height * p.width * p.channels; }
int64_t Outputs(const Pooling& p) { return p.images * p.out_height * p.out_width * p.channels; }

// The mean of x over the area, which is the rows of a segment. Area + 1 elements for each channel of an image, and what
// column_sums.h says.
template <typename T>
struct GlobalAverageBody {
  static constexpr int kSums = 1, kColumns = kInVector<T>;
  struct Channel {};
  struct Inputs {
    Columns<T> x;
  };
  const T* x;
  T* y;
  int64_t area, channels;

  SYNCBN_DEVICE Channel ChannelOf(int64_t, int64_t) const { return {}; }
  template <bool kVector>
  SYNCBN_DEVICE Inputs Fetch(int64_t i, int columns) const {
    return {LoadColumns<kVector>(x + i, columns)};
  }
  SYNCBN_DEVICE void Add(const Channel&, const Inputs& inputs, int k, double* sums) const {
    sums[0] += static_cast<double>(ToFloat(inputs.x[k]));
  }
  SYNCBN_DEVICE void Finish(int64_t image, int64_t channel, const double* sums) const {
    StoreFloat(y + image * channels + channel, static_cast<float>(sums[0] / static_cast<double>(area)));
  }
};

// dx = dy / area: written once; dy comes from a cache.
template <typename T>
struct GlobalAverageBackwardBody {
  const T* dy;
  T* dx;
  int64_t area, channels;
  template <int N>
  SYNCBN_DEVICE void At(int64_t i) const {
    const int64_t pixel = i / channels, from = pixel / area * channels + (i - pixel * channels);
    Vector<float, N> share;
    SYNCBN_UNROLL
    for (int k = 0; k < N; ++k) share[k] = LoadFloatCached(dy + from + k) / static_cast<float>(area);
    StoreFloats(dx + i, share);
  }
};

// Channels of which neither the elements nor the positions are more than 16 bytes.
template <typename T, typename Position>
inline constexpr int kMaxPoolWidth = std::min(kInVector<T>, kInVector<Position>);

}  // namespace

template <typename T, typename Position>
void MaxPool(cudaStream_t stream, const Pooling& p, const T* x, T* y, Position* positions) {
  constexpr int kWidth = kMaxPoolWidth<T, Position>;
  constexpr int64_t kElement = sizeof(T);
  const int64_t outputs = Outputs(p);
  LaunchEachMoving<kWidth>(stream, "max pooling", outputs,
                           kElement * Taps(p) + outputs * (kElement + int64_t{sizeof(Position)}),
                           p.channels % kWidth == 0 && Aligned16(x, y, positions),
                           MaxPoolBody<T, Position>{p, x, y, positions});
}
template <typename T, typename Position>
void MaxPoolBackward(cudaStream_t stream, const Pooling& p, const T* dy, const Position* positions, T* dx) {
  constexpr int kWidth = kMaxPoolWidth<T, Position>;
  LaunchEachMoving<kWidth>(stream, "gradient of a max pooling", Inputs(p),
                           Taps(p) * int64_t{sizeof(Position)} + (Outputs(p) + Inputs(p)) * int64_t{sizeof(T)},
                           p.channels % kWidth == 0 && Aligned16(positions, dx),
                           MaxPoolBackwardBody<T, Position>{p, dy, positions, dx});
}

template <typename T>
void AveragePool(cudaStream_t stream, const Pooling& p, const T* x, T* y) {
  LaunchEachMoving<kInVector<T>>(stream, "average pooling", Outputs(p), (Taps(p) + Outputs(p)) * int64_t{sizeof(T)},
                                 p.channels % kInVector<T> == 0 && Aligned16(x, y), AveragePoolBody<T>{p, x, y});
}
template <typename T>
void AveragePoolBackward(cudaStream_t stream, const Pooling& p, const T* dy, T* dx) {
  LaunchEachMoving<kInVector<T>>(stream, "gradient of an average pooling", Inputs(p),
                                 (Taps(p) + Inputs(p)) * int64_t{sizeof(T)},
                                 p.channels % kInVector<T> == 0 && Aligned16(dy, dx),
                                 AveragePoolBackwardBody<T>{p, dy, dx});
}

template <typename T>
int64_t GlobalAverageScratch(int64_t images, int64_t area, int64_t channels) {
  using Body = GlobalAverageBody<T>;
  return ColumnSumScratch(MakeSumGrid(Body::kColumns, images, area, channels), Body::kSums);
}
template <typename T>
void GlobalAverage(cudaStream_t stream, const T* x, T* y, int64_t images, int64_t area, int64_t channels,
                   double* scratch) {
  LaunchColumnSums<4>(stream, "global average pooling",
                      MakeSumGrid(GlobalAverageBody<T>::kColumns, images, area, channels), sizeof(T),
                      images * channels * int64_t{sizeof(T)}, Aligned16(x), scratch,
                      GlobalAverageBody<T>{x, y, area, channels});
}
template <typename T>
void GlobalAverageBackward(cudaStream_t stream, const T* dy, T* dx, int64_t images, int64_t area, int64_t channels) {
  LaunchEach<kInVector<T>>(stream, "gradient of a global average pooling", images * area * channels, sizeof(T),
                           channels % kInVector<T> == 0 && Aligned16(dx),
                           GlobalAverageBackwardBody<T>{dy, dx, area, channels});
}

template void MaxPool(cudaStream_t, const Pooling&, const float*, float*, uint8_t*);
template void MaxPool(cudaStream_t, const Pooling&, const float*, float*, int32_t*);
template void MaxPoolBackward(cudaStream_t, const Pooling&, const float*, const uint8_t*, float*);
template void MaxPoolBackward(cudaStream_t, const Pooling&, const float*, const int32_t*, float*);
template void AveragePool(cudaStream_t, const Pooling&, const float*, float*);
template void AveragePoolBackward(cudaStream_t, const Pooling&, const float*, float*);
template int64_t GlobalAverageScratch<float>(int64_t, int64_t, int64_t);
template void GlobalAverage(cudaStream_t, const float*, float*, int64_t, int64_t, int64_t, double*);
template void GlobalAverageBackward(cudaStream_t, const float*, float*, int64_t, int64_t, int64_t);

template void MaxPool(cudaStream_t, const Pooling&, const BFloat16*, BFloat16*, uint8_t*);
template void MaxPool(cudaStream_t, const Pooling&, const BFloat16*, BFloat16*, int32_t*);
template void MaxPoolBackward(cudaStream_t, const Pooling&, const BFloat16*, const uint8_t*, BFloat16*);
template void MaxPoolBackward(cudaStream_t, const Pooling&, const BFloat16*, const int32_t*, BFloat16*);
template void AveragePool(cudaStream_t, const Pooling&, const BFloat16*, BFloat16*);
template void AveragePoolBackward(cudaStream_t, const Pooling&, const BFloat16*, BFloat16*);
template int64_t GlobalAverageScratch<BFloat16>(int64_t, int64_t, int64_t);
template void GlobalAverage(cudaStream_t, const BFloat16*, BFloat16*, int64_t, int64_t, int64_t, double*);
template void GlobalAverageBackward(cudaStream_t, const BFloat16*, BFloat16*, int64_t, int64_t, int64_t);

}  // namespace syncbn::backend::cuda::kernels
