#include "data/image_scan.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <string_view>

#include "base/descriptor.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/file.h"
#include "data/decode_image.h"

namespace syncbn::data {
namespace {

constexpr int64_t kPart = 4096;

// Of big-endian bytes.
uint32_t Number(std::string_view bytes, size_t at, size_t size) {
  uint32_t number = 0;
  for (size_t i = at; i < at + size; ++i) number = number << 8 | static_cast<uint8_t>(bytes[i]);
  return number;
}

// The segments up to the one that has the size, as far as they lie in `head`.
bool BeginsAsJpeg(std::string_view head) {
  if (!head.starts_with("\xff\xd8\xff")) return false;
  for (size_t at = 2; at + 9 < head.size();) {
    if (head[at] != '\xff') return false;
    const auto marker = static_cast<uint8_t>(head[at + 1]);
    if (marker == 0xff) {  // a byte that fills
      ++at;
      continue;
    }
    const bool frame =
        marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
    if (frame) return Number(head, at + 5, 2) != 0 && Number(head, at + 7, 2) != 0;
    const uint32_t length = Number(head, at + 2, 2);
    if (marker < 0xc0 || marker == 0xd9 || length < 2) return false;
    at += 2 + length;
  }
  return true;
}

bool BeginsAsPng(std::string_view head) {
  return head.size() >= 33 && head.starts_with("\x89PNG\r\n\x1a\n") &&
         head.substr(12, 4) == "IHDR" && Number(head, 16, 4) != 0 && Number(head, 20, 4) != 0;
}

bool BeginsAsWebp(std::string_view head, int64_t bytes) {
  if (head.size() < 20 || !head.starts_with("RIFF") || head.substr(8, 4) != "WEBP") return false;
  int64_t size = 0;
  for (size_t i = 8; i > 4; --i) size = size << 8 | static_cast<uint8_t>(head[i - 1]);
  return size + 8 <= bytes;
}

bool LooksWhole(std::string_view head, std::string_view tail, int64_t bytes) {
  if (head.starts_with('\xff')) {
    return BeginsAsJpeg(head) &&
           tail.substr(tail.size() - std::min<size_t>(tail.size(), 64)).find("\xff\xd9") !=
               std::string_view::npos;
  }
  if (head.starts_with('\x89')) {
    return BeginsAsPng(head) && tail.ends_with(std::string_view("IEND\xae\x42\x60\x82", 8));
  }
  // An animation says so behind its size: it is decoded, and refused.
  return BeginsAsWebp(head, bytes) &&
         (head.substr(12, 4) == "VP8 " || head.substr(12, 4) == "VP8L");
}

// `size` bytes from `at` on, fewer where there are none.
std::string ReadPart(int file, int64_t at, int64_t size) {
  std::string part(static_cast<size_t>(size), '\0');
  size_t have = 0;
  while (have < part.size()) {
    const ssize_t got =
        ::pread(file, part.data() + have, part.size() - have, at + static_cast<int64_t>(have));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw Error(ErrorCode::kDataLoss, std::strerror(errno));
    if (got == 0) break;
    have += static_cast<size_t>(got);
  }
  part.resize(have);
  return part;
}

std::string DamageOf(const std::filesystem::path& path) {
  const DecodedImage image = DecodeImage(ReadFileBytes(path), WholeImage);
  return image.damage ? image.damage->what : "";
}

}  // namespace

ScannedFile ScanImageFile(const std::filesystem::path& path, int64_t bytes) {
  ScannedFile scanned;
  try {
    const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (file.get() < 0) throw Error(ErrorCode::kPermissionDenied, std::strerror(errno));
    const std::string head = ReadPart(file.get(), 0, std::min(bytes, kPart));
    const std::string tail = bytes > kPart ? ReadPart(file.get(), bytes - kPart, kPart) : head;
    Digester digester;
    digester.Add(std::to_string(bytes) + "\n");
    digester.Add(head);
    digester.Add(tail);
    scanned.fingerprint = digester.Finish().low;
    if (!LooksWhole(head, tail, bytes)) scanned.damage = DamageOf(path);
  } catch (const Error& error) {
    scanned.damage = "cannot be read: " + error.message();
  } catch (const std::bad_alloc&) {
    scanned.damage = "is too large for the memory there is";
  }
  return scanned;
}

}  // namespace syncbn::data
