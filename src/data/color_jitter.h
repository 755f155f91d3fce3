// Random changes of colour, on the bytes of an image, as torchvision's ColorJitter makes them of
// PIL images: the same bytes for the same factors. Single precision, in an order of its own for
// every byte: the bits are the same on every machine.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/rng.h"

namespace syncbn::data {

struct ColorJitterOptions {
  double brightness = 0, contrast = 0, saturation = 0;  // factors from [1 - x, 1 + x], from 0 on
  double hue = 0;  // shares of the circle from [-x, x]; 0.5 at most

  bool any() const { return brightness != 0 || contrast != 0 || saturation != 0 || hue != 0; }
};

enum class ColorChangeKind { kBrightness, kContrast, kSaturation, kHue };

struct ColorChange {
  ColorChangeKind kind = ColorChangeKind::kBrightness;
  double factor = 1;  // of hue: the share of the circle
};

// Those that are not 0, in a random order.
std::vector<ColorChange> DrawColorChanges(const ColorJitterOptions& options, const RandomKey& key);

// `pixels` H W C with 1 or 3 channels; saturation and hue need 3.
void ChangeColor(const ColorChange& change, int64_t channels, std::span<uint8_t> pixels);

}  // namespace syncbn::data
