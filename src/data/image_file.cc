#include "data/image_file.h"

#include <png.h>

#include <algorithm>
#include <cmath>
#include <csetjmp>
#include <cstddef>
#include <cstdio>
#include <span>
#include <string>
#include <utility>

// After <cstdio>, whose types it takes for granted.
#include <jpeglib.h>

#include "base/check.h"
#include "base/error.h"
#include "base/file.h"

namespace syncbn::data {
namespace {

// A small file may claim to be huge.
constexpr int64_t kMostPixels = int64_t{1} << 27;

[[noreturn]] void Damaged(const std::filesystem::path& path, const std::string& what) {
  throw Error(ErrorCode::kDataLoss, path.string() + " is damaged: " + what);
}

Image Sized(const std::filesystem::path& path, int64_t height, int64_t width) {
  if (height <= 0 || width <= 0) Damaged(path, "it has no pixels");
  if (height > kMostPixels / width) {
    throw Error(ErrorCode::kInvalidArgument,
                path.string() + " has " + std::to_string(height) + " x " + std::to_string(width) +
                    " pixels, more than " + std::to_string(kMostPixels));
  }
  return {.shape = {.height = height, .width = width, .channels = 3},
          .pixels = std::vector<uint8_t>(static_cast<size_t>(3 * height * width))};
}

Image DecodePng(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  png_image png{};
  png.version = PNG_IMAGE_VERSION;
  // Frees what the library holds, whatever is thrown.
  struct Free {
    png_image* png;
    ~Free() { png_image_free(png); }
  } free{&png};
  if (png_image_begin_read_from_memory(&png, bytes.data(), bytes.size()) == 0) {
    Damaged(path, png.message);
  }
  Image image = Sized(path, png.height, png.width);
  png.format = PNG_FORMAT_RGB;
  const png_color white{.red = 255, .green = 255, .blue = 255};
  if (png_image_finish_read(&png, &white, image.pixels.data(), 0, nullptr) == 0) {
    Damaged(path, png.message);
  }
  return image;
}

// What libjpeg calls where it cannot go on: it must not return.
struct JpegFailure {
  jpeg_error_mgr manager;
  std::jmp_buf back;
  char message[JMSG_LENGTH_MAX];
};

void LeaveJpeg(j_common_ptr info) {
  auto* failure = reinterpret_cast<JpegFailure*>(info->err);
  info->err->format_message(info, failure->message);
  std::longjmp(failure->back, 1);
}

// Warnings are of data that is missing or wrong: what is left of the picture is not what somebody
// took.
void TakeWarning(j_common_ptr info, int level) {
  if (level < 0) LeaveJpeg(info);
}

// Decodes in two steps, between which nothing that has a destructor comes to life: longjmp passes
// none. False: the failure says why.
class JpegDecoder {
 public:
  explicit JpegDecoder(std::span<const std::byte> bytes) : bytes_(bytes) {
    info_.err = jpeg_std_error(&failure_.manager);
    failure_.manager.error_exit = LeaveJpeg;
    failure_.manager.emit_message = TakeWarning;
  }
  ~JpegDecoder() { jpeg_destroy_decompress(&info_); }
  JpegDecoder(const JpegDecoder&) = delete;
  JpegDecoder& operator=(const JpegDecoder&) = delete;

  bool Begin() {
    if (setjmp(failure_.back) != 0) return false;
    jpeg_create_decompress(&info_);
    jpeg_mem_src(&info_, reinterpret_cast<const unsigned char*>(bytes_.data()), bytes_.size());
    jpeg_read_header(&info_, TRUE);
    info_.out_color_space = JCS_RGB;
    return true;
  }
  bool Read(uint8_t* pixels) {
    if (setjmp(failure_.back) != 0) return false;
    jpeg_start_decompress(&info_);
    while (info_.output_scanline < info_.output_height) {
      JSAMPROW row = pixels + size_t{3} * info_.output_width * info_.output_scanline;
      jpeg_read_scanlines(&info_, &row, 1);
    }
    jpeg_finish_decompress(&info_);
    return true;
  }

  int64_t height() const { return info_.image_height; }
  int64_t width() const { return info_.image_width; }
  const char* message() const { return failure_.message; }

