// JPEG by libjpeg-turbo: of a region no more than its rows and columns, in a smaller size where
// that does.
#include <algorithm>
#include <cmath>
#include <csetjmp>
#include <cstdio>

// After <cstdio>, whose types it takes for granted.
#include <jerror.h>
#include <jpeglib.h>

#include "data/decode_image.h"

namespace syncbn::data::internal {
namespace {

// Columns beside a region that are decoded with it: what is next to the edge of a part is
// interpolated from fewer pixels (a chroma sample covers up to 4 columns).
constexpr int64_t kMargin = 8;

// What libjpeg calls where it cannot go on: it must not return.
struct JpegState {
  jpeg_error_mgr manager;
  std::jmp_buf back;
  bool damaged = false;
  char message[JMSG_LENGTH_MAX];  // the first
};

void Note(j_common_ptr info) {
  auto* state = reinterpret_cast<JpegState*>(info->err);
  if (state->damaged) return;
  state->damaged = true;
  info->err->format_message(info, state->message);
}

void LeaveJpeg(j_common_ptr info) {
  Note(info);
  std::longjmp(reinterpret_cast<JpegState*>(info->err)->back, 1);
}

// Warnings are of data that is missing or wrong: what is left of the picture is not what somebody
// took. Bytes too many between two markers are common, and cost nothing of it.
void TakeWarning(j_common_ptr info, int level) {
  if (level < 0 && info->err->msg_code != JWRN_EXTRANEOUS_DATA) Note(info);
}

// Decodes in steps, between which nothing that has a destructor comes to life: longjmp passes none.
// False: it could not go on.
class JpegDecoder {
 public:
  explicit JpegDecoder(std::span<const std::byte> bytes) : bytes_(bytes) {
    info_.err = jpeg_std_error(&state_.manager);
    state_.manager.error_exit = LeaveJpeg;
    state_.manager.emit_message = TakeWarning;
  }
  ~JpegDecoder() { jpeg_destroy_decompress(&info_); }
  JpegDecoder(const JpegDecoder&) = delete;
  JpegDecoder& operator=(const JpegDecoder&) = delete;

  bool Begin() {
    if (setjmp(state_.back) != 0) return false;
    jpeg_create_decompress(&info_);
    jpeg_mem_src(&info_, reinterpret_cast<const unsigned char*>(bytes_.data()), bytes_.size());
    jpeg_read_header(&info_, TRUE);
    cmyk_ = info_.jpeg_color_space == JCS_CMYK || info_.jpeg_color_space == JCS_YCCK;
    info_.out_color_space = cmyk_ ? JCS_CMYK : JCS_RGB;
    return true;
  }
  // In `eighths` of its size.
  bool Start(unsigned eighths) {
    if (setjmp(state_.back) != 0) return false;
    info_.scale_num = eighths;
    info_.scale_denom = 8;
    jpeg_start_decompress(&info_);
    return true;
  }
  // Leaves out what is left and right of [left, right), but for what cannot be left out: those
  // columns are set.
  bool Crop(int64_t& left, int64_t& right) {
    auto offset = static_cast<JDIMENSION>(left), width = static_cast<JDIMENSION>(right - left);
    if (setjmp(state_.back) != 0) return false;
    jpeg_crop_scanline(&info_, &offset, &width);
    left = offset;
    right = int64_t{offset} + width;
    return true;
  }
  // Rows [top, bottom) to `pixels`, of the columns that are left.
  bool Read(int64_t top, int64_t bottom, uint8_t* pixels) {
    if (setjmp(state_.back) != 0) return false;
    if (top > 0) jpeg_skip_scanlines(&info_, static_cast<JDIMENSION>(top));
    const auto first = static_cast<JDIMENSION>(top), end = static_cast<JDIMENSION>(bottom);
    while (info_.output_scanline < end) {
      JSAMPROW row = pixels + size_t{info_.output_width} * static_cast<size_t>(samples()) *
                                  (info_.output_scanline - first);
      jpeg_read_scanlines(&info_, &row, 1);
    }
    if (info_.output_scanline == info_.output_height) jpeg_finish_decompress(&info_);
    return true;
  }

