#include "data/image_scan.h"

#include <unistd.h>
#include <webp/decode.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

#include "base/digest.h"
#include "base/file.h"
#include "base/regular_file.h"
#include "data/decode_image.h"

namespace syncbn::data {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kPart = 4096;
// Of a JPEG, before its size: more than programs write.
constexpr int kMostSegments = 1000;

// Of big-endian bytes.
uint32_t Number(std::string_view bytes, size_t at, size_t size) {
  uint32_t number = 0;
  for (size_t i = at; i < at + size; ++i) number = number << 8 | static_cast<uint8_t>(bytes[i]);
  return number;
}

class Scan {
 public:
  Scan(const fs::path& path, int64_t bytes)
      : path_(path),
        bytes_(bytes),
        file_(OpenRegularFile(path)),
        head_(ReadPart(0, std::min(bytes, kPart))),
        tail_(bytes > kPart ? ReadPart(bytes - kPart, kPart) : head_) {}

  uint64_t Fingerprint() const {
    Digester digester;
    digester.Add(std::to_string(bytes_) + "\n");
    digester.Add(head_);
    digester.Add(tail_);
    return digester.Finish().low;
  }

  bool LooksWhole() const {
    if (head_.starts_with('\xff')) return BeginsAsJpeg() && EndsAsJpeg();
    if (head_.starts_with('\x89')) {
      return BeginsAsPng() && tail_.ends_with(std::string_view("IEND\xae\x42\x60\x82", 8));
    }
    return BeginsAsWebp();
  }

 private:
  // `size` bytes from `at` on, fewer where there are none.
  std::string ReadPart(int64_t at, int64_t size) const {
    std::string part(static_cast<size_t>(size), '\0');
    size_t have = 0;
    while (have < part.size()) {
      const ssize_t got = ::pread(file_.descriptor.get(), part.data() + have, part.size() - have,
                                  at + static_cast<int64_t>(have));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) ThrowErrno("read", path_);
      if (got == 0) break;
      have += static_cast<size_t>(got);
    }
    part.resize(have);
    return part;
  }

  // The first bytes of a segment, which may lie behind those of the beginning (a preview, a profile
  // of colours).
  std::string Segment(int64_t at) const {
    constexpr int64_t kNeeded = 10;
    if (at + kNeeded > static_cast<int64_t>(head_.size())) return ReadPart(at, kNeeded);
    return head_.substr(static_cast<size_t>(at), kNeeded);
  }

  // The segments up to the one that has the size.
  bool BeginsAsJpeg() const {
    if (!head_.starts_with("\xff\xd8\xff")) return false;
    int64_t at = 2;
    for (int i = 0; i < kMostSegments; ++i) {
      const std::string segment = Segment(at);
      if (segment.size() < 10 || segment[0] != '\xff') return false;
      const auto marker = static_cast<uint8_t>(segment[1]);
      if (marker == 0xff) {  // a byte that fills
        ++at;
        continue;
      }
      // Sequential or progressive, in Huffman's code: the others (lossless, arithmetic, ...) are
      // decoded where the library can.
      if (marker >= 0xc0 && marker <= 0xc2) {
        const int samples = segment[4], channels = segment[9];
        return samples == 8 && (channels == 1 || channels == 3 || channels == 4) &&
               IsDecodedSize(Number(segment, 5, 2), Number(segment, 7, 2));
      }
      const bool passed = marker == 0xc4 || (marker >= 0xdb && marker != 0xff);
      const uint32_t length = Number(segment, 2, 2);
      if (!passed || length < 2) return false;
      at += 2 + length;
    }
    return false;
  }

  bool EndsAsJpeg() const {
    return tail_.substr(tail_.size() - std::min<size_t>(tail_.size(), 64)).find("\xff\xd9") !=
           std::string_view::npos;
  }

  bool BeginsAsPng() const {
    if (head_.size() < 33 || !head_.starts_with("\x89PNG\r\n\x1a\n") ||
        head_.substr(12, 4) != "IHDR") {
      return false;
    }
    const auto checksum = ::crc32(0, reinterpret_cast<const Bytef*>(head_.data()) + 12, 17);
    const int bits = head_[24], kind = head_[25];
    const bool depth = bits == 8 || (kind == 3 ? bits < 8 : bits == 16) || (kind == 0 && bits < 8);
    return checksum == Number(head_, 29, 4) && depth && (bits & (bits - 1)) == 0 && bits > 0 &&
           (kind == 0 || kind == 2 || kind == 3 || kind == 4 || kind == 6) && head_[26] == 0 &&
           head_[27] == 0 && (head_[28] == 0 || head_[28] == 1) &&
           IsDecodedSize(Number(head_, 16, 4), Number(head_, 20, 4));
  }

  bool BeginsAsWebp() const {
    WebPBitstreamFeatures features;
    if (head_.size() < 20 || !head_.starts_with("RIFF") || head_.substr(8, 4) != "WEBP" ||
        WebPGetFeatures(reinterpret_cast<const uint8_t*>(head_.data()), head_.size(), &features) !=
            VP8_STATUS_OK) {
      return false;
    }
    int64_t size = 0;
    for (size_t i = 8; i > 4; --i) size = size << 8 | static_cast<uint8_t>(head_[i - 1]);
    return size + 8 <= bytes_ && features.has_animation == 0 &&
           IsDecodedSize(features.height, features.width);
  }

  const fs::path& path_;
  const int64_t bytes_;
  const RegularFile file_;
  const std::string head_, tail_;
};

}  // namespace

ScannedFile ScanImageFile(const fs::path& path, int64_t bytes) {
  ScannedFile scanned;
  const Scan scan(path, bytes);
  scanned.fingerprint = scan.Fingerprint();
  if (bytes > kMostFileBytes || !scan.LooksWhole()) {
    const DecodedImage image = DecodeImageFile(path, WholeImage);
    if (image.damage) scanned.damage = image.damage->what;
  }
  return scanned;
}

}  // namespace syncbn::data
