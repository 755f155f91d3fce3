// Pixels to Winograd's domain and from it, vectorized over channels.
//
// The places of few channels are known to the compiler: a tile of two vectors a pixel would wait
// longer for its addresses than for its numbers.
#include "backend/cpu/kernels/kernels.h"
#include "backend/cpu/kernels/winograd.h"
#include "backend/cpu/kernels/winograd_filter.h"

namespace syncbn::backend::cpu::SYNCBN_ISA {
namespace {

constexpr int kFewChannels = 16;

// body(channel, lanes) for the vectors of `channels`, which are kChannels where that is not 0.
template <int kChannels, typename Body>
inline void ForChannels(int64_t channels, Body body) {
  if constexpr (kChannels > 0) {
    for (int64_t channel = 0; channel < kChannels; channel += kLanes) body(channel, Full{});
  } else {
    ForVectors(channels, body);
  }
}

// The first output of a tile, for tiles one after the other.
class Place {
 public:
  Place(const WinogradTiles& tiles, int64_t index) : tiles_(tiles) {
    const int64_t across = tiles.Across(), each = tiles.Down() * across;
    const int64_t within = index % each;
    image_ = index / each;
    row_ = within / across * tiles.tile.down;
    column_ = within % across * tiles.tile.across;
  }

  int64_t image() const { return image_; }
  int64_t row() const { return row_; }
  int64_t column() const { return column_; }

  void Next() {
    column_ += tiles_.tile.across;
    if (column_ < tiles_.out_width) return;
    column_ = 0;
    row_ += tiles_.tile.down;
    if (row_ < tiles_.out_height) return;
    row_ = 0;
    ++image_;
  }

 private:
  const WinogradTiles& tiles_;
  int64_t image_, row_, column_;
};

// kDown x kAcross pixels of an image, any of which may lie outside of it and is then taken from
// `zeros`.
template <int kChannels, int kDown, int kAcross>
class Window {
 public:
  Window(const float* image, int64_t row, int64_t column, int64_t height, int64_t width,
         int64_t channels, const float* zeros)
      : at_(image + (row * width + column) * channels),
        down_(width * channels),
        across_(channels),
        whole_(row >= 0 && column >= 0 && row + kDown <= height && column + kAcross <= width) {
    if (!whole_) Outline(row, column, height, width, zeros);
  }

  bool Whole() const { return whole_; }

  // The pixels of a column, of the channels from `channel` on.
  template <bool kWhole, typename Lanes>
  inline void Column(int j, int64_t channel, Lanes lanes, Vec d[kDown]) const {
    for (int i = 0; i < kDown; ++i) {
      d[i] = Load((kWhole ? at_ + i * down_ + j * Across() : pixels_[i][j]) + channel, lanes);
    }
  }

 private:
  int64_t Across() const { return kChannels > 0 ? kChannels : across_; }

  // A call, and ranges in place of a condition for each pixel, of which the compiler makes more
  // instructions than the transform has.
  __attribute__((noinline)) void Outline(int64_t row, int64_t column, int64_t height, int64_t width,
                                         const float* zeros) {
    for (auto& of_row : pixels_) {
      for (const float*& pixel : of_row) pixel = zeros;
    }
    const int64_t top = row < 0 ? -row : 0, bottom = height - row < kDown ? height - row : kDown;
    const int64_t left = column < 0 ? -column : 0;
    const int64_t right = width - column < kAcross ? width - column : kAcross;
    for (int64_t i = top; i < bottom; ++i) {
      for (int64_t j = left; j < right; ++j) pixels_[i][j] = at_ + i * down_ + j * Across();
    }
  }

