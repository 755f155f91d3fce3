#include "backend/images.h"

#include <algorithm>
#include <type_traits>

#include "base/check.h"

namespace syncbn::backend {
namespace {

// Writes `count` pixels from left to right, or from right to left when flipped. The number of
// channels is a constant in the common cases, which doubles the speed.
template <typename Channels>
void WritePixels(const float* values, Channels channels, bool flip, const uint8_t* from,
                 int64_t count, float* out) {
  const int64_t step = flip ? -int64_t{channels} : int64_t{channels};
  for (int64_t i = 0; i < count; ++i, out += step) {
    for (int64_t c = 0; c < channels; ++c) out[c] = values[c * 256 + *from++];
  }
}

void WritePixels(const float* values, int64_t channels, bool flip, const uint8_t* from,
                 int64_t count, float* out) {
  switch (channels) {
    case 1:
      return WritePixels(values, std::integral_constant<int64_t, 1>(), flip, from, count, out);
    case 3:
      return WritePixels(values, std::integral_constant<int64_t, 3>(), flip, from, count, out);
    default:
      return WritePixels<int64_t>(values, channels, flip, from, count, out);
  }
}

}  // namespace

std::array<int32_t, ImageChange::kNumbers> ImageChange::Numbers() const {
  const std::array<int64_t, kNumbers> numbers = {dy,      dx,         int64_t{flip}, 0,
                                                 cut.top, cut.bottom, cut.left,      cut.right};
  std::array<int32_t, kNumbers> narrow;
  std::ranges::transform(numbers, narrow.begin(),
                         [](int64_t number) { return static_cast<int32_t>(number); });
  return narrow;
}

ImageWriter::ImageWriter(int64_t height, int64_t width, int64_t channels,
                         std::span<const float> values)
    : height_(height), width_(width), channels_(channels), values_(values.begin(), values.end()) {
  SYNCBN_CHECK_EQ(static_cast<int64_t>(values.size()), channels * 256) << "values of bytes";
  for (int64_t x = 0; x < width; ++x) {
    for (int64_t c = 0; c < channels; ++c) {
      black_row_.push_back(values_[static_cast<size_t>(c * 256)]);
    }
  }
}

void ImageWriter::Write(const ImageChange& change, const uint8_t* pixels, float* out) const {
  const int64_t row_elements = width_ * channels_;
  // Columns of the crop, counted before the flip, that lie inside the image.
  const int64_t first = std::clamp<int64_t>(-change.dx, 0, width_);
  const int64_t last = std::clamp<int64_t>(width_ - change.dx, first, width_);
  const bool whole_row = first == 0 && last == width_;
  float* const image = out;
  for (int64_t y = 0; y < height_; ++y, out += row_elements) {
    const int64_t from_y = y + change.dy;
    const bool inside = from_y >= 0 && from_y < height_ && first < last;
    if (!inside || !whole_row) std::copy(black_row_.begin(), black_row_.end(), out);
    if (!inside) continue;
    const uint8_t* from = pixels + from_y * row_elements + (first + change.dx) * channels_;
    const int64_t to = change.flip ? width_ - 1 - first : first;
    WritePixels(values_.data(), channels_, change.flip, from, last - first, out + to * channels_);
  }
  const ImageChange::Rectangle& cut = change.cut;
  for (int64_t y = cut.top; y < cut.bottom; ++y) {
    std::fill_n(image + y * row_elements + cut.left * channels_, (cut.right - cut.left) * channels_,
                0.0F);
  }
}

}  // namespace syncbn::backend
