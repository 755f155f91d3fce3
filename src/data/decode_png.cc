// PNG by libpng, with the bytes of PIL's convert("RGB").
#include <png.h>

#include <algorithm>
#include <csetjmp>
#include <cstring>
#include <new>
#include <string_view>

#include "data/decode_image.h"

namespace syncbn::data::internal {
namespace {

struct PngState {
  const std::byte* next = nullptr;
  size_t left = 0;
  char message[128] = "";
};

// What libpng calls where it cannot go on: it must not return.
void LeavePng(png_structp png, png_const_charp message) {
  auto* state = static_cast<PngState*>(png_get_error_ptr(png));
  std::strncpy(state->message, message, sizeof(state->message) - 1);
  png_longjmp(png, 1);
}

// Of profiles, texts and the like.
void PassWarning(png_structp, png_const_charp) {}

void ReadPng(png_structp png, png_bytep to, size_t size) {
  auto* state = static_cast<PngState*>(png_get_io_ptr(png));
  if (size > state->left) png_error(png, "the file ends too early");
  std::memcpy(to, state->next, size);
  state->next += size;
  state->left -= size;
}

// Decodes in steps, between which nothing that has a destructor comes to life: longjmp passes none.
// False: it could not go on.
class PngDecoder {
 public:
  explicit PngDecoder(std::span<const std::byte> bytes)
      : state_{.next = bytes.data(), .left = bytes.size()},
        png_(png_create_read_struct(PNG_LIBPNG_VER_STRING, &state_, LeavePng, PassWarning)),
        info_(png_ == nullptr ? nullptr : png_create_info_struct(png_)) {}
  ~PngDecoder() { png_destroy_read_struct(&png_, &info_, nullptr); }
  PngDecoder(const PngDecoder&) = delete;
  PngDecoder& operator=(const PngDecoder&) = delete;

  bool Begin() {
    if (info_ == nullptr) throw std::bad_alloc();
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_set_read_fn(png_, &state_, ReadPng);
    // The number of pixels is limited, not the longer side.
    png_set_user_limits(png_, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_read_info(png_, info_);
    return true;
  }
  // All rows, 3 bytes a pixel.
  bool Read(uint8_t* pixels) {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_set_strip_16(png_);
    const int kind = png_get_color_type(png_, info_);
    if (kind == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png_);
    if (kind == PNG_COLOR_TYPE_GRAY) png_set_expand_gray_1_2_4_to_8(png_);
    if ((kind & PNG_COLOR_MASK_COLOR) == 0) png_set_gray_to_rgb(png_);
    png_set_strip_alpha(png_);
    const int passes = png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    const size_t line = png_get_rowbytes(png_, info_);
    if (line != size_t{3} * png_get_image_width(png_, info_)) png_error(png_, "of another kind");
    const png_uint_32 rows = png_get_image_height(png_, info_);
    for (int pass = 0; pass < passes; ++pass) {
      for (png_uint_32 row = 0; row < rows; ++row) {
        png_read_row(png_, pixels + row * line, nullptr);
      }
    }
    return true;
  }

  int64_t height() const { return png_get_image_height(png_, info_); }
  int64_t width() const { return png_get_image_width(png_, info_); }
  // Throws bad_alloc where it was that.
  const char* message() const {
    if (std::string_view(state_.message) == "Out of memory") throw std::bad_alloc();
    return state_.message;
  }

 private:
  PngState state_;
  png_structp png_;
  png_infop info_;
};

}  // namespace

DecodedImage DecodePng(std::span<const std::byte> bytes, const ChooseRegion& choose) {
  DecodedImage image;
  PngDecoder decoder(bytes);
  if (!decoder.Begin()) {
    SetDamage(image, decoder.message());
    return image;
  }
  if (!BeginImage(image, decoder.height(), decoder.width())) return image;
  SetRegion(image, choose(image.height, image.width).region);
  AllGrey(image);
  if (!decoder.Read(image.pixels.data())) {
    AllGrey(image);  // rows that were read may be wrong
    SetDamage(image, decoder.message());
  }
  return image;
}

}  // namespace syncbn::data::internal
