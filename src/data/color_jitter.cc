#include "data/color_jitter.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "base/unknown_value.h"
#include "data/image_file.h"

namespace syncbn::data {
namespace {

// ImagingBlend: from `from` towards `to`, beyond it with a factor above 1.
uint8_t Blend(int from, int to, float factor) {
  const float value = static_cast<float>(from) + factor * static_cast<float>(to - from);
  return static_cast<uint8_t>(std::clamp(value, 0.0F, 255.0F));
}

// Towards one byte: a table.
void BlendAll(std::span<uint8_t> pixels, int from, float factor) {
  std::array<uint8_t, 256> table;
  for (int value = 0; value < 256; ++value) {
    table[static_cast<size_t>(value)] = Blend(from, value, factor);
  }
  for (uint8_t& pixel : pixels) pixel = table[pixel];
}

// Rounded as PIL's ImageEnhance does.
int MeanGrey(std::span<const uint8_t> pixels, int64_t channels) {
  uint64_t sum = 0;
  const size_t count = pixels.size() / static_cast<size_t>(channels);
  if (channels == 1) {
    for (const uint8_t grey : pixels) sum += grey;
  } else {
    for (size_t i = 0; i < pixels.size(); i += 3) {
      sum += GreyOf(pixels[i], pixels[i + 1], pixels[i + 2]);
    }
  }
  return static_cast<int>(static_cast<double>(sum) / static_cast<double>(count) + 0.5);
}

void Saturate(std::span<uint8_t> pixels, float factor) {
  // The way from grey, for every difference there is.
  std::array<float, 511> ways;
  for (int way = -255; way <= 255; ++way) {
    ways[static_cast<size_t>(way + 255)] = factor * static_cast<float>(way);
  }
  for (size_t i = 0; i < pixels.size(); i += 3) {
    const int grey = GreyOf(pixels[i], pixels[i + 1], pixels[i + 2]);
    const auto from = static_cast<float>(grey);
    for (size_t c = i; c < i + 3; ++c) {
      const float value = from + ways[static_cast<size_t>(pixels[c] - grey + 255)];
      pixels[c] = static_cast<uint8_t>(std::clamp(static_cast<int>(value), 0, 255));
    }
  }
}

// PIL's conversion to HSV, for a pixel that is not grey: its hue and saturation.
std::pair<uint8_t, uint8_t> HueAndSaturation(int red, int green, int blue, int most, int least) {
  const auto range = static_cast<float>(most - least);
  const float to_red = static_cast<float>(most - red) / range,
              to_green = static_cast<float>(most - green) / range,
              to_blue = static_cast<float>(most - blue) / range;
  float hue = 0;
  if (red == most) {
    hue = to_blue - to_green;
  } else if (green == most) {
    hue = static_cast<float>(2.0 + static_cast<double>(to_red) - static_cast<double>(to_blue));
  } else {
    hue = static_cast<float>(4.0 + static_cast<double>(to_green) - static_cast<double>(to_red));
  }
  // fmod(x, 1): x is from 0.8 to 1.9.
  const double turned = static_cast<double>(hue) / 6.0 + 1.0;
  hue = static_cast<float>(turned < 1.0 ? turned : turned - 1.0);
  const float saturation = range / static_cast<float>(most);
  return {static_cast<uint8_t>(static_cast<double>(hue) * 255.0),
          static_cast<uint8_t>(static_cast<double>(saturation) * 255.0)};
}

// What of a hue does not depend on the pixel.
struct Sector {
  int number = 0;  // 0 to 5
  float part = 0;  // in [0, 1)
};

std::array<Sector, 256> Sectors() {
  std::array<Sector, 256> sectors;
  for (int hue = 0; hue < 256; ++hue) {
    const double place = static_cast<double>(static_cast<float>(hue)) * 6.0 / 255.0;
    const int number = static_cast<int>(std::floor(place));
    sectors[static_cast<size_t>(hue)] = {
        .number = number % 6,
        .part = static_cast<float>(place - static_cast<double>(static_cast<float>(number)))};
  }
  return sectors;
}

// Of [0, 255].
uint8_t Rounded(double value) {
  return static_cast<uint8_t>(value + 0.5);
}

void WriteHsv(const Sector& sector, uint8_t saturation, int value, uint8_t* pixel) {
  const auto part = static_cast<double>(sector.part);
  const auto share = static_cast<double>(static_cast<float>(saturation / 255.0));
  const auto full = static_cast<double>(value);
  const auto v = static_cast<uint8_t>(value);
  const uint8_t p = Rounded(full * (1.0 - share)), q = Rounded(full * (1.0 - share * part)),
                t = Rounded(full * (1.0 - share * (1.0 - part)));
  const std::array<std::array<uint8_t, 3>, 6> colours = {
      {{v, t, p}, {q, v, p}, {p, v, t}, {p, q, v}, {t, p, v}, {v, p, q}}};
  std::ranges::copy(colours[static_cast<size_t>(sector.number)], pixel);
}

void TurnHue(std::span<uint8_t> pixels, double share) {
  static const std::array<Sector, 256> sectors = Sectors();
  // As a byte wraps around; towards zero as C rounds.
  const auto turn = static_cast<uint8_t>(static_cast<int>(share * 255));
  for (size_t i = 0; i < pixels.size(); i += 3) {
    const int red = pixels[i], green = pixels[i + 1], blue = pixels[i + 2];
    const int most = std::max({red, green, blue}), least = std::min({red, green, blue});
    if (most == least) continue;
    const auto [hue, saturation] = HueAndSaturation(red, green, blue, most, least);
    if (saturation == 0) {
      std::fill_n(&pixels[i], 3, static_cast<uint8_t>(most));
    } else {
      WriteHsv(sectors[static_cast<uint8_t>(hue + turn)], saturation, most, &pixels[i]);
    }
  }
}

}  // namespace

std::vector<ColorChange> DrawColorChanges(const ColorJitterOptions& options, const RandomKey& key) {
  RandomStream stream(key.Fold("color_jitter"));
  std::vector<ColorChange> changes;
  // Each has its draw whether it is used or not: adding one leaves the others as they are.
  const auto add = [&](ColorChangeKind kind, double strength, double least, double middle) {
    const double low = std::max(least, middle - strength), high = middle + strength;
    const double factor = low + (high - low) * stream.UniformDouble();
    if (strength != 0) changes.push_back({.kind = kind, .factor = factor});
  };
  add(ColorChangeKind::kBrightness, options.brightness, 0, 1);
  add(ColorChangeKind::kContrast, options.contrast, 0, 1);
  add(ColorChangeKind::kSaturation, options.saturation, 0, 1);
  add(ColorChangeKind::kHue, options.hue, -0.5, 0);
  for (size_t i = changes.size(); i > 1; --i) std::swap(changes[i - 1], changes[stream.Below(i)]);
  return changes;
}

void ChangeColor(const ColorChange& change, int64_t channels, std::span<uint8_t> pixels) {
  SYNCBN_CHECK(channels == 1 || channels == 3) << channels << " channels";
  const auto factor = static_cast<float>(change.factor);
  switch (change.kind) {
    case ColorChangeKind::kBrightness:
      return BlendAll(pixels, 0, factor);
    case ColorChangeKind::kContrast:
      return BlendAll(pixels, MeanGrey(pixels, channels), factor);
    case ColorChangeKind::kSaturation:
      SYNCBN_CHECK_EQ(channels, 3) << "saturation";
      return Saturate(pixels, factor);
    case ColorChangeKind::kHue:
      SYNCBN_CHECK_EQ(channels, 3) << "hue";
      return TurnHue(pixels, change.factor);
  }
  ThrowUnknownValue("kind of a change of colour", static_cast<int>(change.kind));
}

}  // namespace syncbn::data
