#include "train/metrics.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <set>
#include <tuple>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"

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

// Of the lines of a file, those that a run resumed at `step` keeps, and what is not among them.
struct KeptLines {
  std::string text;
  std::vector<int64_t> missing;  // steps before `step` that a line should tell of and none does
  int64_t unreadable = 0;        // lines
  int64_t repeated = 0;          // lines that say again what another has said
};

// A line that a crash has cut off begins as every line does.
bool IsTornLineBefore(int64_t step, std::string_view text) {
  long long torn = 0;
  return std::sscanf(std::string(text).c_str(), "{\"step\":%lld,", &torn) == 1 && torn < step;
}

KeptLines LinesBefore(int64_t step, const JsonlSinkOptions& options, std::string_view content) {
  const int64_t every_steps = options.every_steps;
  KeptLines kept;
  using Place = std::tuple<int64_t, std::string, std::string>;
  std::set<Place> seen;
  for (std::string_view line : WholeLines(content)) {
    try {
      const MetricRecord record = MetricRecord::FromJson(line);
      if (record.step >= step) continue;
      if (options.evaluation_pending && record.split == "test" && record.step == step - 1) continue;
      if (!seen.insert({record.step, record.split, record.evaluation.value_or("")}).second) {
        ++kept.repeated;
        continue;
      }
    } catch (const Error&) {
      ++kept.unreadable;
      continue;
    }
    kept.text.append(line) += '\n';
  }
  if (IsTornLineBefore(step, content.substr(content.rfind('\n') + 1))) ++kept.unreadable;
  for (int64_t i = every_steps - 1; i < step; i += every_steps) {
    if (!seen.contains({i, "train", ""})) kept.missing.push_back(i);
  }
  return kept;
}

// "4, 7 to 12 and 20", of every so many steps; the first few of many.
std::string Ranges(const std::vector<int64_t>& steps, int64_t every_steps) {
  constexpr size_t kMost = 5;
  std::vector<std::string> ranges;
  for (size_t begin = 0; begin < steps.size();) {
    size_t end = begin + 1;
    while (end < steps.size() && steps[end] == steps[end - 1] + every_steps) ++end;
    if (ranges.size() == kMost) {
      ranges.push_back("others");
      break;
    }
    ranges.push_back(std::to_string(steps[begin]) +
                     (end == begin + 1 ? "" : " to " + std::to_string(steps[end - 1])));
    begin = end;
  }
  const std::string last = ranges.back();
  ranges.pop_back();
  return ranges.empty() ? last : Join(ranges, ", ") + " and " + last;
}

// Empty when nothing is wrong.
std::string FaultsOf(const KeptLines& kept, int64_t every_steps) {
  std::vector<std::string> faults;
  if (!kept.missing.empty()) {
    faults.push_back((kept.missing.size() == 1 ? "no line of step " : "no line of steps ") +
                     Ranges(kept.missing, every_steps));
  }
  if (kept.unreadable > 0) faults.push_back(Plural(kept.unreadable, "line") + " could not be read");
  if (kept.repeated > 0) faults.push_back(Plural(kept.repeated, "line") + " stood there twice");
  return Join(faults, "; ");
}

}  // namespace

JsonlSink::JsonlSink(JsonlSinkOptions options) : options_(std::move(options)) {
  const std::filesystem::path& path = options_.path;
  std::string kept;
  if (options_.resume_at_step) kept = TakeUp(*options_.resume_at_step);
  const int truncate = options_.resume_at_step ? 0 : O_TRUNC;
  fd_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | truncate, 0666);
  if (fd_ < 0) ThrowErrno("open", path);
  length_ = static_cast<int64_t>(kept.size());
}

std::string JsonlSink::TakeUp(int64_t step) const {
  const std::filesystem::path& path = options_.path;
  if (!std::filesystem::exists(path)) {
    if (step > 0 && options_.on_warning) {
      options_.on_warning(path.string() +
                          " is missing: it will hold the steps from here on only");
    }
    return "";
  }
  const std::string content = ReadFile(path);
  KeptLines kept = LinesBefore(step, options_, content);
  if (const std::string faults = FaultsOf(kept, options_.every_steps); !faults.empty() && options_.on_warning) {
    options_.on_warning(path.string() + ": " + faults + "; the run goes on from step " +
                        std::to_string(step));
  }
  WriteFileAtomically(path, kept.text);
  return std::move(kept.text);
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
