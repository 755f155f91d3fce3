// Images in another size, by the arithmetic of PIL's resize with BILINEAR (the one of torchvision's
// recipes): every pixel is the mean of those below it, weighted by a triangle as wide as a pixel of
// the smaller side; rows first, then columns, in fixed point of 22 bits, rounded to a byte after
// each. Integers alone: the bits are the same on every machine, and PIL's.
#pragma once

#include <cstdint>
#include <vector>

namespace syncbn::data {

// Bytes of a picture, H W C, whose rows may be longer than what is looked at.
struct PixelView {
  const uint8_t* pixels = nullptr;
  int64_t height = 0, width = 0, channels = 0;
  int64_t row_bytes = 0;
};

// One side: `length` pixels of the result lie over [begin, end) of the source, in pixels of it; of
// those the ones from `first` on, `count` of them, are made.
struct Span1d {
  double begin = 0, end = 0;
  int64_t length = 0;
  int64_t first = 0, count = 0;
};

// Writes vertical.count * horizontal.count * channels bytes. Pixels outside of the source do not
// count. Nothing is done to a side that keeps its pixels.
void Resample(const PixelView& source, const Span1d& vertical, const Span1d& horizontal,
              uint8_t* out);

}  // namespace syncbn::data
