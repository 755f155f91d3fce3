#include "data/image_file.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "base/printable.h"
#include "data/decode_image.h"

namespace syncbn::data {
namespace {

PixelView ViewOf(const Image& image) {
  return {.pixels = image.pixels.data(),
          .height = image.shape.height,
          .width = image.shape.width,
          .channels = image.shape.channels,
          .row_bytes = image.shape.width * image.shape.channels};
}

Image Resampled(const Image& image, Span1d vertical, Span1d horizontal) {
  vertical.end = static_cast<double>(image.shape.height);
  horizontal.end = static_cast<double>(image.shape.width);
  Image result{.shape = {.height = vertical.count,
                         .width = horizontal.count,
                         .channels = image.shape.channels}};
  result.pixels.resize(static_cast<size_t>(result.shape.elements()));
  Resample(ViewOf(image), vertical, horizontal, result.pixels.data());
  return result;
}

// The middle `count` of `length` pixels: an odd pixel is left over to the end as Python rounds, to
// the even.
Span1d MiddleOf(int64_t length, int64_t count) {
  const int64_t over = length - count;
  return {.length = length,
          .first = static_cast<int64_t>(std::nearbyint(static_cast<double>(over) / 2)),
          .count = count};
}

// `side` where the shorter of both is made `shorter`.
int64_t Scaled(int64_t side, int64_t height, int64_t width, int64_t shorter) {
  const int64_t least = std::min(height, width);
  return side == least ? shorter
                       : static_cast<int64_t>(static_cast<double>(shorter * side) /
                                              static_cast<double>(least));
}

void ThrowDamage(const DecodedImage& image, const std::filesystem::path& path) {
  if (image.damage)
    throw Error(image.damage->code, OneLine(path.string()) + " " + image.damage->what);
}

}  // namespace

Image ReadImage(const std::filesystem::path& path) {
  DecodedImage decoded = DecodeImageFile(path, WholeImage);
  ThrowDamage(decoded, path);
  return {.shape = decoded.shape, .pixels = std::move(decoded.pixels)};
}

Image WithChannels(const Image& image, int64_t channels) {
  SYNCBN_CHECK((channels == 1 || channels == 3) &&
               (image.shape.channels == 1 || image.shape.channels == 3));
  if (channels == image.shape.channels) return image;
  Image result{.shape = image.shape};
  result.shape.channels = channels;
  result.pixels.reserve(static_cast<size_t>(result.shape.elements()));
  if (channels == 3) {
    for (const uint8_t grey : image.pixels) result.pixels.insert(result.pixels.end(), 3, grey);
    return result;
  }
  for (size_t i = 0; i < image.pixels.size(); i += 3) {
    result.pixels.push_back(GreyOf(image.pixels[i], image.pixels[i + 1], image.pixels[i + 2]));
  }
  return result;
}

Image Resized(const Image& image, int64_t height, int64_t width) {
  return Resampled(image, {.length = height, .count = height}, {.length = width, .count = width});
}

Span1d MiddleCrop::Vertical(int64_t image_height, int64_t image_width) const {
  return MiddleOf(Scaled(image_height, image_height, image_width, shorter_side), height);
}

Span1d MiddleCrop::Horizontal(int64_t image_height, int64_t image_width) const {
  return MiddleOf(Scaled(image_width, image_height, image_width, shorter_side), width);
}

WantedRegion MiddleCrop::Wanted(int64_t image_height, int64_t image_width) const {
  WantedRegion whole = WholeImage(image_height, image_width);
  whole.height = Vertical(image_height, image_width).length;
  whole.width = Horizontal(image_height, image_width).length;
  return whole;
}

Image ReadMiddle(const std::filesystem::path& path, const MiddleCrop& crop) {
  const DecodedImage decoded = DecodeImageFile(
      path, [&](int64_t height, int64_t width) { return crop.Wanted(height, width); });
  ThrowDamage(decoded, path);
  Image image{.shape = {.height = crop.height, .width = crop.width, .channels = 3}};
  image.pixels.resize(static_cast<size_t>(image.shape.elements()));
  decoded.Resample(crop.Vertical(decoded.height, decoded.width),
                   crop.Horizontal(decoded.height, decoded.width), image.pixels.data());
  return image;
}

Image Middle(const Image& image, const MiddleCrop& crop) {
  const auto [height, width, channels] = image.shape;
  return Resampled(image, crop.Vertical(height, width), crop.Horizontal(height, width));
}

}  // namespace syncbn::data
