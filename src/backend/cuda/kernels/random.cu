#include "backend/cuda/kernels/random.h"

#include <algorithm>
#include <cmath>

#include "backend/cuda/kernels/each.h"
#include "backend/cuda/kernels/elements.h"
#include "base/philox.h"

namespace syncbn::backend::cuda::kernels {
namespace {

// Keys that one launch takes as an argument.
template <int kCount>
struct Keys {
  uint64_t value[kCount];
};
constexpr int kDropoutSamples = 256, kNoiseSamples = 128;

SYNCBN_DEVICE PhiloxBlock Draw(uint64_t key, int64_t block) {
  return Philox(static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32),
                {{static_cast<uint32_t>(block), 0, 0, 0}});
}

// A block of Philox, which is 4 elements of a sample, a thread. kVector: in one access; else element by
// element, the last block of a sample having what is left. `body`'s Value(x, drawn, k): of the k-th element of the block
// that `drawn` was made for. Each element is read and
// written once.
template <typename T, typename Body, bool kVector>
struct DrawnKernel {
  static constexpr bool kCooperative = false;
  Body body;
  const T* x;
  T* y;
  int64_t samples, size, blocks;  // blocks of 4 elements of a sample

  SYNCBN_DEVICE void operator()() const {
    const int64_t i = GlobalThread();
    if (i >= samples * blocks) return;
    const int64_t n = i / blocks, block = i - n * blocks, j = 4 * block, place = n * size + j;
    const typename Body::Drawn drawn = body.DrawBlock(n, block);
    if (kVector) {
      Vector<float, 4> value = LoadFloats<4>(x + place);
      SYNCBN_UNROLL
      for (int k = 0; k < 4; ++k) value[k] = body.Value(value[k], drawn, k);
      StoreFloats(y + place, value);
    } else {
      SYNCBN_UNROLL
      for (int k = 0; k < 4; ++k) {
        if (j + k < size) StoreFloat(y + place + k, body.Value(LoadFloat(x + place + k), drawn, k));
      }
    }
  }
};

// y = x scale where the word is at least threshold, else 0.
struct DropoutBody {
  using Drawn = PhiloxBlock;
  Keys<kDropoutSamples> keys;
  uint64_t threshold;
  float scale;

  SYNCBN_DEVICE Drawn DrawBlock(int64_t n, int64_t block) const { return Draw(keys.value[n], block); }
  SYNCBN_DEVICE float Value(float x, const Drawn& drawn, int k) const {
    return drawn.words[k] >= threshold ? x * scale : 0.0f;
  }
};

// cos(2 pi t) for t in [0, 1): within an eighth of a turn of the next quarter, which is exact, Cephes' sinf and cosf.
// (The library's take any number, and memory for it.)
SYNCBN_DEVICE float CosOfTurns(float t) {
  const float quarter = std::floor(4.0f * t + 0.5f);
  const float a = (t - 0.25f * quarter) * 6.28318530717958648f;
  const float z = a * a;
  float s = -1.9515295891e-4f;
  s = s * z + 8.3321608736e-3f;
  s = s * z - 1.6666654611e-1f;
  s = s * z * a + a;
  float c = 2.443315711809948e-5f;
  c = c * z - 1.388731625493765e-3f;
  c = c * z + 4.166664568298827e-2f;
  c = c * z * z + (1.0f - 0.5f * z);
  const int of = static_cast<int>(quarter) & 3;
  const float magnitude = of == 1 || of == 3 ? s : c;
  return of == 1 || of == 2 ? -magnitude : magnitude;
}

// s x + m, with m = mu + spread v for a uniform v in [-1, 1) and s = sigma + spread r for a normal r (Box and Muller);
// see NoiseSpec. Mu and sigma of the channel come from a cache.
struct NoiseBody {
  struct Drawn {
    PhiloxBlock a = {}, b = {}, c = {};
    int64_t channel;  // of the block's first element
  };
  Keys<3 * kNoiseSamples> keys;
  NoiseOf noise;

