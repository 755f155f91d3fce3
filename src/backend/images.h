// Images as data sets hold them, and what is done to them before they are trained on: cropped,
// flipped, each byte replaced by its value, and a part cut out.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "tensor/tensor.h"

namespace syncbn::backend {

// What happens to one image: pixel (y, x) of the result is pixel (y + dy, x + dx) of the original,
// zero outside it; then, if `flip`, left and right are exchanged (torchvision's RandomCrop with
// padding, then RandomHorizontalFlip). Then the values of the rectangle `cut` of the result are 0
// (Cutout: DeVries and Taylor, arXiv:1708.04552).
struct ImageChange {
  // Rows [top, bottom) and columns [left, right), within the image; empty by default.
  struct Rectangle {
    int64_t top = 0, bottom = 0;
    int64_t left = 0, right = 0;

    bool operator==(const Rectangle&) const = default;
  };

  int64_t dy = 0;
  int64_t dx = 0;
  bool flip = false;
  Rectangle cut;

  bool operator==(const ImageChange&) const = default;

  // As a device gets it: dy, dx, 1 to flip, 0; top, bottom, left and right of the cut. Two reads of
  // 16 bytes each.
  static constexpr int64_t kNumbers = 8;
  std::array<int32_t, kNumbers> Numbers() const;
};

// Images that are still to be changed, on one device.
struct RawImages {
  Tensor pixels;   // U8 [N, H, W, C]
  Tensor changes;  // I32 [N, ImageChange::kNumbers], at a multiple of 16 bytes
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
