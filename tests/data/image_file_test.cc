// Image files: what is in them, how what is damaged is told, and their size and channels changed.
#include "data/image_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <png.h>

#include <cstdlib>
#include <fstream>

#include "base/error.h"
#include "base/file.h"
#include "tests/data/image_files.h"
#include "tests/support/temp_folder.h"

namespace syncbn::data {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

TEST(ImageFile, APngIsReadToTheBit) {
  const TempFolder folder;
  const fs::path path = folder.path() / "x.jpeg";  // whatever its name says
  const Image colours = Ramp(9, 14, 3);
  WritePng(path, colours, PNG_FORMAT_RGB);
  const Image read = ReadImage(path);
  EXPECT_EQ(read.shape, colours.shape);
  EXPECT_EQ(read.pixels, colours.pixels);
  const Image grey = Ramp(9, 14, 1);
  WritePng(path, grey, PNG_FORMAT_GRAY);
  EXPECT_EQ(WithChannels(ReadImage(path), 1).pixels, grey.pixels);
  // What is transparent lies on white.
  WritePng(path, {.shape = {1, 2, 4}, .pixels = {10, 20, 30, 255, 10, 20, 30, 0}}, PNG_FORMAT_RGBA);
  EXPECT_EQ(ReadImage(path).pixels, (std::vector<uint8_t>{10, 20, 30, 255, 255, 255}));
}

TEST(ImageFile, AJpegIsReadNearly) {
  const TempFolder folder;
  const fs::path path = folder.path() / "x.png";
  for (const int64_t channels : {1, 3}) {
    const Image image = Ramp(24, 40, channels);
    WriteJpeg(path, image);
    const Image read = WithChannels(ReadImage(path), channels);
    ASSERT_EQ(read.shape, image.shape);
    for (size_t i = 0; i < image.pixels.size(); ++i) {
      ASSERT_LE(std::abs(int{read.pixels[i]} - int{image.pixels[i]}), 6) << i;
    }
  }
}

TEST(ImageFile, AWebpIsReadToTheBit) {
  const TempFolder folder;
  const fs::path path = folder.path() / "x.webp";
  const Image image = Ramp(24, 40, 3);
  WriteWebp(path, image);
  const Image read = ReadImage(path);
  EXPECT_EQ(read.shape, image.shape);
  EXPECT_EQ(read.pixels, image.pixels);
}

TEST(ImageFile, EveryCutFileIsToldAndNamed) {
  const TempFolder folder;
  const fs::path whole = folder.path() / "whole", cut = folder.path() / "cut";
  const Image image = Ramp(24, 40, 3);
  for (const char* format : {"png", "jpeg", "webp"}) {
    SCOPED_TRACE(format);
    switch (*format) {
      case 'p':
        WritePng(whole, image);
        break;
      case 'j':
        WriteJpeg(whole, image);
        break;
      default:
        WriteWebp(whole, image);
    }
    const std::string bytes = ReadFile(whole);
    for (size_t size = 12; size + 16 < bytes.size(); size += 1 + bytes.size() / 40) {
      std::ofstream(cut, std::ios::binary) << bytes.substr(0, size);
      try {
        ReadImage(cut);
        ADD_FAILURE() << "the first " << size << " of " << bytes.size() << " bytes";
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kDataLoss);
        EXPECT_THAT(error.message(), HasSubstr(cut.string() + " is damaged: "));
      }
    }
  }
  std::ofstream(cut) << "GIF89a";
  try {
    ReadImage(cut);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    EXPECT_THAT(error.message(), HasSubstr("neither a JPEG nor a PNG nor a WebP"));
  }
  EXPECT_THROW(ReadImage(folder.path() / "none.png"), Error);
}

TEST(ImageFile, AFileThatClaimsToBeHugeIsRefused) {
  const TempFolder folder;
  const fs::path path = folder.path() / "x.png";
  WritePng(path, Ramp(4, 4, 3), PNG_FORMAT_RGB);
  std::string bytes = ReadFile(path);
  // IHDR's width and height, and the checksum over them.
  for (const size_t at : {16, 20}) bytes.replace(at, 4, std::string("\x00\x0f\x00\x00", 4));
  const auto checksum = [](const std::string& text) {
    uint32_t crc = ~0U;
    for (const char c : text) {
      crc ^= static_cast<uint8_t>(c);
      for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xedb88320U : 0U);
    }
    return ~crc;
  }(bytes.substr(12, 17));
  for (size_t i = 0; i < 4; ++i) bytes[29 + i] = static_cast<char>(checksum >> (24 - 8 * i) & 0xff);
  std::ofstream(path, std::ios::binary) << bytes;
  try {
    ReadImage(path);
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.message(), HasSubstr("x.png"));
    EXPECT_THAT(error.message(), HasSubstr("983040 x 983040 pixels"));
  }
}

TEST(Image, GreyIsLumaAndGreyAsColoursIsItself) {
  const Image image{.shape = {1, 3, 3}, .pixels = {255, 0, 0, 0, 255, 0, 9, 9, 9}};
  EXPECT_EQ(WithChannels(image, 1).pixels, (std::vector<uint8_t>{76, 150, 9}));
  EXPECT_EQ(WithChannels({.shape = {1, 2, 1}, .pixels = {7, 200}}, 3).pixels,
            (std::vector<uint8_t>{7, 7, 7, 200, 200, 200}));
}

TEST(Image, ResizedAreMeansUnderATriangle) {
  const Image image = Ramp(8, 8, 3);
  EXPECT_EQ(Resized(image, 8, 8).pixels, image.pixels);
  // What is even stays even.
  Image even{.shape = {5, 7, 1}, .pixels = std::vector<uint8_t>(35, 77)};
  for (const auto& [height, width] : {std::pair{2, 3}, {11, 16}, {1, 1}, {5, 30}}) {
    const Image resized = Resized(even, height, width);
    EXPECT_EQ(resized.pixels, std::vector<uint8_t>(static_cast<size_t>(height * width), 77));
  }
  // PIL: Image.fromarray([[0, 100, 200, 40]]).resize((2, 1), BILINEAR), weights 3/7 3/7 1/7.
  EXPECT_EQ(Resized({.shape = {1, 4, 1}, .pixels = {0, 100, 200, 40}}, 1, 2).pixels,
            (std::vector<uint8_t>{71, 117}));
  // Twice as wide: 3/4 of the nearest and 1/4 of the next.
  EXPECT_EQ(Resized({.shape = {1, 2, 1}, .pixels = {0, 100}}, 1, 4).pixels,
            (std::vector<uint8_t>{0, 25, 75, 100}));
}

TEST(Image, TheMiddleIsCutOutOfTheResizedImage) {
  const Image image = Ramp(30, 50, 3);
  // 30 x 50 becomes 12 x 20, of which 8 x 8 lie in rows 2 to 9 and columns 6 to 13.
  const Image resized = Resized(image, 12, 20);
  const Image middle = Middle(image, {.shorter_side = 12, .height = 8, .width = 8});
  ASSERT_EQ(middle.shape, (ImageShape{8, 8, 3}));
  for (int64_t y = 0; y < 8; ++y) {
    for (int64_t i = 0; i < 24; ++i) {
      EXPECT_EQ(middle.pixels[static_cast<size_t>(y * 24 + i)],
                resized.pixels[static_cast<size_t>((y + 2) * 60 + 18 + i)]);
    }
  }
}

}  // namespace
}  // namespace syncbn::data
