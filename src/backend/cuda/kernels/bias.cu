#include "backend/cuda/kernels/bias.h"

#include <algorithm>

#include "backend/cuda/kernels/each.h"

namespace syncbn::backend::cuda::kernels {
namespace {

// Moves 8 bytes an element: read and written once; the bias comes from a cache.
struct AddBiasBody {
  float* y;
  const float* bias;
  int64_t channels;
  template <int N>
  SYNCBN_DEVICE void At(int64_t i) const {
    Vector<float, N> value = LoadVector<N>(y + i);
    SYNCBN_UNROLL
    for (int k = 0; k < N; ++k) value[k] += LoadCached(bias + (i + k) % channels);
    StoreVector(y + i, value);
  }
};

constexpr int kThreads = 256;
constexpr int64_t kMostParts = 256, kRowsPerThread = 16;

// Channels that a block takes side by side: a power of two up to a warp's width, so that narrow matrices keep all of
// its threads busy.
int TileOf(int64_t channels) {
  int tile = 1;
  while (tile < kWarp && tile < channels) tile *= 2;
  return tile;
}

// partial[part, c] = sum of x[r, c] over the rows r of the part. A block has `tile` channels and kThreads / tile rows
// side by side; each thread adds every (kThreads / tile)-th row of its channel, and a tree over the block's rows adds
// those, always in the same order. Moves rows * channels * 4 bytes in, parts * channels * 8 out.
struct PartialSumsKernel {
  static constexpr bool kCooperative = true;
  const float* x;
  double* partial;
  int64_t rows, channels, rows_per_part, tiles;
  int tile;

  SYNCBN_DEVICE void operator()() const {
    SYNCBN_SHARED(double, sums, kThreads);
    const int64_t part = Block() / tiles;
    const int64_t channel = Block() % tiles * tile + Thread() % tile;
    const int lanes = kThreads / tile, lane = Thread() / tile;
    const int64_t begin = part * rows_per_part;
    const int64_t end = begin + rows_per_part < rows ? begin + rows_per_part : rows;
    double sum = 0;
    if (channel < channels) {
      for (int64_t r = begin + lane; r < end; r += lanes) sum += Load(x + r * channels + channel);
    }
    sums[Thread()] = sum;
    for (int half = lanes / 2; half > 0; half /= 2) {
      Barrier();
      if (lane < half) sums[Thread()] += static_cast<double>(sums[Thread() + half * tile]);
    }
    if (lane == 0 && channel < channels) {
      Store(partial + part * channels + channel, static_cast<double>(sums[Thread()]));
    }
  }
};

// sums[c] (+)= partial[0, c] + partial[1, c] + ..., one channel a thread.
struct AddPartsBody {
  const double* partial;
  float* sums;
  int64_t parts, channels;
  bool accumulate;
  template <int N>
  SYNCBN_DEVICE void At(int64_t c) const {
    double sum = accumulate ? static_cast<double>(Load(sums + c)) : 0;
    for (int64_t part = 0; part < parts; ++part) sum += Load(partial + part * channels + c);
    Store(sums + c, static_cast<float>(sum));
  }
};

}  // namespace

void AddBias(cudaStream_t stream, float* y, const float* bias, int64_t rows, int64_t channels) {
  LaunchEach<4>(stream, "add bias", rows * channels, 2 * sizeof(float), Aligned16(y), AddBiasBody{y, bias, channels});
}

int64_t RowSumParts(int64_t rows, int64_t channels) {
  const int64_t rows_per_block = kThreads / TileOf(channels) * kRowsPerThread;
  return std::clamp<int64_t>(CeilDiv(rows, rows_per_block), 1, kMostParts);
}

void RowSums(cudaStream_t stream, const float* x, double* partial, float* sums, int64_t rows, int64_t channels,
             bool accumulate) {
  const int64_t parts = RowSumParts(rows, channels);
  const int tile = TileOf(channels);
  const int64_t tiles = CeilDiv(channels, tile);
  Launch(stream,
         {.name = "sums of parts of the rows",
          .blocks = parts * tiles,
          .threads = kThreads,
          .bytes = rows * channels * 4 + parts * channels * 8},
         PartialSumsKernel{.x = x,
                           .partial = partial,
                           .rows = rows,
                           .channels = channels,
                           .rows_per_part = CeilDiv(rows, parts),
                           .tiles = tiles,
                           .tile = tile});
  LaunchEach<1>(stream, "sum of the parts", channels, parts * 8 + (accumulate ? 8 : 4), true,
                AddPartsBody{partial, sums, parts, channels, accumulate});
}

}  // namespace syncbn::backend::cuda::kernels
