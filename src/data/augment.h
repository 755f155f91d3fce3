// Random changes of a training image, drawn per sample and epoch: the same sample in the same epoch
// is changed in the same way whatever replica, step or process it lies in.
#pragma once

#include <cstdint>
#include <optional>

#include "backend/images.h"
#include "base/rng.h"
#include "data/color_jitter.h"
#include "data/image_shape.h"

namespace syncbn::v1 {
class AugmentSpec;
}

namespace syncbn::data {

// torchvision's RandomResizedCrop: shares of the area, and width over height.
struct ResizedCropOptions {
  double min_scale = 1, max_scale = 1;
  double min_ratio = 1, max_ratio = 1;
};

struct AugmentOptions {
  int64_t crop_padding = 0;  // zeros on each side before a crop of the old size; 0: no crop
  bool horizontal_flip = false;
  int64_t cutout = 0;  // side of the square of zeros; 0: none
  std::optional<ResizedCropOptions> resized_crop = std::nullopt;
  ColorJitterOptions color_jitter = {};

  static AugmentOptions From(const v1::AugmentSpec& spec);

  // Whether other bytes than the sample's own come to be cropped and flipped.
  bool ChangesPixels() const { return resized_crop.has_value() || color_jitter.any(); }
};

using backend::ImageChange;

// Of which everything below is drawn: (seed, "augment", epoch, sample).
RandomKey AugmentKey(uint64_t seed, int64_t epoch, uint64_t sample);

// Of an image of this size: dy and dx uniform in [-crop_padding, crop_padding], flip with
// probability one half, and the middle of the square that is cut out uniform over the pixels, so
// that a part of it may lie outside.
ImageChange DrawChange(const AugmentOptions& options, const RandomKey& key, int64_t height,
                       int64_t width);

// The part of an image of this size: up to ten draws of an area, evenly in the range of shares, and
// of a ratio, evenly in its logarithm, until one fits, at a place drawn evenly; else the largest
// part in the middle whose ratio is allowed.
Region DrawResizedCrop(const ResizedCropOptions& options, const RandomKey& key, int64_t height,
                       int64_t width);

}  // namespace syncbn::data
