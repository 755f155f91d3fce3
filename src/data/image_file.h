// Images out of files, as a model gets them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "data/dataset.h"

namespace syncbn::data {

struct Image {
  ImageShape shape;             // 1 channel (grey) or 3 (red, green, blue)
  std::vector<uint8_t> pixels;  // H W C
};

// Reads a PNG or a JPEG, whatever its name says. What is transparent lies on white; 16 bits become
// 8; the orientation that a camera notes is not looked at. Throws NOT_FOUND or PERMISSION_DENIED,
// INVALID_ARGUMENT for a file of another format, or with more than 2^27 pixels, DATA_LOSS "PATH is
// damaged: WHAT".
Image ReadImage(const std::filesystem::path& path);

// With so many channels, 1 or 3: grey is (19595 R + 38470 G + 7471 B + 2^15) / 2^16 (ITU-R 601, as
// PIL's mode L).
Image WithChannels(const Image& image, int64_t channels);

// In another height and width, whatever the proportions were: every pixel is the mean of those
// below it, weighted by a triangle as wide as a pixel of the smaller side, in double, rounded once
// (PIL's BILINEAR, but for its rounding between rows and columns). The same size gives the same
// image.
Image Resized(const Image& image, int64_t height, int64_t width);

}  // namespace syncbn::data
