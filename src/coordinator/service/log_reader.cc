#include "coordinator/service/log_reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

#include "base/file.h"
#include "coordinator/api_error.h"

namespace syncbn::coordinator {
namespace {

// Lines of `output` are at most some 16 KiB (output_log.h); what is longer is cut.
constexpr int64_t kLongestLine = int64_t{1} << 20;

std::string LinesOf(int rank, std::string_view text) {
  const std::string whole = std::to_string(rank) + ": ", piece = std::to_string(rank) + "+ ";
  std::string lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size() - 1) + 1;
    if (text.starts_with(whole) || text.starts_with(piece)) lines += text.substr(0, end);
    text.remove_prefix(end);
  }
  return lines;
}

}  // namespace

LogReader::~LogReader() {
  if (file_ >= 0) ::close(file_);
}

bool LogReader::Open() {
  if (file_ >= 0) return true;
  file_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  if (file_ < 0 && errno != ENOENT) ThrowErrno("open", path_);
  return file_ >= 0;
}

int64_t LogReader::size() {
  if (!Open()) return 0;
  struct stat status {};
  if (::fstat(file_, &status) != 0) ThrowErrno("look at", path_);
  return status.st_size;
}

std::string LogReader::ReadAt(int64_t offset, int64_t bytes) {
  std::string data(static_cast<size_t>(bytes), '\0');
  size_t got = 0;
  while (got < data.size()) {
    const ssize_t count = ::pread(file_, data.data() + got, data.size() - got,
                                  offset + static_cast<int64_t>(got));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) ThrowErrno("read", path_);
    if (count == 0) break;  // half a line was taken back
    got += static_cast<size_t>(count);
  }
  data.resize(got);
  return data;
}

int64_t LogReader::StartOfLine(int64_t offset) {
  constexpr int64_t kStep = 16 * 1024;
  int64_t end = offset;
  while (end > 0 && offset - end < kLongestLine) {
    const int64_t start = std::max<int64_t>(0, end - kStep);
    const std::string data = ReadAt(start, end - start);
    const size_t newline = data.rfind('\n');
    if (newline != std::string::npos) return start + static_cast<int64_t>(newline) + 1;
    end = start;
  }
  return end;
}

LogPiece LogReader::Read(int64_t offset, int64_t max_bytes, std::optional<int> rank,
                         bool complete) {
  LogPiece piece{.size = size()};
  if (offset > piece.size) {
    ThrowFieldInvalid("offset",
                      "offset " + std::to_string(offset) +
                          " is beyond the end of the log, which has " + std::to_string(piece.size) +
                          " bytes",
                      ErrorCode::kOutOfRange, {{"size", std::to_string(piece.size)}});
  }
  if (offset < 0) offset = std::max<int64_t>(0, piece.size + offset);
  offset = StartOfLine(offset);
  piece.offset = piece.next_offset = offset;
  if (offset == piece.size) return piece;

  std::string data = ReadAt(offset, std::min(max_bytes, piece.size - offset));
  size_t end = data.rfind('\n') + 1;  // 0 where there is none
  if (end == 0 && offset + static_cast<int64_t>(data.size()) < piece.size) {
    // One line is longer than what was asked for.
    data = ReadAt(offset, std::min(std::max(max_bytes, kLongestLine), piece.size - offset));
    end = data.find('\n') + 1;
    if (end == 0 && static_cast<int64_t>(data.size()) >= kLongestLine) end = data.size();
  }
  const bool to_the_end = offset + static_cast<int64_t>(data.size()) >= piece.size;
  if (complete && to_the_end) end = data.size();
  data.resize(end);
  piece.next_offset = offset + static_cast<int64_t>(end);
  piece.data = rank ? LinesOf(*rank, data) : std::move(data);
  return piece;
}

}  // namespace syncbn::coordinator