  const float* at_;
  int64_t down_, across_;
  bool whole_;
  const float* pixels_[kDown][kAcross];
};

// All channels of a window to the domain, by a transform for the columns and one for the rows.
template <int kChannels, bool kWhole, typename Down, typename Across>
inline void TransformWindow(const Window<kChannels, Down::kFrom, Across::kFrom>& window,
                            int64_t channels, float* out, int64_t position) {
  ForChannels<kChannels>(channels, [&](int64_t channel, auto lanes) {
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

// Images of height x width, whose windows begin pad before the outputs of their tile.
struct Images {
  int64_t height, width, channels, pad_h, pad_w;
  const float* at;
};

template <int kChannels, typename Down, typename Across>
void Tiles(const WinogradTiles& tiles, int64_t begin, int64_t count, const Images& images,
           const WinogradMatrices& matrices) {
  const int64_t channels = kChannels > 0 ? kChannels : images.channels;
  const int64_t image = images.height * images.width * channels;
  float* out = matrices.at;
  Place place(tiles, begin);
  for (int64_t t = 0; t < count; ++t, out += matrices.row, place.Next()) {
    const Window<kChannels, Down::kFrom, Across::kFrom> window(
        images.at + place.image() * image, place.row() - images.pad_h,
        place.column() - images.pad_w, images.height, images.width, channels, tiles.zeros);
    if (window.Whole()) {
      TransformWindow<kChannels, true, Down, Across>(window, channels, out, matrices.position);
    } else {
      TransformWindow<kChannels, false, Down, Across>(window, channels, out, matrices.position);
    }
  }
}

template <typename Down, typename Across>
void TilesOf(const WinogradTiles& tiles, int64_t begin, int64_t count, const Images& images,
             const WinogradMatrices& matrices) {
  if (images.channels == kFewChannels) {
    Tiles<kFewChannels, Down, Across>(tiles, begin, count, images, matrices);
  } else {
    Tiles<0, Down, Across>(tiles, begin, count, images, matrices);
  }
}

template <int kDown, int kAcross>
void InputTiles(const WinogradTiles& tiles, int64_t begin, int64_t count, const Images& images,
                const WinogradMatrices& v) {
  TilesOf<OfInput<kDown>, OfInput<kAcross>>(tiles, begin, count, images, v);
}

template <int kDown, int kAcross>
void GradientTiles(const WinogradTiles& tiles, int64_t begin, int64_t count, const Images& images,
                   const WinogradMatrices& d) {
  TilesOf<OfGradient<kDown>, OfGradient<kAcross>>(tiles, begin, count, images, d);
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

template <int kChannels, int kDown, int kAcross>
void Outputs(const WinogradTiles& tiles, int64_t begin, int64_t count, int64_t of_pixel,
             const WinogradMatrices& m, const float* bias, float* y) {
  const int64_t channels = kChannels > 0 ? kChannels : of_pixel;
  const int64_t down = tiles.out_width * channels;
  const float* in = m.at;
  Place place(tiles, begin);
  for (int64_t t = 0; t < count; ++t, in += m.row, place.Next()) {
    float* const out =
        y + (place.image() * tiles.out_height + place.row()) * down + place.column() * channels;
    const int64_t rows = tiles.out_height - place.row();
    const int64_t columns = tiles.out_width - place.column();
    const bool whole = rows >= kDown && columns >= kAcross;
    ForChannels<kChannels>(channels, [&](int64_t channel, auto lanes) {
      const Vec shift = bias != nullptr ? Load(bias + channel, lanes) : Broadcast(0);
      if (whole) {
        OutputTile<kDown, kAcross, true>(in + channel, m.position, shift, out + channel, down,
                                         channels, rows, columns, lanes);
      } else {
        OutputTile<kDown, kAcross, false>(in + channel, m.position, shift, out + channel, down,
                                          channels, rows, columns, lanes);
      }
    });
  }
}

template <int kDown, int kAcross>
void OutputTiles(const WinogradTiles& tiles, int64_t begin, int64_t count, int64_t channels,
                 const WinogradMatrices& m, const float* bias, float* y) {
  if (channels == kFewChannels) {
    Outputs<kFewChannels, kDown, kAcross>(tiles, begin, count, channels, m, bias, y);
  } else {
    Outputs<0, kDown, kAcross>(tiles, begin, count, channels, m, bias, y);
  }
}

}  // namespace

void WinogradInput(const WinogradTiles& tiles, int64_t begin, int64_t count, int64_t channels,
                   const float* x, const WinogradMatrices& v) {
  const Images images{tiles.height, tiles.width, channels, tiles.pad_h, tiles.pad_w, x};
  SYNCBN_OF_TILE(tiles.tile, InputTiles, tiles, begin, count, images, v);
}

void WinogradGradient(const WinogradTiles& tiles, int64_t begin, int64_t count, int64_t channels,
                      const float* dy, const WinogradMatrices& d) {
  const Images images{tiles.out_height, tiles.out_width, channels, 0, 0, dy};
  SYNCBN_OF_TILE(tiles.tile, GradientTiles, tiles, begin, count, images, d);
}

void WinogradOutput(const WinogradTiles& tiles, int64_t begin, int64_t count, int64_t channels,
                    const WinogradMatrices& m, const float* bias, float* y) {
  SYNCBN_OF_TILE(tiles.tile, OutputTiles, tiles, begin, count, channels, m, bias, y);
}

}  // namespace syncbn::backend::cpu::SYNCBN_ISA
