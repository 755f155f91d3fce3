#include "backend/cuda/kernels/pooling.h"

#include "backend/cuda/kernels/each.h"

namespace syncbn::backend::cuda::kernels {
namespace {

// Begin and end, along one axis.
struct Range {
  int64_t begin, end;
  SYNCBN_HOST_DEVICE int64_t size() const { return end - begin; }
};

// The part of window `place` that lies inside the image.
SYNCBN_HOST_DEVICE Range PixelsOf(const Pooling& p, int64_t place, int64_t extent) {
  const int64_t start = place * p.stride - p.pad, end = start + p.kernel;
  return {start < 0 ? 0 : start, end < extent ? end : extent};
}
// The windows that hold a pixel.
SYNCBN_HOST_DEVICE Range WindowsOf(const Pooling& p, int64_t pixel, int64_t places) {
  const int64_t from_pad = pixel + p.pad, last = from_pad / p.stride;
  return {from_pad < p.kernel ? 0 : (from_pad - p.kernel) / p.stride + 1, last + 1 < places ? last + 1 : places};
}

// Element i of N x rows x columns x channels.
struct Place {
  int64_t n, row, column, c;
};
SYNCBN_DEVICE Place PlaceOf(int64_t i, int64_t rows, int64_t columns, int64_t channels) {
  const int64_t pixel = i / channels, line = pixel / columns;
  return {line / rows, line % rows, pixel % columns, i % channels};
}
SYNCBN_DEVICE int64_t InputAt(const Pooling& p, int64_t n, int64_t h, int64_t w) {
  return ((n * p.height + h) * p.width + w) * p.channels;
}
SYNCBN_DEVICE int64_t OutputAt(const Pooling& p, int64_t n, int64_t oh, int64_t ow) {
  return ((n * p.out_height + oh) * p.out_width + ow) * p.channels;
}

// N channels of an output a thread. Each input is read by every window that holds it: from a cache, but once, as
// neighbours in the grid are neighbours in the image; those reads are counted here.
template <typename Position>
struct MaxPoolBody {
  Pooling p;
  const float* x;
  float* y;
  Position* positions;
  template <int N>
  SYNCBN_DEVICE void At(int64_t i) const {
    const Place at = PlaceOf(i, p.out_height, p.out_width, p.channels);
    const Range rows = PixelsOf(p, at.row, p.height), columns = PixelsOf(p, at.column, p.width);
    const int64_t top = at.row * p.stride - p.pad, left = at.column * p.stride - p.pad;
    Vector<float, N> best{};
    Vector<Position, N> chosen{};
    bool first = true;
    for (int64_t h = rows.begin; h < rows.end; ++h) {
      for (int64_t w = columns.begin; w < columns.end; ++w) {
        const Vector<float, N> value = LoadVector<N>(x + InputAt(p, at.n, h, w) + at.c);
        const auto position = static_cast<Position>((h - top) * p.kernel + (w - left));
        SYNCBN_UNROLL
        for (int k = 0; k < N; ++k) {
          if (first || value[k] > best[k] || value[k] != value[k]) {  // a NaN is never hidden
            best[k] = value[k];
            chosen[k] = position;
          }
        }
        first = false;
      }
    }
    StoreVector(y + i, best);
    StoreVector(positions + i, chosen);
  }
};

// N channels of an input a thread: the sum of dy of the windows that have chosen it, in their order. Positions are
// read by all inputs of their window, dy by the one that was chosen.
template <typename Position>
struct MaxPoolBackwardBody {
  Pooling p;
  const float* dy;
  const Position* positions;
  float* dx;
  template <int N>
  SYNCBN_DEVICE void At(int64_t i) const {
    const Place at = PlaceOf(i, p.height, p.width, p.channels);
    const Range rows = WindowsOf(p, at.row, p.out_height), columns = WindowsOf(p, at.column, p.out_width);
    Vector<float, N> sum{};
    for (int64_t oh = rows.begin; oh < rows.end; ++oh) {
      for (int64_t ow = columns.begin; ow < columns.end; ++ow) {
        const int64_t from = OutputAt(p, at.n, oh, ow) + at.c;
        const auto mine = static_cast<Position>((at.row - (oh * p.stride - p.pad)) * p.kernel +
                                                (at.column - (ow * p.stride - p.pad)));
        const Vector<Position, N> chosen = LoadVector<N>(positions + from);
        SYNCBN_UNROLL
        for (int k = 0; k < N; ++k) {
          if (chosen[k] == mine) sum[k] += Load(dy + from + k);
        }
      }
    }
    StoreVector(dx + i, sum);
  }
};

// As MaxPoolBody.
struct AveragePoolBody {
  Pooling p;
  const float* x;
  float* y;
  template <int N>
  SYNCBN_DEVICE void At(int64_t i) const {
    const Place at = PlaceOf(i, p.out_height, p.out_width, p.channels);
    const Range rows = PixelsOf(p, at.row, p.height), columns = PixelsOf(p, at.column, p.width);
    Vector<float, N> sum{};
    for (int64_t h = rows.begin; h < rows.end; ++h) {
      for (int64_t w = columns.begin; w < columns.end; ++w) {
        const Vector<float, N> value = LoadVector<N>(x + InputAt(p, at.n, h, w) + at.c);
        SYNCBN_UNROLL
        for (int k = 0; k < N; ++k) sum[k] += value[k];
      }
    }
    const auto count = static_cast<float>(rows.size() * columns.size());
    SYNCBN_UNROLL
    for (int k = 0; k < N; ++k) sum[k] /= count;
    StoreVector(y + i, sum);
  }
};

// N channels of an input a thread: the sum of the shares that the windows which hold it give.
struct AveragePoolBackwardBody {
  Pooling p;
  const float* dy;
  float* dx;
  template <int N>
  SYNCBN_DEVICE void At(int64_t i) const {
    const Place at = PlaceOf(i, p.height, p.width, p.channels);
    const Range rows = WindowsOf(p, at.row, p.out_height), columns = WindowsOf(p, at.column, p.out_width);
    Vector<float, N> sum{};
    for (int64_t oh = rows.begin; oh < rows.end; ++oh) {
      for (int64_t ow = columns.begin; ow < columns.end; ++ow) {
        const auto count =
            static_cast<float>(PixelsOf(p, oh, p.height).size() * PixelsOf(p, ow, p.width).size());
        const Vector<float, N> gradient = LoadVector<N>(dy + OutputAt(p, at.n, oh, ow) + at.c);
        SYNCBN_UNROLL
        for (int k = 0; k < N; ++k) sum[k] += gradient[k] / count;
      }
    }
    StoreVector(dx + i, sum);
  }
};

// Pairs of a window and an element that it holds.
int64_t Taps(const Pooling& p) {
  int64_t rows = 0, columns = 0;
  for (int64_t oh = 0; oh < p.out_height; ++oh) rows += PixelsOf(p, oh, p.height).size();
  for (int64_t ow = 0; ow < p.out_width; ++ow) columns += PixelsOf(p, ow, p.width).size();
  return p.images * rows * columns * p.channels;
}
int64_t Inputs(const Pooling& p) { return p.images * p.height * p.width * p.channels; }
int64_t Outputs(const Pooling& p) { return p.images * p.out_height * p.out_width * p.channels; }

constexpr int kThreads = 256;

// Vectors of channels that a block takes side by side: a power of two.
int TileOf(int64_t vectors) {
  int tile = 1;
  while (tile < kWarp && tile < vectors) tile *= 2;
  return tile;
}

// y = the mean of x over the area. A block has one image, `tile` vectors of N channels and kThreads / tile pixels side
// by side; each thread adds every (kThreads / tile)-th pixel in double, and a tree adds those, in a fixed order.
// (area + 1) * 4 bytes for each channel of an image.
template <int N>
struct GlobalAverageKernel {
  static constexpr bool kCooperative = true;
  const float* x;
  float* y;
  int64_t area, channels, tiles;
  int tile;