  SYNCBN_DEVICE Drawn DrawBlock(int64_t n, int64_t block) const {
    Drawn drawn;
    if (noise.shifted) drawn.a = Draw(keys.value[3 * n], block);
    drawn.b = Draw(keys.value[3 * n + 1], block);
    drawn.c = Draw(keys.value[3 * n + 2], block);
    drawn.channel = 4 * block % noise.channels;
    return drawn;
  }
  SYNCBN_DEVICE float Value(float x, const Drawn& drawn, int k) const {
    int64_t channel = drawn.channel + k;
    while (channel >= noise.channels) channel -= noise.channels;
    const float u = (static_cast<float>(drawn.b.words[k] >> 9) + 0.5f) * 0x1p-23f;
    const float t = static_cast<float>(drawn.c.words[k] >> 8) * 0x1p-24f;
    const float normal = std::sqrt(-2.0f * std::log(u)) * CosOfTurns(t);
    const float scaled = (LoadCached(noise.sigma + channel) + noise.spread * normal) * x;
    if (!noise.shifted) return scaled;
    const float v = static_cast<float>(drawn.a.words[k] >> 8) * 0x1p-23f - 1.0f;
    return scaled + (LoadCached(noise.mu + channel) + noise.spread * v);
  }
};

template <typename T, typename Body>
void LaunchDrawn(cudaStream_t stream, const char* name, const Body& body, const T* x, T* y, int64_t samples,
                 int64_t size) {
  const int64_t blocks = CeilDiv(size, 4);
  const LaunchShape shape{.name = name,
                          .blocks = CeilDiv(samples * blocks, kEachThreads),
                          .threads = kEachThreads,
                          .bytes = samples * size * int64_t{2 * sizeof(T)}};
  if (size % 4 == 0 && Aligned16(x, y)) {
    Launch(stream, shape, DrawnKernel<T, Body, true>{body, x, y, samples, size, blocks});
  } else {
    Launch(stream, shape, DrawnKernel<T, Body, false>{body, x, y, samples, size, blocks});
  }
}

// Calls launch(first sample, samples) for as many at a time as a launch has keys for; sets body.keys.
template <int kPerSample, int kSamples, typename Body, typename Launch>
void ForSamples(std::span<const uint64_t> keys, Body& body, const Launch& launch) {
  const auto samples = static_cast<int64_t>(keys.size()) / kPerSample;
  for (int64_t first = 0; first < samples; first += kSamples) {
    const int64_t count = std::min<int64_t>(samples - first, kSamples);
    std::copy_n(keys.data() + first * kPerSample, count * kPerSample, body.keys.value);
    launch(first, count);
  }
}

}  // namespace

template <typename T>
void Dropout(cudaStream_t stream, const T* x, T* y, int64_t size, std::span<const uint64_t> keys,
             uint64_t threshold, float scale) {
  DropoutBody body{.keys = {}, .threshold = threshold, .scale = scale};
  ForSamples<1, kDropoutSamples>(keys, body, [&](int64_t first, int64_t count) {
    LaunchDrawn(stream, "dropout", body, x + first * size, y + first * size, count, size);
  });
}

template <typename T>
void Noise(cudaStream_t stream, const NoiseOf& noise, const T* x, T* y, int64_t size,
           std::span<const uint64_t> keys) {
  NoiseBody body{.keys = {}, .noise = noise};
  ForSamples<3, kNoiseSamples>(keys, body, [&](int64_t first, int64_t count) {
    LaunchDrawn(stream, "noise", body, x + first * size, y + first * size, count, size);
  });
}

template void Dropout(cudaStream_t, const float*, float*, int64_t, std::span<const uint64_t>, uint64_t, float);
template void Dropout(cudaStream_t, const BFloat16*, BFloat16*, int64_t, std::span<const uint64_t>, uint64_t, float);
template void Noise(cudaStream_t, const NoiseOf&, const float*, float*, int64_t, std::span<const uint64_t>);
template void Noise(cudaStream_t, const NoiseOf&, const BFloat16*, BFloat16*, int64_t, std::span<const uint64_t>);

}  // namespace syncbn::backend::cuda::kernels