 private:
  std::span<const std::byte> bytes_;
  jpeg_decompress_struct info_{};
  JpegFailure failure_{};
};

Image DecodeJpeg(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  JpegDecoder decoder(bytes);
  if (!decoder.Begin()) Damaged(path, decoder.message());
  Image image = Sized(path, decoder.height(), decoder.width());
  if (!decoder.Read(image.pixels.data())) Damaged(path, decoder.message());
  return image;
}

bool BeginsWith(std::span<const std::byte> bytes, std::initializer_list<int> magic) {
  return bytes.size() >= magic.size() &&
         std::equal(magic.begin(), magic.end(), bytes.begin(),
                    [](int a, std::byte b) { return a == std::to_integer<int>(b); });
}

// One row or column of the result: the first pixel that counts, and the weights from there on.
struct Window {
  int64_t first = 0;
  std::vector<double> weights;
};

std::vector<Window> Windows(int64_t from, int64_t to) {
  const double scale = static_cast<double>(from) / static_cast<double>(to),
               reach = std::max(1.0, scale);
  std::vector<Window> windows;
  for (int64_t i = 0; i < to; ++i) {
    const double centre = (static_cast<double>(i) + 0.5) * scale;
    Window window{.first =
                      std::max<int64_t>(0, static_cast<int64_t>(std::floor(centre - reach + 0.5)))};
    const int64_t last = std::min(from, static_cast<int64_t>(std::floor(centre + reach + 0.5)));
    double sum = 0;
    for (int64_t k = window.first; k < last; ++k) {
      const double distance = std::abs(static_cast<double>(k) + 0.5 - centre) / reach;
      window.weights.push_back(std::max(0.0, 1 - distance));
      sum += window.weights.back();
    }
    for (double& weight : window.weights) weight /= sum;
    windows.push_back(std::move(window));
  }
  return windows;
}

}  // namespace

Image ReadImage(const std::filesystem::path& path) {
  const std::vector<std::byte> bytes = ReadFileBytes(path);
  if (BeginsWith(bytes, {0x89, 'P', 'N', 'G'})) return DecodePng(path, bytes);
  if (BeginsWith(bytes, {0xff, 0xd8, 0xff})) return DecodeJpeg(path, bytes);
  throw Error(ErrorCode::kInvalidArgument, path.string() + " is neither a PNG nor a JPEG");
}

Image WithChannels(const Image& image, int64_t channels) {
  SYNCBN_CHECK((channels == 1 || channels == 3) &&
               (image.shape.channels == 1 || image.shape.channels == 3));
  if (channels == image.shape.channels) return image;
  Image result{.shape = image.shape};
  result.shape.channels = channels;
  result.pixels.reserve(static_cast<size_t>(result.shape.elements()));
  if (channels == 3) {
    for (const uint8_t grey : image.pixels) result.pixels.insert(result.pixels.end(), 3, grey);
    return result;
  }
  for (size_t i = 0; i < image.pixels.size(); i += 3) {
    const uint32_t red = image.pixels[i], green = image.pixels[i + 1], blue = image.pixels[i + 2];
    result.pixels.push_back(
        static_cast<uint8_t>((19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16));
  }
  return result;
}

Image Resized(const Image& image, int64_t height, int64_t width) {
  const ImageShape& shape = image.shape;
  if (shape.height == height && shape.width == width) return image;
  const std::vector<Window> columns = Windows(shape.width, width),
                            rows = Windows(shape.height, height);
  const int64_t channels = shape.channels;
  // Every row of the source, as wide as the result.
  std::vector<double> narrow(static_cast<size_t>(shape.height * width * channels));
  size_t at = 0;
  for (int64_t y = 0; y < shape.height; ++y) {
    for (const Window& window : columns) {
      for (int64_t c = 0; c < channels; ++c, ++at) {
        const uint8_t* pixel =
            image.pixels.data() + (y * shape.width + window.first) * channels + c;
        for (const double weight : window.weights) {
          narrow[at] += weight * *pixel;
          pixel += channels;
        }
      }
    }
  }
  Image result{.shape = {.height = height, .width = width, .channels = channels}};
  const int64_t line = width * channels;
  for (const Window& window : rows) {
    for (int64_t x = 0; x < line; ++x) {
      double sum = 0;
      for (size_t k = 0; k < window.weights.size(); ++k) {
        sum += window.weights[k] *
               narrow[static_cast<size_t>((window.first + static_cast<int64_t>(k)) * line + x)];
      }
      result.pixels.push_back(static_cast<uint8_t>(std::clamp(std::floor(sum + 0.5), 0.0, 255.0)));
    }
  }
  return result;
}

}  // namespace syncbn::data
