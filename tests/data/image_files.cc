#include "tests/data/image_files.h"

#include <gtest/gtest.h>
#include <png.h>
#include <webp/encode.h>

#include <chrono>
#include <cstdio>
#include <fstream>

// After <cstdio>, whose types it takes for granted.
#include <jpeglib.h>

namespace syncbn::data {

void WritePng(const std::filesystem::path& path, const Image& image, uint32_t format) {
  png_image png{};
  png.version = PNG_IMAGE_VERSION;
  png.width = static_cast<uint32_t>(image.shape.width);
  png.height = static_cast<uint32_t>(image.shape.height);
  png.format = format;
  ASSERT_NE(png_image_write_to_file(&png, path.c_str(), 0, image.pixels.data(), 0, nullptr), 0)
      << png.message;
}

void WritePng(const std::filesystem::path& path, const Image& image) {
  WritePng(path, image, PNG_FORMAT_RGB);
}

namespace {

void WriteJpeg(const std::filesystem::path& path, const Image& image, bool progressive) {
  jpeg_compress_struct info{};
  jpeg_error_mgr errors{};
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  std::FILE* const file = std::fopen(path.c_str(), "wb");
  ASSERT_NE(file, nullptr);
  jpeg_stdio_dest(&info, file);
  info.image_width = static_cast<unsigned>(image.shape.width);
  info.image_height = static_cast<unsigned>(image.shape.height);
  info.input_components = static_cast<int>(image.shape.channels);
  info.in_color_space = image.shape.channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, 95, TRUE);
  if (progressive) jpeg_simple_progression(&info);
  jpeg_start_compress(&info, TRUE);
  const auto line = static_cast<size_t>(image.shape.width * image.shape.channels);
  while (info.next_scanline < info.image_height) {
    auto* row = const_cast<JSAMPROW>(image.pixels.data() + line * info.next_scanline);
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  std::fclose(file);
}

}  // namespace

void WriteJpeg(const std::filesystem::path& path, const Image& image) {
  WriteJpeg(path, image, false);
}

void WriteProgressiveJpeg(const std::filesystem::path& path, const Image& image) {
  WriteJpeg(path, image, true);
}

std::string WithFrame(std::string jpeg, size_t offset, int value) {
  // Marker, length, bits of a sample, height, width.
  const size_t frame = jpeg.find(std::string("\xff\xc0\x00\x11", 4)) + 4;
  if (offset > 0) jpeg.at(frame + offset++) = static_cast<char>(value >> 8);
  jpeg.at(frame + offset) = static_cast<char>(value & 0xff);
  return jpeg;
}

void WriteWebp(const std::filesystem::path& path, const Image& image) {
  uint8_t* bytes = nullptr;
  const size_t size = WebPEncodeLosslessRGB(
      image.pixels.data(), static_cast<int>(image.shape.width),
      static_cast<int>(image.shape.height), static_cast<int>(3 * image.shape.width), &bytes);
  ASSERT_GT(size, 0u);
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes), static_cast<std::streamsize>(size));
  WebPFree(bytes);
}

void SettleFolder(const std::filesystem::path& folder) {
  namespace fs = std::filesystem;
  const auto before = fs::file_time_type::clock::now() - std::chrono::seconds(60);
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file() || entry.is_directory()) fs::last_write_time(entry, before);
  }
  fs::last_write_time(folder, before);
}

Image Ramp(int64_t height, int64_t width, int64_t channels, int shift) {
  Image image{.shape = {height, width, channels}, .pixels = {}};
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      for (int64_t c = 0; c < channels; ++c) {
        image.pixels.push_back(
            static_cast<uint8_t>(shift + (c == 2 ? 100 : 40 + 3 * (c == 0 ? x : y))));
      }
    }
  }
  return image;
}

}  // namespace syncbn::data
