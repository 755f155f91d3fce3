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

// Which channel is the largest and which the smallest, as the answers to three questions.
unsigned OrderOf(int red, int green, int blue) {
  return unsigned{red >= green} << 2 | unsigned{red >= blue} << 1 | unsigned{green >= blue};
}

// PIL's hue of a pixel: `order` says which channel is the largest, `range` is that less the
// smallest, and `down` that less the one between.
uint8_t HueOf(unsigned order, int range, int down) {
  const float between = static_cast<float>(down) / static_cast<float>(range);
  float hue = 0;
  switch (order) {
    case 0b111:
      hue = 1.0F - between;
      break;  // red > green > blue
    case 0b110:
      hue = between - 1.0F;
      break;  // red > blue > green
    case 0b011:
      hue = static_cast<float>(2.0 + static_cast<double>(between) - 1.0);
      break;
    case 0b001:
      hue = static_cast<float>(2.0 + 1.0 - static_cast<double>(between));
      break;
    case 0b000:
      hue = static_cast<float>(4.0 + static_cast<double>(between) - 1.0);
      break;
    case 0b100:
      hue = static_cast<float>(4.0 + 1.0 - static_cast<double>(between));
      break;
    default:
      break;  // no pixel answers so
  }
  // fmod(x, 1): x is from 0.8 to 1.9.
  const double turned = static_cast<double>(hue) / 6.0 + 1.0;
  hue = static_cast<float>(turned < 1.0 ? turned : turned - 1.0);
  return static_cast<uint8_t>(static_cast<double>(hue) * 255.0);
}

// Where the hues of a range begin among those of all.
constexpr size_t BeginOf(size_t range) {
  return range * (range + 1) / 2;
}

// All that of PIL's conversions to HSV and back can be looked up.
struct HueTables {
  HueTables();

  std::array<std::array<uint8_t, BeginOf(256)>, 8> hues{};         // by order, range and down
  std::array<std::array<uint8_t, 256>, 256> saturations{};  // by the largest and range
  std::array<double, 256> shares{};                         // of a saturation
  // Of a hue: how far it lies into its sixth of the circle (from behind in every other one), and
  // where the largest channel, the smallest and the one between go.
  struct Place {
    double part = 0;
    uint8_t most = 0, least = 0, between = 0;
  };
  std::array<Place, 256> places{};
};

HueTables::HueTables() {
  for (int range = 1; range < 256; ++range) {
    for (unsigned order = 0; order < 8; ++order) {
      for (int down = 0; down <= range; ++down) {
        hues[order][BeginOf(static_cast<size_t>(range)) + static_cast<size_t>(down)] =
            HueOf(order, range, down);
      }
    }
    for (int most = range; most < 256; ++most) {
      const float saturation = static_cast<float>(range) / static_cast<float>(most);
      saturations[static_cast<size_t>(most)][static_cast<size_t>(range)] =
          static_cast<uint8_t>(static_cast<double>(saturation) * 255.0);
    }
  }
  constexpr std::array<std::array<uint8_t, 3>, 6> kPlaces = {
      {{0, 2, 1}, {1, 2, 0}, {1, 0, 2}, {2, 0, 1}, {2, 1, 0}, {0, 1, 2}}};
  for (int hue = 0; hue < 256; ++hue) {
    shares[static_cast<size_t>(hue)] = static_cast<double>(static_cast<float>(hue / 255.0));
    const double place = static_cast<double>(static_cast<float>(hue)) * 6.0 / 255.0;
    const int number = static_cast<int>(std::floor(place));
    const auto part = static_cast<double>(
        static_cast<float>(place - static_cast<double>(static_cast<float>(number))));
    const auto sixth = static_cast<size_t>(number % 6);
    const auto [most, least, between] = kPlaces[sixth];
    places[static_cast<size_t>(hue)] = {.part = sixth % 2 == 0 ? 1.0 - part : part,
                                        .most = most,
                                        .least = least,
                                        .between = between};
  }
}

// Of [0, 255].
uint8_t Rounded(double value) {
  return static_cast<uint8_t>(static_cast<int>(value + 0.5));
}

// Without a branch: neighbours of a photograph answer differently. A grey pixel has the saturation
// 0, with which all three channels become the largest.
void TurnHue(std::span<uint8_t> pixels, double share) {
  static const HueTables tables;
  // As a byte wraps around; towards zero as C rounds.
  const auto turn = static_cast<uint8_t>(static_cast<int>(share * 255));
  for (size_t i = 0; i < pixels.size(); i += 3) {
    uint8_t* const pixel = &pixels[i];
    const int red = pixel[0], green = pixel[1], blue = pixel[2];
    const int most = std::max(std::max(red, green), blue),
              least = std::min(std::min(red, green), blue);
    const auto range = static_cast<size_t>(most - least),
               down = static_cast<size_t>(2 * most + least - red - green - blue);
    const uint8_t hue = tables.hues[OrderOf(red, green, blue)][BeginOf(range) + down];
    const double saturation = tables.shares[tables.saturations[static_cast<size_t>(most)][range]];
    const HueTables::Place& place = tables.places[static_cast<uint8_t>(hue + turn)];
    const auto full = static_cast<double>(most);
    pixel[place.most] = static_cast<uint8_t>(most);
    pixel[place.least] = Rounded(full * (1.0 - saturation));
    pixel[place.between] = Rounded(full * (1.0 - saturation * place.part));
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
