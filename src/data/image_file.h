// Images out of files, as a model gets them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "data/decode_image.h"
#include "data/image_shape.h"
#include "data/resample.h"

namespace syncbn::data {

struct Image {
  ImageShape shape;             // 1 channel (grey) or 3 (red, green, blue)
  std::vector<uint8_t> pixels;  // H W C
};

// Reads a JPEG, a PNG or a WebP, whatever its name says (decode_image.h). Throws NOT_FOUND or
// PERMISSION_DENIED, INVALID_ARGUMENT for a file of another format, one that is too large
// (kMostPixels) or no file, DATA_LOSS "PATH is damaged: WHAT".
Image ReadImage(const std::filesystem::path& path);

// ITU-R 601, as PIL's mode L.
constexpr uint8_t GreyOf(uint32_t red, uint32_t green, uint32_t blue) {
  return static_cast<uint8_t>((19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16);
}

// With so many channels, 1 or 3: GreyOf, or grey three times.
Image WithChannels(const Image& image, int64_t channels);

// In another height and width, whatever the proportions were (resample.h).
Image Resized(const Image& image, int64_t height, int64_t width);

// How an image is brought to the size that a model takes: its shorter side is made `shorter_side`
// pixels (the longer one in proportion, rounded down), and height x width of its middle are cut
// out. torchvision's Resize and CenterCrop.
struct MiddleCrop {
  int64_t shorter_side = 0;
  int64_t height = 0, width = 0;

  // Of an image of this size: what Resample makes.
  Span1d Vertical(int64_t image_height, int64_t image_width) const;
  Span1d Horizontal(int64_t image_height, int64_t image_width) const;
  // And what it is made of.
  WantedRegion Wanted(int64_t image_height, int64_t image_width) const;
};
Image Middle(const Image& image, const MiddleCrop& crop);
// Of the image of a file, read as ReadImage does, in colours, and for evaluation: a JPEG of more
// than four times that size is decoded in a smaller one (decode_image.h), which makes other pixels.
Image ReadMiddle(const std::filesystem::path& path, const MiddleCrop& crop);

}  // namespace syncbn::data
