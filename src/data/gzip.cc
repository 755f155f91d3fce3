#include "data/gzip.h"

#include <zlib.h>

#include <algorithm>
#include <limits>

#include "base/error.h"

namespace syncbn::data {
namespace {

// zlib's state, freed on the way out.
class Inflater {
 public:
  Inflater() {
    constexpr int kGzipWrapper = 16;
    if (inflateInit2(&stream_, MAX_WBITS + kGzipWrapper) != Z_OK) {
      throw Error(ErrorCode::kResourceExhausted, "zlib cannot allocate its state");
    }
  }
  ~Inflater() { inflateEnd(&stream_); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  z_stream& stream() { return stream_; }

 private:
  z_stream stream_{};
};

[[noreturn]] void Damaged(const std::string& what) {
  throw Error(ErrorCode::kDataLoss, what);
}

}  // namespace

bool LooksLikeGzip(std::span<const uint8_t> bytes) {
  return bytes.size() >= 2 && bytes[0] == 0x1f && bytes[1] == 0x8b;
}

std::vector<uint8_t> Gunzip(std::span<const uint8_t> bytes) {
  // zlib counts in 32 bits.
  constexpr size_t kPiece = std::numeric_limits<uInt>::max() / 2;
  Inflater inflater;
  z_stream& stream = inflater.stream();
  std::vector<uint8_t> content;
  size_t used = 0, produced = 0;
  while (true) {
    if (produced == content.size()) content.resize(std::max<size_t>(1 << 16, content.size() * 2));
    const size_t input = std::min(bytes.size() - used, kPiece);
    const size_t room = std::min(content.size() - produced, kPiece);
    stream.next_in = const_cast<Bytef*>(bytes.data() + used);
    stream.avail_in = static_cast<uInt>(input);
    stream.next_out = content.data() + produced;
    stream.avail_out = static_cast<uInt>(room);
    const int result = inflate(&stream, Z_NO_FLUSH);
    used += input - stream.avail_in;
    produced += room - stream.avail_out;
    if (result == Z_STREAM_END) {
      if (used == bytes.size()) break;
      if (!LooksLikeGzip(bytes.subspan(used))) {
        Damaged(std::to_string(bytes.size() - used) + " bytes follow the end of the gzip data");
      }
      inflateReset(&stream);
    } else if (result == Z_DATA_ERROR) {
      Damaged("damaged gzip data near byte " + std::to_string(used) + " (" +
              (stream.msg != nullptr ? stream.msg : "no reason given") + ")");
    } else if (result == Z_MEM_ERROR) {
      throw Error(ErrorCode::kResourceExhausted, "out of memory while unpacking");
    } else if (used == bytes.size() && produced < content.size()) {
      Damaged("truncated gzip data: the file ends after " + std::to_string(bytes.size()) +
              " bytes, in the middle of what it packs");
    } else if (result != Z_OK && result != Z_BUF_ERROR) {
      Damaged("damaged gzip data near byte " + std::to_string(used));
    }
  }
  content.resize(produced);
  return content;
}

}  // namespace syncbn::data
