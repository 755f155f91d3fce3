#include "data/decode_image.h"

#include <webp/decode.h>

#include <algorithm>
#include <cmath>
#include <new>
#include <string_view>

#include "base/printable.h"
#include "base/regular_file.h"

namespace syncbn::data {
namespace internal {

void SetRegion(DecodedImage& image, const Region& region) {
  image.top = static_cast<double>(region.top);
  image.left = static_cast<double>(region.left);
  image.bottom = static_cast<double>(region.top + region.height);
  image.right = static_cast<double>(region.left + region.width);
}

void AllGrey(DecodedImage& image) {
  image.shape = {.height = image.height, .width = image.width, .channels = 3};
  image.pixels.assign(static_cast<size_t>(image.shape.elements()), 128);
}

bool BeginImage(DecodedImage& image, int64_t height, int64_t width) {
  if (height <= 0 || width <= 0) {
    SetDamage(image, "it has no pixels");
    return false;
  }
  if (!IsDecodedSize(height, width)) {
    image.damage = {.code = ErrorCode::kInvalidArgument,
                    .what = "has " + std::to_string(height) + " x " + std::to_string(width) +
                            " pixels, more than " + std::to_string(kMostPixels) +
                            ": it is taken for a decompression bomb, as by PIL"};
    return false;
  }
  image.height = height;
  image.width = width;
  return true;
}

void SetDamage(DecodedImage& image, const std::string& what) {
  image.damage = {.code = ErrorCode::kDataLoss, .what = "is damaged: " + what};
}

DecodedImage DecodeWebp(std::span<const std::byte> bytes, const ChooseRegion& choose) {
  DecodedImage image;
  const auto* data = reinterpret_cast<const uint8_t*>(bytes.data());
  WebPBitstreamFeatures features;
  if (WebPGetFeatures(data, bytes.size(), &features) != VP8_STATUS_OK) {
    SetDamage(image, "its WebP header is cut off or wrong");
    return image;
  }
  if (features.has_animation != 0) {
    image.damage = {.code = ErrorCode::kInvalidArgument, .what = "is an animation"};
    return image;
  }
  if (!BeginImage(image, features.height, features.width)) return image;
  SetRegion(image, choose(image.height, image.width).region);
  AllGrey(image);
  WebPDecoderConfig config;
  if (WebPInitDecoderConfig(&config) == 0) throw std::bad_alloc();
  config.output.colorspace = MODE_RGB;  // also of what has a channel of transparency
  config.output.is_external_memory = 1;
  config.output.u.RGBA = {
      .rgba = image.pixels.data(), .stride = 3 * features.width, .size = image.pixels.size()};
  const VP8StatusCode status = WebPDecode(data, bytes.size(), &config);
  if (status == VP8_STATUS_OUT_OF_MEMORY) throw std::bad_alloc();
  if (status != VP8_STATUS_OK) {
    AllGrey(image);
    SetDamage(image, "its WebP data are cut off or wrong");
  }
  return image;
}

}  // namespace internal

void DecodedImage::Resample(Span1d vertical, Span1d horizontal, uint8_t* out) const {
  const auto begin = [](double from) { return static_cast<int64_t>(std::floor(from)); };
  const auto end = [](double to, int64_t most) {
    return std::min(most, static_cast<int64_t>(std::ceil(to)));
  };
  const int64_t first_row = begin(top), first_column = begin(left);
  const int64_t line = shape.width * shape.channels;
  vertical.begin = top - static_cast<double>(first_row);
  vertical.end = bottom - static_cast<double>(first_row);
  horizontal.begin = left - static_cast<double>(first_column);
  horizontal.end = right - static_cast<double>(first_column);
  data::Resample({.pixels = pixels.data() + first_row * line + first_column * shape.channels,
                  .height = end(bottom, shape.height) - first_row,
                  .width = end(right, shape.width) - first_column,
                  .channels = shape.channels,
                  .row_bytes = line},
                 vertical, horizontal, out);
}

DecodedImage DecodeImage(std::span<const std::byte> bytes, const ChooseRegion& choose) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (text.starts_with("\x89PNG")) return internal::DecodePng(bytes, choose);
  if (text.starts_with("\xff\xd8\xff")) return internal::DecodeJpeg(bytes, choose);
  if (text.starts_with("RIFF") && text.substr(0, 12).ends_with("WEBP")) {
    return internal::DecodeWebp(bytes, choose);
  }
  DecodedImage none;
  if (bytes.empty()) {
    internal::SetDamage(none, "it is empty");
  } else {
    none.damage = {.code = ErrorCode::kInvalidArgument,
                   .what = "is neither a JPEG nor a PNG nor a WebP"};
  }
  return none;
}

DecodedImage DecodeImageFile(const std::filesystem::path& path, const ChooseRegion& choose) {
  std::vector<std::byte> bytes;
  try {
    bytes = ReadRegularFile(path, kMostFileBytes);
    DecodedImage image = DecodeImage(bytes, choose);
    image.file_bytes = static_cast<int64_t>(bytes.size());
    return image;
  } catch (const UnfitFile& unfit) {
    DecodedImage none;
    none.damage = {.code = unfit.code(), .what = unfit.why()};
    return none;
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::kResourceExhausted, "there is no memory to decode " +
                                                   OneLine(path.string()) + ", of " +
                                                   std::to_string(bytes.size()) + " bytes");
  }
}

WantedRegion WholeImage(int64_t height, int64_t width) {
  return {.region = {.height = height, .width = width}, .height = height, .width = width};
}

}  // namespace syncbn::data
