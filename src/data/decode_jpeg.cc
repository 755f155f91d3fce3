// JPEG by libjpeg-turbo: of a region no more than its rows and columns, in a smaller size where
// that does.
#include <algorithm>
#include <cmath>
#include <csetjmp>
#include <cstdio>
#include <new>

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
  jpeg_progress_mgr progress;
  std::jmp_buf back;
  bool damaged = false, unfit = false, no_memory = false;
  char message[JMSG_LENGTH_MAX];  // the first
};

void Note(j_common_ptr info) {
  auto* state = reinterpret_cast<JpegState*>(info->err);
  if (state->damaged) return;
  state->damaged = true;
  info->err->format_message(info, state->message);
}

// Whole files all the same.
bool IsOfAnotherKind(int error) {
  return error == JERR_BAD_PRECISION || error == JERR_SOF_UNSUPPORTED ||
         error == JERR_ARITH_NOTIMPL || error == JERR_NOT_COMPILED ||
         error == JERR_CONVERSION_NOTIMPL || error == JERR_COMPONENT_COUNT ||
         error == JERR_FRACT_SAMPLE_NOTIMPL || error == JERR_CCIR601_NOTIMPL;
}

void LeaveJpeg(j_common_ptr info) {
  auto* state = reinterpret_cast<JpegState*>(info->err);
  if (!state->damaged) state->unfit = IsOfAnotherKind(info->err->msg_code);
  state->no_memory = info->err->msg_code == JERR_OUT_OF_MEMORY;
  Note(info);
  std::longjmp(state->back, 1);
}

// Some warnings are of data that is missing or wrong: what is left of the picture is not what
// somebody took. The others cost nothing of it.
void TakeWarning(j_common_ptr info, int level) {
  if (level >= 0) return;
  switch (info->err->msg_code) {
    case JWRN_EXTRANEOUS_DATA:
    case JWRN_ADOBE_XFORM:
    case JWRN_JFIF_MAJOR:
    case JWRN_BOGUS_PROGRESSION:
    case JWRN_NOT_SEQUENTIAL:
    case JWRN_TOO_MUCH_DATA:
      return;
    default:
      return Note(info);
  }
}

// A few bytes are a scan, of which each costs as much as the image is large.
void CountScans(j_common_ptr info) {
  if (reinterpret_cast<j_decompress_ptr>(info)->input_scan_number <= kMostScans) return;
  auto* state = reinterpret_cast<JpegState*>(info->err);
  state->damaged = state->unfit = true;
  std::snprintf(state->message, sizeof(state->message),
                "more than %d scans, which nobody needs: it is taken for a decompression bomb",
                kMostScans);
  std::longjmp(state->back, 1);
}

// Decodes in steps, between which nothing that has a destructor comes to life: longjmp passes none.
// False: it could not go on.
class JpegDecoder {
 public:
  explicit JpegDecoder(std::span<const std::byte> bytes) : bytes_(bytes) {
    info_.err = jpeg_std_error(&state_.manager);
    state_.manager.error_exit = LeaveJpeg;
    state_.manager.emit_message = TakeWarning;
    state_.progress.progress_monitor = CountScans;
  }
  ~JpegDecoder() { jpeg_destroy_decompress(&info_); }
  JpegDecoder(const JpegDecoder&) = delete;
  JpegDecoder& operator=(const JpegDecoder&) = delete;

  bool Begin() {
    if (setjmp(state_.back) != 0) return false;
    jpeg_create_decompress(&info_);
    info_.progress = &state_.progress;
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
  // Throws bad_alloc where it was that.
  void SetDamageOf(DecodedImage& image) const {
    if (state_.no_memory) throw std::bad_alloc();
    if (!state_.damaged) return;
    SetDamage(image, state_.message);
    if (!state_.unfit) return;
    image.damage = {.code = ErrorCode::kInvalidArgument,
                    .what = std::string("is a JPEG that is not decoded: ") + state_.message};
  }

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
    decoder.SetDamageOf(image);
    return image;
  }
  if (!BeginImage(image, decoder.height(), decoder.width())) return image;
  if (!ReadRegion(decoder, choose(image.height, image.width), image) && image.pixels.empty()) {
    image.height = image.width = 0;
  }
  decoder.SetDamageOf(image);
  return image;
}

}  // namespace syncbn::data::internal
