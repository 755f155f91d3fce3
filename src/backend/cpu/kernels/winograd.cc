// The transforms of Winograd's convolutions, vectorized over channels.
//
// Of the points 0, +-5/8, +-3/2 and infinity (4 outputs; K. Vincent et al., "On Improving the
// Numerical Stability of Winograd Convolutions", ICLR 2017) or 0, +-1 and infinity (2 outputs). The
// constants of B' and of A' are exact in float32; opposite points share their even and odd parts.
#include "backend/cpu/kernels/winograd.h"
#include "backend/cpu/kernels/kernels.h"

namespace syncbn::backend::cpu::SYNCBN_ISA {
namespace {

constexpr float kA = 0.625f, kB = 1.5f;
constexpr float kA2 = kA * kA, kB2 = kB * kB, kA3 = kA2 * kA, kB3 = kB2 * kB;

// Of one direction, in which a tile has kTile outputs.
template <int kTile>
struct Filter;

template <>
struct Filter<4> {
  // B' d
  static inline void Input(const Vec d[6], Vec v[6]) {
    const Vec a = Broadcast(kA), b = Broadcast(kB), a2 = Broadcast(-kA2), b2 = Broadcast(-kB2);
    const Vec product = Broadcast(kA2 * kB2), sum = Broadcast(-(kA2 + kB2));
    v[0] = Fma(product, d[0], Fma(sum, d[2], d[4]));
    const Vec even_a = Fma(b2, d[2], d[4]), odd_a = Mul(a, Fma(b2, d[1], d[3]));
    v[1] = Add(even_a, odd_a);
    v[2] = Sub(even_a, odd_a);
    const Vec even_b = Fma(a2, d[2], d[4]), odd_b = Mul(b, Fma(a2, d[1], d[3]));
    v[3] = Add(even_b, odd_b);
    v[4] = Sub(even_b, odd_b);
    v[5] = Fma(product, d[1], Fma(sum, d[3], d[5]));
  }
  // A' m
  static inline void Output(const Vec m[6], Vec y[4]) {
    const Vec sum_a = Add(m[1], m[2]), difference_a = Sub(m[1], m[2]);
    const Vec sum_b = Add(m[3], m[4]), difference_b = Sub(m[3], m[4]);
    y[0] = Add(m[0], Add(sum_a, sum_b));
    y[1] = Fma(Broadcast(kA), difference_a, Mul(Broadcast(kB), difference_b));
    y[2] = Fma(Broadcast(kA2), sum_a, Mul(Broadcast(kB2), sum_b));
    y[3] = Fma(Broadcast(kA3), difference_a, Fma(Broadcast(kB3), difference_b, m[5]));
  }
  // A y
  static inline void Gradient(const Vec y[4], Vec d[6]) {
    d[0] = y[0];
    const Vec even_a = Fma(Broadcast(kA2), y[2], y[0]);
    const Vec odd_a = Mul(Broadcast(kA), Fma(Broadcast(kA2), y[3], y[1]));
    d[1] = Add(even_a, odd_a);
    d[2] = Sub(even_a, odd_a);
    const Vec even_b = Fma(Broadcast(kB2), y[2], y[0]);
    const Vec odd_b = Mul(Broadcast(kB), Fma(Broadcast(kB2), y[3], y[1]));
    d[3] = Add(even_b, odd_b);
    d[4] = Sub(even_b, odd_b);
    d[5] = y[3];
  }
  // Of G, without the scales of its rows: those of +-a are (1, +-a, a^2) / (2 a^2 (a^2 - b^2)).
  static constexpr double kScale0 = 1 / (double{kA2} * kB2);
  static constexpr double kScaleA = 1 / (2 * double{kA2} * (double{kA2} - kB2));
  static constexpr double kScaleB = 1 / (2 * double{kB2} * (double{kB2} - kA2));
  // G g
  static inline void Weights(const VecD g[3], VecD u[6]) {
    u[0] = MulD(BroadcastD(kScale0), g[0]);
    const VecD even_a = MulD(BroadcastD(kScaleA), FmaD(BroadcastD(kA2), g[2], g[0]));
    const VecD odd_a = MulD(BroadcastD(kScaleA * kA), g[1]);
    u[1] = AddD(even_a, odd_a);
    u[2] = SubD(even_a, odd_a);
    const VecD even_b = MulD(BroadcastD(kScaleB), FmaD(BroadcastD(kB2), g[2], g[0]));
    const VecD odd_b = MulD(BroadcastD(kScaleB * kB), g[1]);
    u[3] = AddD(even_b, odd_b);
    u[4] = SubD(even_b, odd_b);
    u[5] = g[2];
  }
  // G' s
  static inline void WeightsGradient(const VecD s[6], VecD g[3]) {
    const VecD sum_a = MulD(BroadcastD(kScaleA), AddD(s[1], s[2]));
    const VecD difference_a = MulD(BroadcastD(kScaleA * kA), SubD(s[1], s[2]));
    const VecD sum_b = MulD(BroadcastD(kScaleB), AddD(s[3], s[4]));
    const VecD difference_b = MulD(BroadcastD(kScaleB * kB), SubD(s[3], s[4]));
    g[0] = FmaD(BroadcastD(kScale0), s[0], AddD(sum_a, sum_b));
    g[1] = AddD(difference_a, difference_b);
    g[2] = FmaD(BroadcastD(kA2), sum_a, FmaD(BroadcastD(kB2), sum_b, s[5]));
  }
};

template <>
struct Filter<2> {
  static inline void Input(const Vec d[4], Vec v[4]) {
    v[0] = Sub(d[0], d[2]);
    v[1] = Add(d[1], d[2]);
    v[2] = Sub(d[2], d[1]);
    v[3] = Sub(d[3], d[1]);
  }
  static inline void Output(const Vec m[4], Vec y[2]) {
    y[0] = Add(m[0], Add(m[1], m[2]));
    y[1] = Add(Sub(m[1], m[2]), m[3]);
  }
  static inline void Gradient(const Vec y[2], Vec d[4]) {
    d[0] = y[0];
    d[1] = Add(y[0], y[1]);
    d[2] = Sub(y[0], y[1]);
    d[3] = y[1];
  }
  static inline void Weights(const VecD g[3], VecD u[4]) {
    const VecD half = BroadcastD(0.5);
    const VecD even = MulD(half, AddD(g[0], g[2])), odd = MulD(half, g[1]);
    u[0] = g[0];
    u[1] = AddD(even, odd);
    u[2] = SubD(even, odd);
    u[3] = g[2];
  }
  static inline void WeightsGradient(const VecD s[4], VecD g[3]) {
    const VecD half = BroadcastD(0.5);
    const VecD sum = MulD(half, AddD(s[1], s[2]));
    g[0] = AddD(s[0], sum);
    g[1] = MulD(half, SubD(s[1], s[2]));
    g[2] = AddD(sum, s[3]);
  }
};

// Where tile number `index` lies.
struct Place {
  int64_t image, row, column;  // row and column of the first output
};

inline Place PlaceOf(const WinogradTiles& tiles, int64_t index) {
  const int64_t across = tiles.Across(), each = tiles.Down() * across;
  const int64_t within = index % each;
  return {index / each, within / across * tiles.tile.down, within % across * tiles.tile.across};
}

// kDown x kAcross pixels of an image, any of which may lie outside of it and is then taken from
// `zeros`.
template <int kDown, int kAcross>
class Window {
 public:
  Window(const float* image, int64_t row, int64_t column, int64_t height, int64_t width,
         int64_t channels, const float* zeros)
      : at_(image + (row * width + column) * channels),
        down_(width * channels),
        across_(channels),
        whole_(row >= 0 && column >= 0 && row + kDown <= height && column + kAcross <= width) {
    if (whole_) return;
    for (int i = 0; i < kDown; ++i) {
      const bool inside = row + i >= 0 && row + i < height;
      for (int j = 0; j < kAcross; ++j) {
        const bool here = inside && column + j >= 0 && column + j < width;
        pixels_[j][i] = here ? at_ + i * down_ + j * across_ : zeros;
      }
    }
  }

