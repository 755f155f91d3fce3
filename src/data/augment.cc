#include "data/augment.h"

#include "base/error.h"
#include "base/rng.h"
#include "syncbn/v1/run.pb.h"

namespace syncbn::data {

AugmentOptions AugmentOptions::From(const v1::AugmentSpec& spec) {
  const v1::ColorJitterSpec& jitter = spec.color_jitter();
  if (!spec.random_resized_crop().scale().empty() || jitter.brightness() != 0 ||
      jitter.contrast() != 0 || jitter.saturation() != 0 || jitter.hue() != 0) {
    throw Error(ErrorCode::kInvalidArgument,
                "data.augment has random_resized_crop or color_jitter, which this version does not "
                "make yet");
  }
  return {.crop_padding = spec.random_crop_padding(), .horizontal_flip = spec.horizontal_flip()};
}

ImageChange DrawChange(const AugmentOptions& options, uint64_t seed, int64_t epoch,
                       uint64_t sample) {
  ImageChange change;
  RandomStream stream(
      RandomKey(seed).Fold("augment").Fold(static_cast<uint64_t>(epoch)).Fold(sample));
  if (options.crop_padding > 0) {
    const auto places = static_cast<uint64_t>(2 * options.crop_padding + 1);
    change.dy = static_cast<int64_t>(stream.Below(places)) - options.crop_padding;
    change.dx = static_cast<int64_t>(stream.Below(places)) - options.crop_padding;
  }
  if (options.horizontal_flip) change.flip = stream.Below(2) == 1;
  return change;
}

}  // namespace syncbn::data
