#include "data/resample.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>

namespace syncbn::data {
namespace {

constexpr int kBits = 22;
constexpr int32_t kHalf = 1 << (kBits - 1);

// The pixels of one side of the source that each pixel of the result is made of.
struct Windows {
  int64_t taps = 0;  // weights of each, 0 beyond its last
  std::vector<int64_t> first;
  std::vector<int32_t> weights;  // `taps` for each pixel, in units of 2^-22
};

Windows WindowsOf(const Span1d& side, int64_t source) {
  const double scale = (side.end - side.begin) / static_cast<double>(side.length),
               reach = std::max(1.0, scale), narrow = 1 / reach;
  Windows windows{.taps = std::min(source, static_cast<int64_t>(std::ceil(reach)) * 2 + 1)};
  std::vector<double> weights;
  for (int64_t i = side.first; i < side.first + side.count; ++i) {
    const double centre = side.begin + (static_cast<double>(i) + 0.5) * scale;
    // Rounded as C does, towards zero.
    const int64_t first = std::max<int64_t>(0, static_cast<int64_t>(centre - reach + 0.5)),
                  last = std::min(source, static_cast<int64_t>(centre + reach + 0.5));
    weights.clear();
    double sum = 0;
    for (int64_t k = first; k < last; ++k) {
      const double distance = std::abs(
          (static_cast<double>(k - first) + static_cast<double>(first) - centre + 0.5) * narrow);
      weights.push_back(distance < 1 ? 1 - distance : 0);
      sum += weights.back();
    }
    // All taps lie in the source, so that none needs a question.
    const int64_t start = std::min(first, source - windows.taps);
    windows.first.push_back(start);
    windows.weights.resize(windows.weights.size() + static_cast<size_t>(windows.taps));
    int32_t* own = windows.weights.data() + windows.weights.size() - windows.taps;
    for (size_t k = 0; k < weights.size(); ++k) {
      own[first - start + static_cast<int64_t>(k)] =
          static_cast<int32_t>(0.5 + weights[k] / sum * (1 << kBits));
    }
  }
  return windows;
}

bool KeepsPixels(const Span1d& side) {
  return side.begin == std::floor(side.begin) &&
         side.end - side.begin == static_cast<double>(side.length);
}

// A sum of weights of 1 and bytes is within the bytes, but for the rounding of the weights.
uint8_t ByteOf(int32_t sum) {
  return static_cast<uint8_t>(std::clamp(sum >> kBits, 0, 255));
}

// One row of the source, as wide as the result. The number of channels is a constant in the common
// cases.
template <typename Channels>
void ResampleRow(const uint8_t* row, const Windows& windows, Channels channels, uint8_t* out) {
  const int32_t* weights = windows.weights.data();
  for (const int64_t first : windows.first) {
    const uint8_t* pixel = row + first * channels;
    if constexpr (!std::is_same_v<Channels, int64_t>) {
      int32_t sums[Channels::value];
      for (int32_t& sum : sums) sum = kHalf;
      for (int64_t k = 0; k < windows.taps; ++k, pixel += channels) {
        for (int64_t c = 0; c < channels; ++c) sums[c] += weights[k] * pixel[c];
      }
      for (const int32_t sum : sums) *out++ = ByteOf(sum);
    } else {
      for (int64_t c = 0; c < channels; ++c) {
        int32_t sum = kHalf;
        for (int64_t k = 0; k < windows.taps; ++k) sum += weights[k] * pixel[k * channels + c];
        *out++ = ByteOf(sum);
      }
    }
    weights += windows.taps;
  }
}

void ResampleRow(const uint8_t* row, const Windows& windows, int64_t channels, uint8_t* out) {
  switch (channels) {
    case 1:
      return ResampleRow(row, windows, std::integral_constant<int64_t, 1>(), out);
    case 3:
      return ResampleRow(row, windows, std::integral_constant<int64_t, 3>(), out);
    default:
      return ResampleRow<int64_t>(row, windows, channels, out);
  }
}

// One row of the result out of those of `rows`, which are `bytes` long each.
void MixRows(const uint8_t* rows, int64_t bytes, const int32_t* weights, int64_t taps,
             int32_t* sums, uint8_t* out) {
  std::fill(sums, sums + bytes, kHalf);
  for (int64_t k = 0; k < taps; ++k, rows += bytes) {
    const int32_t weight = weights[k];
    if (weight == 0) continue;
    for (int64_t i = 0; i < bytes; ++i) sums[i] += weight * rows[i];
  }
  for (int64_t i = 0; i < bytes; ++i) out[i] = ByteOf(sums[i]);
}

}  // namespace

void Resample(const PixelView& source, const Span1d& vertical, const Span1d& horizontal,
              uint8_t* out) {
  const bool same_rows = KeepsPixels(vertical), same_columns = KeepsPixels(horizontal);
  const Windows rows = same_rows ? Windows{} : WindowsOf(vertical, source.height);
  const Windows columns = same_columns ? Windows{} : WindowsOf(horizontal, source.width);
  const int64_t line = horizontal.count * source.channels;
  // The rows of the source that are needed.
  const int64_t first = same_rows ? static_cast<int64_t>(vertical.begin) + vertical.first
                                  : rows.first.front(),
                last = same_rows ? first + vertical.count : rows.first.back() + rows.taps;
  std::vector<uint8_t> narrow;
  if (!same_rows) narrow.resize(static_cast<size_t>((last - first) * line));
  uint8_t* to = same_rows ? out : narrow.data();
  for (int64_t y = first; y < last; ++y, to += line) {
    const uint8_t* row = source.pixels + y * source.row_bytes;
    if (same_columns) {
      const int64_t left = static_cast<int64_t>(horizontal.begin) + horizontal.first;
      std::memcpy(to, row + left * source.channels, static_cast<size_t>(line));
    } else {
      ResampleRow(row, columns, source.channels, to);
    }
  }
  if (same_rows) return;
  std::vector<int32_t> sums(static_cast<size_t>(line));
  for (int64_t i = 0; i < vertical.count; ++i) {
    MixRows(narrow.data() + (rows.first[static_cast<size_t>(i)] - first) * line, line,
            rows.weights.data() + i * rows.taps, rows.taps, sums.data(), out + i * line);
  }
}

}  // namespace syncbn::data
