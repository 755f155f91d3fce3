// Weights to Winograd's domain, and sums of their gradient from it, in double.
#include "backend/cpu/kernels/kernels.h"
#include "backend/cpu/kernels/winograd.h"
#include "backend/cpu/kernels/winograd_filter.h"

namespace syncbn::backend::cpu::SYNCBN_ISA {
namespace {

// A column of numbers in double, one for each lane of a vector.
struct Wide {
  VecD low, high;
};

template <typename Transform>
inline void TransformWide(const Wide* from, int stride_from, Wide* to, int stride_to) {
  VecD in[Transform::kFrom], out[Transform::kTo];
  for (int i = 0; i < Transform::kFrom; ++i) in[i] = from[i * stride_from].low;
  Transform::Apply(in, out);
  for (int i = 0; i < Transform::kTo; ++i) to[i * stride_to].low = out[i];
  for (int i = 0; i < Transform::kFrom; ++i) in[i] = from[i * stride_from].high;
  Transform::Apply(in, out);
  for (int i = 0; i < Transform::kTo; ++i) to[i * stride_to].high = out[i];
}

template <typename Down, typename Across>
inline void TransformWideWindow(const Wide* from, Wide* to) {
  Wide half[Down::kTo * Across::kFrom];
  for (int j = 0; j < Across::kFrom; ++j) {
    TransformWide<Down>(from + j, Across::kFrom, half + j, Across::kFrom);
  }
  for (int i = 0; i < Down::kTo; ++i) {
    TransformWide<Across>(half + i * Across::kFrom, 1, to + i * Across::kTo, 1);
  }
}

template <int kTile>
struct OfWeights {
  static constexpr int kFrom = 3, kTo = kTile + 2;
  static inline void Apply(const VecD* g, VecD* u) { Filter<kTile>::Weights(g, u); }
};

template <int kTile>
struct OfWeightsGradient {
  static constexpr int kFrom = kTile + 2, kTo = 3;
  static inline void Apply(const VecD* s, VecD* g) { Filter<kTile>::WeightsGradient(s, g); }
};

constexpr int kTaps = 9;

template <int kDown, int kAcross>
void PackWeights(int64_t out_channels, int64_t in_channels, bool backward, const float* weight,
                 float* packed) {
  constexpr int kPositions = (kDown + 2) * (kAcross + 2);
  const int64_t depth = backward ? out_channels : in_channels;
  const int64_t columns = backward ? in_channels : out_channels;
  // From one number of the depth to the next, and from one column to the next.
  const int64_t down = backward ? in_channels * kTaps : kTaps;
  const int64_t across = backward ? kTaps : in_channels * kTaps;
  const int64_t panels = (columns + kWinogradPanel - 1) / kWinogradPanel;
  const int64_t position = WinogradPosition(kWinogradPanel, depth, columns);
  alignas(64) float taps[kTaps][kWinogradPanel] = {};
  for (int64_t panel = 0; panel < panels; ++panel, packed += depth * kWinogradPanel) {
    const int64_t first = panel * kWinogradPanel, rest = columns - first;
    const int count = rest < kWinogradPanel ? static_cast<int>(rest) : kWinogradPanel;
    for (int tap = 0; tap < kTaps; ++tap) {
      for (int i = count; i < kWinogradPanel; ++i) taps[tap][i] = 0;
    }
    for (int64_t k = 0; k < depth; ++k) {
      for (int i = 0; i < count; ++i) {
        const float* w = weight + k * down + (first + i) * across;
        // The gradient of the input is a convolution with the taps turned round.
        for (int tap = 0; tap < kTaps; ++tap) taps[backward ? kTaps - 1 - tap : tap][i] = w[tap];
      }
      // Whole lines at a time: before the next vector came they would have left the cache.
      for (int half = 0; half < kWinogradPanel; half += kLanes) {
        Wide g[kTaps], u[kPositions];
        for (int tap = 0; tap < kTaps; ++tap) {
          const Vec value = Load(taps[tap] + half, Full{});
          g[tap] = {LowD(value), HighD(value)};
        }
        TransformWideWindow<OfWeights<kDown>, OfWeights<kAcross>>(g, u);
        float* p = packed + k * kWinogradPanel + half;
        for (int i = 0; i < kPositions; ++i, p += position) {
          Store(p, Narrow(u[i].low, u[i].high), Full{});
        }
      }
    }
  }
}

template <int kDown, int kAcross>
void UnpackGradient(int64_t out_channels, int64_t in_channels, const WinogradMatrices& sums,
                    float* dweight, bool accumulate) {
  constexpr int kPositions = (kDown + 2) * (kAcross + 2);
  alignas(64) float taps[kTaps][kLanes];
  for (int64_t first = 0; first < out_channels; first += kLanes) {
    const int64_t rest = out_channels - first;
    const int lanes = rest >= kLanes ? kLanes : static_cast<int>(rest);
    for (int64_t k = 0; k < in_channels; ++k) {
      Wide s[kPositions], g[kTaps];
      const float* p = sums.at + k * sums.row + first;
      for (int i = 0; i < kPositions; ++i, p += sums.position) {
        const Vec value = Load(p, Full{});
        s[i] = {LowD(value), HighD(value)};
      }
      TransformWideWindow<OfWeightsGradient<kDown>, OfWeightsGradient<kAcross>>(s, g);
      for (int tap = 0; tap < kTaps; ++tap)
        Store(taps[tap], Narrow(g[tap].low, g[tap].high), Full{});
      for (int lane = 0; lane < lanes; ++lane) {
        float* const w = dweight + ((first + lane) * in_channels + k) * kTaps;
        for (int tap = 0; tap < kTaps; ++tap) {
          w[tap] = accumulate ? w[tap] + taps[tap][lane] : taps[tap][lane];
        }
      }
    }
  }
}

}  // namespace

void WinogradWeights(const WinogradTile& tile, int64_t out_channels, int64_t in_channels,
                     bool backward, const float* weight, float* packed) {
  SYNCBN_OF_TILE(tile, PackWeights, out_channels, in_channels, backward, weight, packed);
}

void WinogradWeightsGradient(const WinogradTile& tile, int64_t out_channels, int64_t in_channels,
                             const WinogradMatrices& sums, float* dweight, bool accumulate) {
  SYNCBN_OF_TILE(tile, UnpackGradient, out_channels, in_channels, sums, dweight, accumulate);
}

}  // namespace syncbn::backend::cpu::SYNCBN_ISA