  bool Whole() const { return whole_; }

  // The pixels of a column, of the channels from `channel` on.
  template <bool kWhole, typename Lanes>
  inline void Column(int j, int64_t channel, Lanes lanes, Vec d[kDown]) const {
    for (int i = 0; i < kDown; ++i) {
      d[i] = Load((kWhole ? at_ + i * down_ + j * across_ : pixels_[j][i]) + channel, lanes);
    }
  }

 private:
  const float* at_;
  int64_t down_, across_;
  bool whole_;
  const float* pixels_[kAcross][kDown];
};

// All channels of a window to the domain, by a transform for the columns and one for the rows.
template <bool kWhole, typename Down, typename Across>
inline void TransformWindow(const Window<Down::kFrom, Across::kFrom>& window, int64_t channels,
                            float* out, int64_t position) {
  ForVectors(channels, [&](int64_t channel, auto lanes) {
    Vec half[Down::kTo][Across::kFrom];
    for (int j = 0; j < Across::kFrom; ++j) {
      Vec d[Down::kFrom], v[Down::kTo];
      window.template Column<kWhole>(j, channel, lanes, d);
      Down::Apply(d, v);
      for (int i = 0; i < Down::kTo; ++i) half[i][j] = v[i];
    }
    float* p = out + channel;
    for (int i = 0; i < Down::kTo; ++i) {
      Vec v[Across::kTo];
      Across::Apply(half[i], v);
      for (int j = 0; j < Across::kTo; ++j, p += position) Store(p, v[j], Full{});
    }
  });
  // The products take whole panels.
  for (int64_t channel = (channels + kLanes - 1) / kLanes * kLanes; channel % kWinogradPanel != 0;
       channel += kLanes) {
    for (int i = 0; i < Down::kTo * Across::kTo; ++i) {
      Store(out + i * position + channel, Broadcast(0), Full{});
    }
  }
}

template <int kTile>
struct OfInput {
  static constexpr int kFrom = kTile + 2, kTo = kTile + 2;
  static inline void Apply(const Vec* d, Vec* v) { Filter<kTile>::Input(d, v); }
};

template <int kTile>
struct OfGradient {
  static constexpr int kFrom = kTile, kTo = kTile + 2;
  static inline void Apply(const Vec* y, Vec* d) { Filter<kTile>::Gradient(y, d); }
};

// Of images of height x width, whose windows begin `pad` before the outputs of their tile.
template <typename Down, typename Across>
void Tiles(const WinogradTiles& tiles, int64_t begin, int64_t count, int64_t channels,
           int64_t height, int64_t width, int64_t pad_h, int64_t pad_w, const float* images,
           const WinogradMatrices& matrices) {
  for (int64_t t = 0; t < count; ++t) {
    const Place place = PlaceOf(tiles, begin + t);
    const Window<Down::kFrom, Across::kFrom> window(
        images + place.image * height * width * channels, place.row - pad_h, place.column - pad_w,
        height, width, channels, tiles.zeros);
    float* const out = matrices.at + t * matrices.row;
    if (window.Whole()) {
      TransformWindow<true, Down, Across>(window, channels, out, matrices.position);
    } else {
      TransformWindow<false, Down, Across>(window, channels, out, matrices.position);
    }
  }
}

template <int kDown, int kAcross>
void InputTiles(const WinogradTiles& tiles, int64_t begin, int64_t count, int64_t channels,
                const float* x, const WinogradMatrices& v) {
  Tiles<OfInput<kDown>, OfInput<kAcross>>(tiles, begin, count, channels, tiles.height, tiles.width,
                                          tiles.pad_h, tiles.pad_w, x, v);
}

template <int kDown, int kAcross>
void GradientTiles(const WinogradTiles& tiles, int64_t begin, int64_t count, int64_t channels,
                   const float* dy, const WinogradMatrices& d) {
  Tiles<OfGradient<kDown>, OfGradient<kAcross>>(tiles, begin, count, channels, tiles.out_height,
                                                tiles.out_width, 0, 0, dy, d);
}

// A tile of the outputs, of which the image may end before.
template <int kDown, int kAcross, bool kWhole, typename Lanes>
inline void OutputTile(const float* m, int64_t position, Vec shift, float* y, int64_t down,
                       int64_t across, int64_t rows, int64_t columns, Lanes lanes) {
  Vec half[kDown][kAcross + 2];
  for (int j = 0; j < kAcross + 2; ++j) {
    Vec column[kDown + 2], sums[kDown];
    for (int i = 0; i < kDown + 2; ++i) {
      column[i] = Load(m + (i * (kAcross + 2) + j) * position, Full{});
    }
    Filter<kDown>::Output(column, sums);
    for (int i = 0; i < kDown; ++i) half[i][j] = sums[i];
  }
  for (int i = 0; i < kDown; ++i) {
    if (!kWhole && i >= rows) break;
    Vec sums[kAcross];
    Filter<kAcross>::Output(half[i], sums);
    for (int j = 0; j < kAcross; ++j) {
      if (kWhole || j < columns) Store(y + i * down + j * across, Add(sums[j], shift), lanes);
    }
  }
}

template <int kDown, int kAcross>
void OutputTiles(const WinogradTiles& tiles, int64_t begin, int64_t count, int64_t channels,
                 const WinogradMatrices& m, const float* bias, float* y) {
  const int64_t down = tiles.out_width * channels;
  for (int64_t t = 0; t < count; ++t) {
    const Place place = PlaceOf(tiles, begin + t);
    float* const out =
        y + (place.image * tiles.out_height + place.row) * down + place.column * channels;
    const int64_t rows = tiles.out_height - place.row, columns = tiles.out_width - place.column;
    const float* const in = m.at + t * m.row;
    ForVectors(channels, [&](int64_t channel, auto lanes) {
      const Vec shift = bias != nullptr ? Load(bias + channel, lanes) : Broadcast(0);
      if (rows >= kDown && columns >= kAcross) {
        OutputTile<kDown, kAcross, true>(in + channel, m.position, shift, out + channel, down,
                                         channels, rows, columns, lanes);
      } else {
        OutputTile<kDown, kAcross, false>(in + channel, m.position, shift, out + channel, down,
                                          channels, rows, columns, lanes);
      }
    });
  }
}

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

// Calls NAME<down, across>(...) for the tile.
#define SYNCBN_OF_TILE(tile, NAME, ...) \
  do {                                  \
    if ((tile).across == 4) {           \
      NAME<4, 4>(__VA_ARGS__);          \
    } else if ((tile).down == 4) {      \
      NAME<4, 2>(__VA_ARGS__);          \
    } else {                            \
      NAME<2, 2>(__VA_ARGS__);          \
    }                                   \
  } while (false)

void WinogradInput(const WinogradTiles& tiles, int64_t begin, int64_t count, int64_t channels,
                   const float* x, const WinogradMatrices& v) {
  SYNCBN_OF_TILE(tiles.tile, InputTiles, tiles, begin, count, channels, x, v);
}

void WinogradGradient(const WinogradTiles& tiles, int64_t begin, int64_t count, int64_t channels,
                      const float* dy, const WinogradMatrices& d) {
  SYNCBN_OF_TILE(tiles.tile, GradientTiles, tiles, begin, count, channels, dy, d);
}

void WinogradOutput(const WinogradTiles& tiles, int64_t begin, int64_t count, int64_t channels,
                    const WinogradMatrices& m, const float* bias, float* y) {
  SYNCBN_OF_TILE(tiles.tile, OutputTiles, tiles, begin, count, channels, m, bias, y);
}

void WinogradWeights(const WinogradTile& tile, int64_t out_channels, int64_t in_channels,
                     bool backward, const float* weight, float* packed) {
  SYNCBN_OF_TILE(tile, PackWeights, out_channels, in_channels, backward, weight, packed);
}

void WinogradWeightsGradient(const WinogradTile& tile, int64_t out_channels, int64_t in_channels,
                             const WinogradMatrices& sums, float* dweight, bool accumulate) {
  SYNCBN_OF_TILE(tile, UnpackGradient, out_channels, in_channels, sums, dweight, accumulate);
}

}  // namespace syncbn::backend::cpu::SYNCBN_ISA
