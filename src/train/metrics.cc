#include "train/metrics.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/file.h"

namespace syncbn::train {
namespace {

// The lines of a text, without what follows the last line end: that line was torn.
std::vector<std::string_view> WholeLines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (true) {
    const size_t end = text.find('\n');
    if (end == std::string_view::npos) return lines;
    lines.push_back(text.substr(0, end));
    text.remove_prefix(end + 1);
  }
}

// The lines that a run resumed at `step` keeps.
std::string LinesBefore(int64_t step, std::string_view content) {
  std::string kept;
  for (std::string_view line : WholeLines(content)) {
    try {
      if (MetricRecord::FromJson(line).step >= step) continue;
    } catch (const Error&) {
      continue;  // torn: its step will be written again, or was lost with the machine
    }
    kept.append(line) += '\n';
  }
  return kept;
}

}  // namespace

JsonlSink::JsonlSink(JsonlSinkOptions options) : options_(std::move(options)) {
  const std::filesystem::path& path = options_.path;
  std::string kept;
  if (options_.resume_at_step && std::filesystem::exists(path)) {
    const std::string content = ReadFile(path);
    kept = LinesBefore(*options_.resume_at_step, content);
    if (kept != content) WriteFileAtomically(path, kept);
  }
  const int truncate = options_.resume_at_step ? 0 : O_TRUNC;
  fd_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | truncate, 0666);
  if (fd_ < 0) ThrowErrno("open", path);
  length_ = static_cast<int64_t>(kept.size());
}

JsonlSink::~JsonlSink() {
  WriteWaiting();
  ::close(fd_);
}

void JsonlSink::Write(const MetricRecord& record) {
  waiting_ += record.ToJson() + "\n";
  const bool written = WriteWaiting();
  if (written == !failing_) return;
  failing_ = !written;
  if (!options_.on_warning) return;
  options_.on_warning(written
                          ? options_.path.string() + " is written again"
                          : "cannot write " + options_.path.string() + ": " + std::strerror(errno) +
                                "; its lines wait in memory and training goes on");
}

void JsonlSink::Flush() {
  if (!WriteWaiting()) ThrowErrno("write", options_.path);
  if (::fdatasync(fd_) != 0) ThrowErrno("sync", options_.path);
}

bool JsonlSink::WriteWaiting() {
  // What is in the file ends with a whole line, whatever happens: a line cut off by a full disk is
  // taken back and written again later.
  if (torn_ && ::ftruncate(fd_, length_) != 0) return false;
  torn_ = false;
  size_t done = 0;
  while (done < waiting_.size()) {
    const ssize_t count = ::write(fd_, waiting_.data() + done, waiting_.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      const int error = errno;
      // npos + 1 is 0: no whole line was written.
      const size_t whole = done == 0 ? 0 : waiting_.rfind('\n', done - 1) + 1;
      length_ += static_cast<int64_t>(whole);
      waiting_.erase(0, whole);
      torn_ = done > whole && ::ftruncate(fd_, length_) != 0;
      errno = error;
      return false;
    }
    done += static_cast<size_t>(count);
  }
  length_ += static_cast<int64_t>(done);
  waiting_.clear();
  return true;
}

std::vector<MetricRecord> ReadMetrics(const std::filesystem::path& path) {
  const std::string content = ReadFile(path);
  std::vector<MetricRecord> records;
  for (std::string_view line : WholeLines(content)) {
    try {
      records.push_back(MetricRecord::FromJson(line));
    } catch (const Error& error) {
      throw Error(error.code(), path.string() + ", line " + std::to_string(records.size() + 1) +
                                    ": " + error.message());
    }
  }
  return records;
}

}  // namespace syncbn::train
