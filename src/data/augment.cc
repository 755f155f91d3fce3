#include "data/augment.h"

#include <algorithm>
#include <cmath>
#include <tuple>
#include <utility>

#include "syncbn/v1/run.pb.h"

namespace syncbn::data {

AugmentOptions AugmentOptions::From(const v1::AugmentSpec& spec) {
  AugmentOptions options{.crop_padding = spec.random_crop_padding(),
                         .horizontal_flip = spec.horizontal_flip(),
                         .cutout = spec.cutout(),
                         .color_jitter = {.brightness = spec.color_jitter().brightness(),
                                          .contrast = spec.color_jitter().contrast(),
                                          .saturation = spec.color_jitter().saturation(),
                                          .hue = spec.color_jitter().hue()}};
  const v1::RandomResizedCropSpec& crop = spec.random_resized_crop();
  if (!crop.scale().empty()) {
    options.resized_crop = {.min_scale = crop.scale(0),
                            .max_scale = crop.scale(1),
                            .min_ratio = crop.ratio(0),
                            .max_ratio = crop.ratio(1)};
  }
  return options;
}

RandomKey AugmentKey(uint64_t seed, int64_t epoch, uint64_t sample) {
  return RandomKey(seed).Fold("augment").Fold(static_cast<uint64_t>(epoch)).Fold(sample);
}

namespace {

// Where a square of this side around a pixel drawn evenly from an image begins and ends in it.
std::pair<int64_t, int64_t> DrawSide(RandomStream& stream, int64_t side, int64_t extent) {
  const auto middle = static_cast<int64_t>(stream.Below(static_cast<uint64_t>(extent)));
  const int64_t begin = middle - side / 2;
  return {std::max<int64_t>(0, begin), std::min(extent, begin + side)};
}

}  // namespace

ImageChange DrawChange(const AugmentOptions& options, const RandomKey& key, int64_t height,
                       int64_t width) {
  ImageChange change;
  RandomStream stream(key);
  if (options.crop_padding > 0) {
    const auto places = static_cast<uint64_t>(2 * options.crop_padding + 1);
    change.dy = static_cast<int64_t>(stream.Below(places)) - options.crop_padding;
    change.dx = static_cast<int64_t>(stream.Below(places)) - options.crop_padding;
  }
  if (options.horizontal_flip) change.flip = stream.Below(2) == 1;
  if (options.cutout > 0) {
    std::tie(change.cut.top, change.cut.bottom) = DrawSide(stream, options.cutout, height);
    std::tie(change.cut.left, change.cut.right) = DrawSide(stream, options.cutout, width);
  }
  return change;
}

Region DrawResizedCrop(const ResizedCropOptions& options, const RandomKey& key, int64_t height,
                       int64_t width) {
  RandomStream stream(key.Fold("resized_crop"));
  const auto between = [&](double low, double high) {
    return low + (high - low) * stream.UniformDouble();
  };
  const double area = static_cast<double>(height) * static_cast<double>(width);
  const double low = std::log(options.min_ratio), high = std::log(options.max_ratio);
  for (int i = 0; i < 10; ++i) {
    const double part = area * between(options.min_scale, options.max_scale);
    const double ratio = std::exp(between(low, high));
    const auto w = static_cast<int64_t>(std::lround(std::sqrt(part * ratio)));
    const auto h = static_cast<int64_t>(std::lround(std::sqrt(part / ratio)));
    if (w < 1 || h < 1 || w > width || h > height) continue;
    const auto top = static_cast<int64_t>(stream.Below(static_cast<uint64_t>(height - h + 1)));
    const auto left = static_cast<int64_t>(stream.Below(static_cast<uint64_t>(width - w + 1)));
    return {.top = top, .left = left, .height = h, .width = w};
  }
  Region middle{.height = height, .width = width};
  const double own = static_cast<double>(width) / static_cast<double>(height);
  if (own < options.min_ratio) {
    middle.height = std::lround(static_cast<double>(width) / options.min_ratio);
  } else if (own > options.max_ratio) {
    middle.width = std::lround(static_cast<double>(height) * options.max_ratio);
  }
  middle.height = std::max<int64_t>(1, middle.height);
  middle.width = std::max<int64_t>(1, middle.width);
  middle.top = (height - middle.height) / 2;
  middle.left = (width - middle.width) / 2;
  return middle;
}

}  // namespace syncbn::data
