#include "data/decode_image.h"

#include <png.h>
#include <webp/decode.h>

#include <algorithm>
#include <cmath>
#include <string_view>

namespace syncbn::data {
namespace internal {
namespace {

// A small file may claim to be huge.
constexpr int64_t kMostPixels = int64_t{1} << 27;

void SetRegion(DecodedImage& image, const Region& region) {
  image.top = static_cast<double>(region.top);
  image.left = static_cast<double>(region.left);
  image.bottom = static_cast<double>(region.top + region.height);
  image.right = static_cast<double>(region.left + region.width);
}

void AllGrey(DecodedImage& image, int64_t height, int64_t width) {
  image.shape = {.height = height, .width = width, .channels = 3};
  image.pixels.assign(static_cast<size_t>(image.shape.elements()), 128);
}

}  // namespace

bool BeginImage(DecodedImage& image, int64_t height, int64_t width) {
  if (height <= 0 || width <= 0) {
    SetDamage(image, "it has no pixels");
    return false;
  }
  if (height > kMostPixels / width) {
    image.damage = {.code = ErrorCode::kInvalidArgument,
                    .what = "has " + std::to_string(height) + " x " + std::to_string(width) +
                            " pixels, more than " + std::to_string(kMostPixels)};
    return false;
  }
  image.height = height;
  image.width = width;
  return true;
}

void SetDamage(DecodedImage& image, const std::string& what) {
  image.damage = {.code = ErrorCode::kDataLoss, .what = "is damaged: " + what};
}

DecodedImage DecodePng(std::span<const std::byte> bytes, const ChooseRegion& choose) {
  DecodedImage image;
  png_image png{};
  png.version = PNG_IMAGE_VERSION;
  // Frees what the library holds, whatever is thrown.
  struct Free {
    png_image* png;
    ~Free() { png_image_free(png); }
  } free{&png};
  if (png_image_begin_read_from_memory(&png, bytes.data(), bytes.size()) == 0) {
    SetDamage(image, png.message);
    return image;
  }
  if (!BeginImage(image, png.height, png.width)) return image;
  SetRegion(image, choose(image.height, image.width).region);
  AllGrey(image, image.height, image.width);
  png.format = PNG_FORMAT_RGB;
  // Else values of 16 bits that say nothing of it were taken for linear light.
  png.flags |= PNG_IMAGE_FLAG_16BIT_sRGB;
  const png_color white{.red = 255, .green = 255, .blue = 255};
  if (png_image_finish_read(&png, &white, image.pixels.data(), 0, nullptr) == 0) {
    AllGrey(image, image.height, image.width);  // rows that were read may be wrong
    SetDamage(image, png.message);
  }
  return image;
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
  AllGrey(image, image.height, image.width);
  const auto pixels = static_cast<size_t>(image.height * image.width);
  const size_t samples = features.has_alpha != 0 ? 4 : 3;
  std::vector<uint8_t> raw(pixels * samples);
  const int line = static_cast<int>(samples) * features.width;
  const uint8_t* decoded =
      samples == 4 ? WebPDecodeRGBAInto(data, bytes.size(), raw.data(), raw.size(), line)
                   : WebPDecodeRGBInto(data, bytes.size(), raw.data(), raw.size(), line);
  if (decoded == nullptr) {
    SetDamage(image, "its WebP data are cut off or wrong");
  } else if (samples == 3) {
    image.pixels = std::move(raw);
  } else {
    for (size_t i = 0; i < pixels; ++i) {
      const uint32_t alpha = raw[4 * i + 3];
      for (size_t c = 0; c < 3; ++c) {
        image.pixels[3 * i + c] =
            static_cast<uint8_t>((raw[4 * i + c] * alpha + 255 * (255 - alpha) + 127) / 255);
      }
    }
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

WantedRegion WholeImage(int64_t height, int64_t width) {
  return {.region = {.height = height, .width = width}, .height = height, .width = width};
}

}  // namespace syncbn::data