  int64_t height() const { return info_.image_height; }
  int64_t width() const { return info_.image_width; }
  int64_t output_height() const { return info_.output_height; }
  int64_t output_width() const { return info_.output_width; }
  bool cmyk() const { return cmyk_; }
  int64_t samples() const { return cmyk_ ? 4 : 3; }
  bool damaged() const { return state_.damaged; }
  const char* message() const { return state_.message; }

 private:
  std::span<const std::byte> bytes_;
  jpeg_decompress_struct info_{};
  JpegState state_{};
  bool cmyk_ = false;
};

// The smallest version, in eighths, in which the region is still twice as large as wanted: the rest
// of the way down is made by the same filter as without it. The others (three eighths, ...) are
// slower than the whole.
unsigned Eighths(const WantedRegion& wanted) {
  unsigned eighths = 8;
  while (eighths > 1 && wanted.region.height * eighths >= 32 * wanted.height &&
         wanted.region.width * eighths >= 32 * wanted.width) {
    eighths /= 2;
  }
  return eighths;
}

// PIL's arithmetic: of the ink that is left (255: none), rounded.
uint8_t Ink(uint32_t colour, uint32_t black) {
  const uint32_t product = (255 - colour) * black + 128;
  return static_cast<uint8_t>(black - ((product + (product >> 8)) >> 8));
}

std::vector<uint8_t> ColoursOfInk(const std::vector<uint8_t>& cmyk) {
  std::vector<uint8_t> colours(cmyk.size() / 4 * 3);
  for (size_t i = 0; i < cmyk.size() / 4; ++i) {
    for (size_t c = 0; c < 3; ++c) colours[3 * i + c] = Ink(cmyk[4 * i + c], cmyk[4 * i + 3]);
  }
  return colours;
}

// The pixels of the region, once the decoder has begun. False: it could not go on.
bool ReadRegion(JpegDecoder& decoder, const WantedRegion& wanted, DecodedImage& image) {
  const unsigned eighths = Eighths(wanted);
  if (!decoder.Start(eighths)) return false;
  const double scale = eighths / 8.0;
  const Region& region = wanted.region;
  image.top = static_cast<double>(region.top) * scale;
  image.left = static_cast<double>(region.left) * scale;
  image.bottom = static_cast<double>(region.top + region.height) * scale;
  image.right = static_cast<double>(region.left + region.width) * scale;
  const auto first_row = static_cast<int64_t>(image.top);
  const int64_t end_row =
      std::min(decoder.output_height(), static_cast<int64_t>(std::ceil(image.bottom)));
  int64_t left = std::max<int64_t>(0, static_cast<int64_t>(image.left) - kMargin);
  int64_t right =
      std::min(decoder.output_width(), static_cast<int64_t>(std::ceil(image.right)) + kMargin);
  if ((left > 0 || right < decoder.output_width()) && !decoder.Crop(left, right)) return false;
  image.shape = {.height = end_row - first_row, .width = right - left, .channels = 3};
  image.top -= static_cast<double>(first_row);
  image.bottom -= static_cast<double>(first_row);
  image.left -= static_cast<double>(left);
  image.right -= static_cast<double>(left);
  image.pixels.assign(
      static_cast<size_t>(image.shape.height * image.shape.width * decoder.samples()), 128);
  const bool read = decoder.Read(first_row, end_row, image.pixels.data());
  if (decoder.cmyk()) image.pixels = ColoursOfInk(image.pixels);
  return read;
}

}  // namespace

DecodedImage DecodeJpeg(std::span<const std::byte> bytes, const ChooseRegion& choose) {
  DecodedImage image;
  JpegDecoder decoder(bytes);
  if (!decoder.Begin()) {
    SetDamage(image, decoder.message());
    return image;
  }
  if (!BeginImage(image, decoder.height(), decoder.width())) return image;
  if (!ReadRegion(decoder, choose(image.height, image.width), image) && image.pixels.empty()) {
    image.height = image.width = 0;
  }
  if (decoder.damaged()) SetDamage(image, decoder.message());
  return image;
}

}  // namespace syncbn::data::internal
