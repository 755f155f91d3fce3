#include "coordinator/launch/output_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <optional>

#include "base/file.h"
#include "coordinator/launch/launcher_text.h"

namespace syncbn::coordinator {
namespace {

constexpr size_t kLongestLine = 16 * 1024, kTail = 8 * 1024, kLongestTag = 48;
// mpirun draws its boxes with 74 dashes.
constexpr size_t kShortestRule = 60, kMostEchoes = 16;

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
  if (!options_.tagged) return AddLabelled(stream, bytes);
  splitters_[stream].Feed(
      bytes, [&](int rank, std::string_view text) { AddFromRank(stream, rank, text); });
}

void OutputLog::AddLabelled(int stream, std::string_view bytes) {
  std::string& line = labelled_[stream];
  while (!bytes.empty()) {
    const size_t end = bytes.find('\n');
    line += bytes.substr(0, end);
    if (end == std::string_view::npos && line.size() <= kLongestLine) return;
    bytes.remove_prefix(std::min(bytes.size(), end == std::string_view::npos ? end : end + 1));
    if (end != std::string_view::npos) line += '\n';
    const auto label = MatchLabel(line);
    AddFromRank(stream, label ? label->first : TagSplitter::kLauncher,
                label ? label->second : line);
    line.clear();
  }
}

void OutputLog::AddFromRank(int stream, int rank, std::string_view text) {
  if (rank == TagSplitter::kLauncher || stream != 0) return AddPiece(stream, rank, text);
  RankDecoder& decoder = decoders_[rank];
  const bool ended = decoder.end().has_value();
  for (const RankDecoder::Piece& piece : decoder.Feed(text))
    AddPiece(piece.stream, rank, piece.bytes);
  if (!ended && decoder.end()) rank_ends_.push_back({rank, *decoder.end()});
}

void OutputLog::AddNote(std::string_view text) { WriteLine(TagSplitter::kLauncher, text, true); }

void OutputLog::Finish() {
  for (int stream : {0, 1}) {
    splitters_[stream].Finish(
        [&](int rank, std::string_view text) { AddFromRank(stream, rank, text); });
    if (labelled_[stream].empty()) continue;
    const auto label = MatchLabel(labelled_[stream]);
    AddFromRank(stream, label ? label->first : TagSplitter::kLauncher,
                label ? label->second : labelled_[stream]);
  }
  for (auto& [rank, decoder] : decoders_) {
    for (const RankDecoder::Piece& piece : decoder.Finish())
      AddPiece(piece.stream, rank, piece.bytes);
  }
  for (auto& [origin, line] : lines_) {
    if (!line.empty()) WriteLine(origin.second, line, false);
    line.clear();
  }
  // A box that was never closed.
  WriteLines(std::exchange(box_, ""));
  for (const std::string& echo : echoes_) {
    if (!IsEcho(echo, [&](int rank) { return spoke_.count(rank) > 0; })) WriteLines(echo);
  }
  echoes_.clear();
  if (dropped_ > 0) {
    // Said in the log itself if there is room now.
    const std::string note = "-: " + std::to_string(dropped_) + " lines were dropped here\n";
    [[maybe_unused]] const ssize_t count = ::write(file_, note.data(), note.size());
  }
  ::fsync(file_);
}

void OutputLog::AddPiece(int stream, int rank, std::string_view text) {
  if (stream == 1) spoke_.insert(rank);
  std::string& line = lines_[{stream, rank}];
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const size_t room = kLongestLine - std::min(kLongestLine, line.size());
    const size_t taken = std::min(end, room);
    line += text.substr(0, taken);
    text.remove_prefix(taken);
    const bool whole = !text.empty() && text.front() == '\n';
    // A line is cut only where more of it follows.
    if (text.empty()) return;
    if (whole) text.remove_prefix(1);
    WriteLine(rank, line, whole);
    line.clear();
  }
}

void OutputLog::WriteLine(int rank, std::string_view text, bool whole) {
  if (rank != TagSplitter::kLauncher) return Write(rank, text, whole);
  AppendTail(launcher_text_, std::string(text) + "\n");
  const bool rule =
      text.size() >= kShortestRule && text.find_first_not_of('-') == std::string_view::npos;
  if (!rule && box_.empty()) return Write(rank, text, whole);
  const bool closes = rule && !box_.empty();
  box_ += std::string(text) + "\n";
  // What is too long for a box of mpirun's is none.
  if (!closes && box_.size() < kLongestLine) return;
  std::string box = std::exchange(box_, "");
  if (closes && IsEcho(box, [](int) { return true; }) && echoes_.size() < kMostEchoes) {
    echoes_.push_back(std::move(box));
  } else {
    WriteLines(box);
  }
}

void OutputLog::WriteLines(std::string_view text) {
  while (!text.empty()) {
    const size_t end = text.find('\n');
    Write(TagSplitter::kLauncher, text.substr(0, end), true);
    text.remove_prefix(end + 1);
  }
}

void OutputLog::Write(int rank, std::string_view text, bool whole) {
  std::string line = rank == TagSplitter::kLauncher ? "-" : std::to_string(rank);
  line += whole ? ": " : "+ ";
  line += text;
  line += '\n';
  AppendTail(tail_, line);
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
