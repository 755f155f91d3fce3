// Image files: what is in them, how what is damaged is told, and their size and channels changed.
#include "data/image_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <png.h>
#include <sys/stat.h>

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
  // As PIL's convert("RGB"): transparency is not looked at.
  WritePng(path, {.shape = {1, 2, 4}, .pixels = {10, 20, 30, 255, 40, 50, 60, 0}}, PNG_FORMAT_RGBA);
  EXPECT_EQ(ReadImage(path).pixels, (std::vector<uint8_t>{10, 20, 30, 40, 50, 60}));
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

// The message of what reading throws; empty where it does not.
std::string Refusal(const fs::path& path, ErrorCode code) {
  try {
    ReadImage(path);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.message();
    return error.message();
  }
  return "";
}

TEST(ImageFile, WhatALibraryMerelyWondersAtIsNoDamage) {
  const TempFolder folder;
  const fs::path whole = folder.path() / "whole.jpg", odd = folder.path() / "odd.jpg";
  WriteJpeg(whole, Ramp(24, 40, 3));
  const std::string bytes = ReadFile(whole);
  const std::vector<uint8_t> pixels = ReadImage(whole).pixels;
  std::string future = bytes;
  future.at(future.find("JFIF") + 5) = 9;  // JFIF 9.01
  std::string more = bytes;
  more.insert(bytes.find("\xff\xda"), 5, '\0');
  for (const std::string& text : {future, more}) {
    std::ofstream(odd, std::ios::binary) << text;
    EXPECT_EQ(ReadImage(odd).pixels, pixels);
  }
  // But a mark of the end that is missing is, and zeros in its place are.
  for (const std::string& end : {std::string(), std::string(4000, '\0')}) {
    std::ofstream(odd, std::ios::binary) << bytes.substr(0, bytes.size() - 2) << end;
    EXPECT_THAT(Refusal(odd, ErrorCode::kDataLoss), HasSubstr("is damaged: Premature end"));
  }
  // So is a scan that is missing.
  WriteProgressiveJpeg(whole, Ramp(24, 40, 3));
  const std::string progressive = ReadFile(whole);
  ReadImage(whole);
  std::ofstream(odd, std::ios::binary) << progressive.substr(0, progressive.rfind("\xff\xda"));
  EXPECT_THAT(Refusal(odd, ErrorCode::kDataLoss), HasSubstr("is damaged: Premature end"));
}

TEST(ImageFile, AJpegOfThousandsOfScansIsRefused) {
  const TempFolder folder;
  const fs::path path = folder.path() / "bomb.jpg";
  WriteProgressiveJpeg(path, Ramp(64, 64, 3));
  const std::string bytes = ReadFile(path);
  // The last scan of all three channels: one bit of each block's mean.
  const size_t scan = bytes.rfind(std::string("\xff\xda\x00\x0c\x03", 5));
  const size_t length = bytes.find("\xff\xc4", scan) - scan, end = bytes.rfind("\xff\xd9");
  const auto with = [&](int scans) {
    std::string text = bytes.substr(0, end);
    for (int i = 0; i < scans; ++i) text += bytes.substr(scan, length);
    std::ofstream(path, std::ios::binary) << text << bytes.substr(end);
  };
  with(100);
  EXPECT_EQ(Refusal(path, ErrorCode::kInvalidArgument), "");
  with(600);
  EXPECT_THAT(Refusal(path, ErrorCode::kInvalidArgument), HasSubstr("more than 500 scans"));
}

TEST(ImageFile, AJpegOfAnotherKindIsNotCalledDamaged) {
  const TempFolder folder;
  const fs::path path = folder.path() / "x.jpg";
  WriteJpeg(path, Ramp(24, 40, 3));
  const std::string deep = WithFrame(ReadFile(path), 0, 12);
  std::ofstream(path, std::ios::binary) << deep;
  EXPECT_THAT(Refusal(path, ErrorCode::kInvalidArgument),
              HasSubstr("x.jpg is a JPEG that is not decoded: Unsupported JPEG data precision 12"));
}

TEST(ImageFile, WhatIsNoFileIsNotWaitedFor) {
  const TempFolder folder;
  const fs::path pipe = folder.path() / "pipe.png", large = folder.path() / "large.png";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_EQ(Refusal(pipe, ErrorCode::kInvalidArgument), pipe.string() + " is a pipe, not a file");
  std::ofstream(large) << "x";
  fs::resize_file(large, uintmax_t{1} << 40);  // a hole
  EXPECT_EQ(Refusal(large, ErrorCode::kInvalidArgument),
            large.string() + " has 1099511627776 bytes, more than 1073741824");
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
    EXPECT_THAT(error.message(),
                HasSubstr("983040 x 983040 pixels, more than 178956970: it is taken for a "
                          "decompression bomb"));
  }
  const fs::path jpeg = folder.path() / "x.jpg";
  WriteJpeg(jpeg, Ramp(4, 4, 3));
  const std::string huge = WithFrame(WithFrame(ReadFile(jpeg), 1, 65500), 3, 65500);
  std::ofstream(jpeg, std::ios::binary) << huge;
  EXPECT_THAT(Refusal(jpeg, ErrorCode::kInvalidArgument), HasSubstr("65500 x 65500 pixels"));
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