  SYNCBN_DEVICE void operator()() const {
    SYNCBN_SHARED(double, sums, kThreads * N);
    const int64_t image = Block() / tiles, c = (Block() % tiles * tile + Thread() % tile) * N;
    const int lanes = kThreads / tile, lane = Thread() / tile;
    double sum[N] = {};
    if (c < channels) {
      for (int64_t pixel = lane; pixel < area; pixel += lanes) {
        const Vector<float, N> value = LoadVector<N>(x + (image * area + pixel) * channels + c);
        SYNCBN_UNROLL
        for (int k = 0; k < N; ++k) sum[k] += static_cast<double>(value[k]);
      }
    }
    SYNCBN_UNROLL
    for (int k = 0; k < N; ++k) sums[k * kThreads + Thread()] = sum[k];
    for (int half = lanes / 2; half > 0; half /= 2) {
      Barrier();
      if (lane >= half) continue;
      SYNCBN_UNROLL
      for (int k = 0; k < N; ++k) {
        sums[k * kThreads + Thread()] += static_cast<double>(sums[k * kThreads + Thread() + half * tile]);
      }
    }
    if (lane > 0 || c >= channels) return;
    Vector<float, N> mean;
    SYNCBN_UNROLL
    for (int k = 0; k < N; ++k) {
      mean[k] = static_cast<float>(static_cast<double>(sums[k * kThreads + Thread()]) / static_cast<double>(area));
    }
    StoreVector(y + image * channels + c, mean);
  }
};

// dx = dy / area: 4 bytes an element; dy comes from a cache.
struct GlobalAverageBackwardBody {
  const float* dy;
  float* dx;
  int64_t area, channels;
  template <int N>
  SYNCBN_DEVICE void At(int64_t i) const {
    const int64_t from = i / channels / area * channels + i % channels;
    Vector<float, N> share;
    SYNCBN_UNROLL
    for (int k = 0; k < N; ++k) share[k] = LoadCached(dy + from + k) / static_cast<float>(area);
    StoreVector(dx + i, share);
  }
};

template <int N>
void LaunchGlobalAverage(cudaStream_t stream, const float* x, float* y, int64_t images, int64_t area,
                         int64_t channels) {
  const int tile = TileOf(channels / N);
  const int64_t tiles = CeilDiv(channels / N, tile);
  Launch(stream,
         {.name = "global average pooling",
          .blocks = images * tiles,
          .threads = kThreads,
          .bytes = images * (area + 1) * channels * int64_t{sizeof(float)}},
         GlobalAverageKernel<N>{x, y, area, channels, tiles, tile});
}

}  // namespace

template <typename Position>
void MaxPool(cudaStream_t stream, const Pooling& p, const float* x, float* y, Position* positions) {
  const int64_t outputs = Outputs(p);
  LaunchEachMoving<4>(stream, "max pooling", outputs, 4 * Taps(p) + outputs * int64_t{4 + sizeof(Position)},
                      p.channels % 4 == 0 && Aligned16(x, y, positions), MaxPoolBody<Position>{p, x, y, positions});
}
template <typename Position>
void MaxPoolBackward(cudaStream_t stream, const Pooling& p, const float* dy, const Position* positions, float* dx) {
  LaunchEachMoving<4>(stream, "gradient of a max pooling", Inputs(p),
                      Taps(p) * int64_t{sizeof(Position)} + 4 * (Outputs(p) + Inputs(p)),
                      p.channels % 4 == 0 && Aligned16(positions, dx),
                      MaxPoolBackwardBody<Position>{p, dy, positions, dx});
}
template void MaxPool(cudaStream_t, const Pooling&, const float*, float*, uint8_t*);
template void MaxPool(cudaStream_t, const Pooling&, const float*, float*, int32_t*);
template void MaxPoolBackward(cudaStream_t, const Pooling&, const float*, const uint8_t*, float*);
template void MaxPoolBackward(cudaStream_t, const Pooling&, const float*, const int32_t*, float*);

void AveragePool(cudaStream_t stream, const Pooling& p, const float* x, float* y) {
  LaunchEachMoving<4>(stream, "average pooling", Outputs(p), 4 * (Taps(p) + Outputs(p)),
                      p.channels % 4 == 0 && Aligned16(x, y), AveragePoolBody{p, x, y});
}
void AveragePoolBackward(cudaStream_t stream, const Pooling& p, const float* dy, float* dx) {
  LaunchEachMoving<4>(stream, "gradient of an average pooling", Inputs(p), 4 * (Taps(p) + Inputs(p)),
                      p.channels % 4 == 0 && Aligned16(dy, dx), AveragePoolBackwardBody{p, dy, dx});
}

void GlobalAverage(cudaStream_t stream, const float* x, float* y, int64_t images, int64_t area, int64_t channels) {
  if (channels % 4 == 0 && Aligned16(x, y)) {
    LaunchGlobalAverage<4>(stream, x, y, images, area, channels);
  } else {
    LaunchGlobalAverage<1>(stream, x, y, images, area, channels);
  }
}
void GlobalAverageBackward(cudaStream_t stream, const float* dy, float* dx, int64_t images, int64_t area,
                           int64_t channels) {
  LaunchEach<4>(stream, "gradient of a global average pooling", images * area * channels, sizeof(float),
                channels % 4 == 0 && Aligned16(dx), GlobalAverageBackwardBody{dy, dx, area, channels});
}

}  // namespace syncbn::backend::cuda::kernels
