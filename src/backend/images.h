// Images as data sets hold them, and what is done to them before they are trained on: cropped,
// flipped, and each byte replaced by its value.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tensor/tensor.h"

namespace syncbn::backend {

// What happens to one image: pixel (y, x) of the result is pixel (y + dy, x + dx) of the original,
// zero outside it; then, if `flip`, left and right are exchanged (torchvision's RandomCrop with
// padding, then RandomHorizontalFlip).
struct ImageChange {
  int64_t dy = 0;
  int64_t dx = 0;
  bool flip = false;

  bool operator==(const ImageChange&) const = default;
};

// Images that are still to be changed, on one device.
struct RawImages {
  Tensor pixels;   // U8 [N, H, W, C]
  Tensor changes;  // I32 [N, 3]: dy, dx, and 1 to flip, of each
  Tensor values;   // F32 [C, 256]: what a byte is in each channel, 0 outside of an image too
};

// How the host changes images of one size. Immutable: any number of threads may use it.
class ImageWriter {
 public:
  // `values` as in RawImages, C * 256 of them.
  ImageWriter(int64_t height, int64_t width, int64_t channels, std::span<const float> values);

  const std::vector<float>& values() const { return values_; }
  // From the H * W * C bytes at `pixels` to as many floats at `out`.
  void Write(const ImageChange& change, const uint8_t* pixels, float* out) const;

 private:
  const int64_t height_, width_, channels_;
  const std::vector<float> values_;
  std::vector<float> black_row_;  // a row outside of an image
};

}  // namespace syncbn::backend
