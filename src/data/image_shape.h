// Sizes and parts of images.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace syncbn::data {

struct ImageShape {
  int64_t height = 0;
  int64_t width = 0;
  int64_t channels = 0;

  int64_t elements() const { return height * width * channels; }
  bool operator==(const ImageShape&) const = default;
  // "28 x 28 x 1"
  std::string ToString() const;
};

// A rectangle of an image, in pixels.
struct Region {
  int64_t top = 0, left = 0, height = 0, width = 0;

  bool operator==(const Region&) const = default;
};

// The part of an image of this size that is trained on.
using ChooseCrop = std::function<Region(int64_t height, int64_t width)>;

}  // namespace syncbn::data
