// Image files' bytes to pixels: JPEG (libjpeg-turbo), PNG (libpng), WebP (libwebp), told by how
// they begin. Pure functions of their arguments; thread-safe.
//
// The result is red, green and blue whatever the file holds, as PIL's convert("RGB") has them: grey
// three times; CMYK inverted, as all programs write it into a JPEG; of 16 bits the upper 8;
// transparency, gamma and profiles of colours are not looked at, nor is the orientation that a
// camera notes. Greys of 16 bits alone are others than PIL's, which makes those above 255 white.
//
// A file that is cut off or of which a part is wrong is damaged. What the libraries merely wonder
// at (bytes too many between two markers, a mark of a future version) is not, as for PIL.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "data/image_shape.h"
#include "data/resample.h"

namespace syncbn::data {

// A part of an image, and the size to which it is going to be made: a JPEG is decoded in a half, a
// quarter or an eighth of its size where that is still twice as large.
struct WantedRegion {
  Region region;
  int64_t height = 0, width = 0;
};

// What is wanted of an image of this size.
using ChooseRegion = std::function<WantedRegion(int64_t height, int64_t width)>;

// PIL's: from twice as many on as those of which it warns it takes a file for a bomb, a small file
// that fills the memory.
constexpr int64_t kMostPixels = 178'956'970;
// So many pixels of 6 bytes each, not compressed.
constexpr int64_t kMostFileBytes = int64_t{1} << 30;
// Of a progressive JPEG, each of which goes over all of the image: libjpeg-turbo's advice.
constexpr int kMostScans = 500;

constexpr bool IsDecodedSize(int64_t height, int64_t width) {
  return height > 0 && width > 0 && height <= kMostPixels / width;
}

struct ImageDamage {
  // INVALID_ARGUMENT: a file of another kind, or that is too large.
  ErrorCode code = ErrorCode::kDataLoss;
  std::string what;                       // "is damaged: Premature end of JPEG file"
};

struct DecodedImage {
  // Of the file that was decoded; -1 where there was none to read.
  int64_t file_bytes = -1;
  // Of the whole image; 0 where that could not be told, and there are no pixels then.
  int64_t height = 0, width = 0;
  // Of the file's pixels, or of its smaller version's, at least those of the region.
  ImageShape shape;
  std::vector<uint8_t> pixels;
  // The region in units of those pixels.
  double top = 0, left = 0, bottom = 0, right = 0;
  // What could not be decoded is grey.
  std::optional<ImageDamage> damage;

  // The region's pixels made to `vertical.length` x `horizontal.length`, of which a part is made:
  // begin and end are set here.
  void Resample(Span1d vertical, Span1d horizontal, uint8_t* out) const;
};

DecodedImage DecodeImage(std::span<const std::byte> bytes, const ChooseRegion& choose);

// Of a file's content. What is no file or too large is damaged, too; throws as base/file.h does
// where it cannot be read, and RESOURCE_EXHAUSTED where there is no memory for it.
DecodedImage DecodeImageFile(const std::filesystem::path& path, const ChooseRegion& choose);

// All of it, in its own size.
WantedRegion WholeImage(int64_t height, int64_t width);

namespace internal {

// -- The decoders of the formats ------------------------------------------------------------------

DecodedImage DecodeJpeg(std::span<const std::byte> bytes, const ChooseRegion& choose);
DecodedImage DecodePng(std::span<const std::byte> bytes, const ChooseRegion& choose);
DecodedImage DecodeWebp(std::span<const std::byte> bytes, const ChooseRegion& choose);

// Whether pixels of an image of this size can be taken: `image` says why not, else has them all,
// grey, and the whole region that is wanted.
bool BeginImage(DecodedImage& image, int64_t height, int64_t width);
void SetRegion(DecodedImage& image, const Region& region);
void AllGrey(DecodedImage& image);
void SetDamage(DecodedImage& image, const std::string& what);

}  // namespace internal
}  // namespace syncbn::data
