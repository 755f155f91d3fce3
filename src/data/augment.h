// Random changes of a training image, drawn per sample and epoch: the same sample in the same epoch
// is changed in the same way whatever replica, step or process it lies in.
#pragma once

#include <cstdint>

#include "backend/images.h"

namespace syncbn::v1 {
class AugmentSpec;
}

namespace syncbn::data {

struct AugmentOptions {
  int64_t crop_padding = 0;  // zeros on each side before a crop of the old size; 0: no crop
  bool horizontal_flip = false;

  static AugmentOptions From(const v1::AugmentSpec& spec);
};

using backend::ImageChange;

// dy and dx uniform in [-crop_padding, crop_padding], flip with probability one half; keyed by
// (seed, "augment", epoch, sample).
ImageChange DrawChange(const AugmentOptions& options, uint64_t seed, int64_t epoch,
                       uint64_t sample);

}  // namespace syncbn::data
