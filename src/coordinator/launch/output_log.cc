#include "coordinator/launch/output_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <optional>

#include "base/file.h"

namespace syncbn::coordinator {
namespace {

constexpr size_t kLongestLine = 16 * 1024, kTail = 8 * 1024, kLongestTag = 48;

enum class Match { kNo, kPartly, kWhole };

struct Tag {
  Match match = Match::kNo;
  size_t length = 0;
  int rank = 0;
};

// Whether text begins with "[JOB,RANK]<stdout>:", or might once more of it is there.
Tag MatchTag(std::string_view text) {
  size_t at = 0;
  auto literal = [&](std::string_view expected) {
    const size_t length = std::min(expected.size(), text.size() - at);
    if (text.substr(at, length) != expected.substr(0, length)) return Match::kNo;
    at += length;
    return length == expected.size() ? Match::kWhole : Match::kPartly;
  };
  auto digits = [&](int& value) {
    const size_t start = at;
    value = 0;
    while (at < text.size() && at - start < 9 &&
           std::isdigit(static_cast<unsigned char>(text[at]))) {
      value = value * 10 + (text[at++] - '0');
    }
    if (at == text.size()) return Match::kPartly;
    return at > start ? Match::kWhole : Match::kNo;
  };
  int job = 0;
  Tag tag;
  Match match = literal("[");
  if (match == Match::kWhole) match = digits(job);
  if (match == Match::kWhole) match = literal(",");
  if (match == Match::kWhole) match = digits(tag.rank);
  if (match == Match::kWhole) match = literal("]<");
  if (match == Match::kWhole) {
    const size_t start = at;
    for (const std::string_view name : {"stdout>:", "stderr>:", "stddiag>:"}) {
      at = start;
      match = literal(name);
      if (match != Match::kNo) break;
    }
  }
  tag.match = match;
  tag.length = at;
  return tag;
}

// The number of "12: text" as srun --label writes it (perhaps with blanks before), and what
// follows.
std::optional<std::pair<int, std::string_view>> MatchLabel(std::string_view line) {
  const size_t start = std::min(line.find_first_not_of(' '), line.size());
  size_t at = start;
  int rank = 0;
  while (at < line.size() && at - start < 9 && std::isdigit(static_cast<unsigned char>(line[at]))) {
    rank = rank * 10 + (line[at++] - '0');
  }
  if (at == start || line.substr(at, 2) != ": ") return std::nullopt;
  return std::pair(rank, line.substr(at + 2));
}

void AppendTail(std::string& tail, std::string_view line) {
  tail += line;
  if (tail.size() <= 2 * kTail) return;
  const size_t cut = tail.find('\n', tail.size() - kTail);
  tail.erase(0, cut == std::string::npos ? tail.size() - kTail : cut + 1);
}

}  // namespace

TagSplitter::Piece TagSplitter::Next(bool all) const {
  for (size_t at = 0; at < pending_.size(); ++at) {
    if (pending_[at] == '\n') {
      return {.text = at + 1, .ends_line = true};
    }
    if (pending_[at] != '[') continue;
    const Tag tag = MatchTag(std::string_view(pending_).substr(at, kLongestTag));
    if (tag.match == Match::kWhole) return {.text = at, .tag = tag.length, .rank = tag.rank};
    if (tag.match == Match::kPartly && !all) return {.text = at};
  }
  return {.text = pending_.size()};
}

OutputLog::OutputLog(const Options& options) : options_(options) {
  file_ = ::open(options.path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (file_ < 0) ThrowErrno("open", options.path);
}

OutputLog::~OutputLog() {
  ::close(file_);
}

void OutputLog::Add(int stream, std::string_view bytes) {
  if (!options_.tagged) {
    AddPiece(stream, TagSplitter::kLauncher, bytes);
    return;
  }
  splitters_[stream].Feed(bytes,
                          [&](int rank, std::string_view text) { AddPiece(stream, rank, text); });
}

void OutputLog::AddNote(std::string_view text) {
  WriteLine(TagSplitter::kLauncher, text);
}

void OutputLog::Finish() {
  for (int stream : {0, 1}) {
    splitters_[stream].Finish(
        [&](int rank, std::string_view text) { AddPiece(stream, rank, text); });
  }
  for (auto& [origin, line] : lines_) {
    if (!line.empty()) WriteLine(origin.second, line);
    line.clear();
  }
  if (dropped_ > 0) {
    // Said in the log itself if there is room now.
    const std::string note = "-: " + std::to_string(dropped_) + " lines were dropped here\n";
    [[maybe_unused]] const ssize_t count = ::write(file_, note.data(), note.size());
  }
  ::fsync(file_);
}

void OutputLog::AddPiece(int stream, int rank, std::string_view text) {
  std::string& line = lines_[{stream, rank}];
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const size_t room = kLongestLine - std::min(kLongestLine, line.size());
    const size_t taken = std::min(end, room);
    line += text.substr(0, taken);
    text.remove_prefix(taken);
    const bool whole = !text.empty() && text.front() == '\n';
    if (!whole && line.size() < kLongestLine) return;
    if (whole) text.remove_prefix(1);
    WriteLine(rank, line);
    line.clear();
  }
}

void OutputLog::WriteLine(int rank, std::string_view text) {
  if (rank == TagSplitter::kLauncher && !options_.tagged) {
    if (const auto label = MatchLabel(text)) {
      rank = label->first;
      text = label->second;
    }
  }
  std::string line = rank == TagSplitter::kLauncher ? "-" : std::to_string(rank);
  line += ": ";
  line += text;
  line += '\n';
  AppendTail(tail_, line);
  if (rank == TagSplitter::kLauncher) AppendTail(launcher_text_, std::string(text) + "\n");
  if (written_ + static_cast<int64_t>(line.size()) > options_.max_bytes) {
    ++dropped_;
    return;
  }
  ssize_t count = 0;
  do {
    count = ::write(file_, line.data(), line.size());
  } while (count < 0 && errno == EINTR);
  if (count == static_cast<ssize_t>(line.size())) {
    written_ += count;
    return;
  }
  ++dropped_;
  // Half a line would end up glued to the next: take it back.
  if (count > 0) {
    const off_t end = ::lseek(file_, 0, SEEK_END);
    [[maybe_unused]] const int cut = ::ftruncate(file_, end - count);
  }
}

}  // namespace syncbn::coordinator
