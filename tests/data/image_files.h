// Image files for tests.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "data/image_file.h"

namespace syncbn::data {

// `format` as libpng's PNG_FORMAT_*: image has as many channels.
void WritePng(const std::filesystem::path& path, const Image& image, uint32_t format);
// Of colours.
void WritePng(const std::filesystem::path& path, const Image& image);
// Of 1 or 3 channels, quality 95.
void WriteJpeg(const std::filesystem::path& path, const Image& image);
// Lossless, of 3 channels.
void WriteWebp(const std::filesystem::path& path, const Image& image);

// The same in the order of a progressive one: several scans over the image.
void WriteProgressiveJpeg(const std::filesystem::path& path, const Image& image);
// With the 16 bits of a JPEG's frame at `offset` (1: height, 3: width) or its 8 bits at 0, of a
// sample, set to `value`.
std::string WithFrame(std::string jpeg, size_t offset, int value);

// As if nothing in the folder had been written for a minute.
void SettleFolder(const std::filesystem::path& folder);

// Smooth, so that a JPEG is near it; `shift` makes another one.
Image Ramp(int64_t height, int64_t width, int64_t channels, int shift = 0);

}  // namespace syncbn::data
