#include "report/spool.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/file.h"
#include "report/metric_batches.h"
#include "report/spool_file.h"

namespace syncbn::report {
namespace {

namespace fs = std::filesystem;

// Room for an exit report; its texts are cut to fit.
constexpr off_t kExitRoom = 64 * 1024;
constexpr size_t kLongestMessage = 16 * 1024, kLongestFrame = 1024;
constexpr int kMostFrames = 24;

void MakeFolders(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder.parent_path(), error);
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) ThrowErrno("create", folder);
}

bool WriteWhole(int file, const std::string& bytes) {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t count = ::write(file, bytes.data() + done, bytes.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    done += static_cast<size_t>(count);
  }
  return true;
}

void Cut(std::string& text, size_t most) {
  if (text.size() <= most) return;
  // Not inside a character: protobuf's strings are UTF-8.
  while (most > 0 && (static_cast<unsigned char>(text[most]) & 0xC0) == 0x80) --most;
  text = text.substr(0, most) + " ...";
}

}  // namespace

Spool::Spool(SpoolOptions options) : options_(std::move(options)) {
  MakeFolders(options_.folder);
  std::error_code error;
  std::vector<fs::path> old;
  for (fs::directory_iterator it(options_.folder, error), end; !error && it != end;
       it.increment(error)) {
    if (it->path().filename().string().starts_with(RankPrefix(options_.rank)))
      old.push_back(it->path());
  }
  for (const fs::path& path : old) fs::remove(path, error);
  const fs::path path = options_.folder / ExitName(options_.rank);
  exit_file_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (exit_file_ < 0) ThrowErrno("create", path);
  // Where this is not possible the report is written without it, if there is room then.
  [[maybe_unused]] const int reserved = ::posix_fallocate(exit_file_, 0, kExitRoom);
}

Spool::~Spool() {
  if (file_ >= 0) ::close(file_);
  if (exit_file_ >= 0) ::close(exit_file_);
}

fs::path Spool::PathOf(int segment) const {
  return options_.folder / SegmentName(options_.rank, segment);
}

void Spool::CloseSegment() {
  if (file_ < 0) return;
  ::close(file_);
  file_ = -1;
  older_.emplace_back(segment_, length_);
}

bool Spool::StartSegment() {
  CloseSegment();
  const fs::path path = PathOf(segment_ + 1);
  file_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
  if (file_ < 0) {
    error_ = "cannot create " + path.string() + ": " + std::strerror(errno);
    return false;
  }
  ++segment_;
  length_ = 0;
  v1::RankName owner;
  owner.set_attempt(options_.attempt);
  owner.set_rank(options_.rank);
  if (Write(MakeRecord(RecordType::kOwner, owner.SerializeAsString()))) return true;
  if (file_ >= 0) {
    ::close(file_);
    ::unlink(path.c_str());
    file_ = -1;
    --segment_;
  }
  return false;
}

bool Spool::Write(const std::string& record) {
  if (WriteWhole(file_, record)) {
    length_ += static_cast<int64_t>(record.size());
    bytes_ += static_cast<int64_t>(record.size());
    return true;
  }
  error_ = "cannot write " + PathOf(segment_).string() + ": " + std::strerror(errno);
  // What was written of it would be passed over by a reader, but not by a writer that goes on.
  if (::ftruncate(file_, length_) != 0) CloseSegment();
  return false;
}

bool Spool::Append(const v1::MetricBatch& batch) {
  const std::string record = MakeRecord(RecordType::kMetrics, batch.SerializeAsString());
  if (bytes_ + static_cast<int64_t>(record.size()) > options_.max_bytes) {
    error_ = "the spool in " + options_.folder.string() + " has reached its limit of " +
             std::to_string(options_.max_bytes) + " bytes";
    return false;
  }
  if ((file_ < 0 || length_ >= options_.segment_bytes) && !StartSegment()) return false;
  const int64_t offset = length_ + static_cast<int64_t>(kRecordHead);
  if (!Write(record)) return false;
  last_ = LastSequence(batch);
  entries_.push_back({.segment = segment_,
                      .offset = offset,
                      .length = static_cast<int64_t>(record.size() - kRecordHead),
                      .first = batch.first_sequence(),
                      .last = last_});
  return true;
}

void Spool::Sync() {
  if (file_ >= 0 && ::fdatasync(file_) != 0) ThrowErrno("sync", PathOf(segment_));
}

std::optional<v1::MetricBatch> Spool::Load(const Entry& entry) const {
  int file = file_;
  if (entry.segment != segment_ || file < 0) {
    file = ::open(PathOf(entry.segment).c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0) return std::nullopt;
  }
  std::string payload(static_cast<size_t>(entry.length), '\0');
  const ssize_t count = ::pread(file, payload.data(), payload.size(), entry.offset);
  if (file != file_) ::close(file);
  v1::MetricBatch batch;
  if (count != static_cast<ssize_t>(payload.size()) || !batch.ParseFromString(payload) ||
      LastSequence(batch) != entry.last) {
    return std::nullopt;
  }
  return batch;
}

std::optional<v1::MetricBatch> Spool::After(int64_t sequence, size_t most_bytes) const {
  std::optional<v1::MetricBatch> result;
  const auto begin = std::partition_point(entries_.begin(), entries_.end(), [&](const Entry& one) {
    return one.last <= sequence;
  });
  for (auto entry = begin; entry != entries_.end(); ++entry) {
    if (result && entry->first != LastSequence(*result) + 1) break;
    std::optional<v1::MetricBatch> batch = Load(*entry);
    if (!batch) {
      if (result) break;
      continue;
    }
    if (!result) {
      DropThrough(*batch, sequence);
      result = std::move(batch);
    } else if (!report::Append(*result, *batch, most_bytes)) {
      break;
    }
  }
  return result;
}

void Spool::Acknowledge(int64_t sequence) {
  acknowledged_ = std::max(acknowledged_, sequence);
  while (!entries_.empty() && entries_.front().last <= acknowledged_) entries_.pop_front();
  // Nothing is left to be read in it: the next batch begins a new one.
  if (entries_.empty() && length_ >= options_.segment_bytes / 4) CloseSegment();
  while (!older_.empty() &&
         (entries_.empty() || entries_.front().segment > older_.front().first)) {
    ::unlink(PathOf(older_.front().first).c_str());
    bytes_ -= older_.front().second;
    older_.pop_front();
  }
}

int64_t Spool::points() const {
  int64_t points = 0;
  for (const Entry& entry : entries_) {
    points += entry.last - std::max(entry.first - 1, acknowledged_);
  }
  return points;
}

void Spool::WriteExit(v1::RankExit exit) {
  Cut(*exit.mutable_message(), kLongestMessage);
  if (exit.frames_size() > kMostFrames) {
    exit.mutable_frames()->DeleteSubrange(kMostFrames, exit.frames_size() - kMostFrames);
  }
  for (std::string& frame : *exit.mutable_frames()) Cut(frame, kLongestFrame);
  const std::string record = MakeRecord(RecordType::kExit, exit.SerializeAsString());
  const fs::path path = options_.folder / ExitName(options_.rank);
  if (::lseek(exit_file_, 0, SEEK_SET) != 0 || !WriteWhole(exit_file_, record)) {
    ThrowErrno("write", path);
  }
  // The rest of the reserved room. Left in place it would do no harm.
  [[maybe_unused]] const int cut = ::ftruncate(exit_file_, static_cast<off_t>(record.size()));
  if (::fdatasync(exit_file_) != 0) ThrowErrno("sync", path);
}

void Spool::Remove() {
  CloseSegment();
  for (const auto& [segment, length] : older_) ::unlink(PathOf(segment).c_str());
  older_.clear();
  entries_.clear();
  bytes_ = 0;
  ::unlink((options_.folder / ExitName(options_.rank)).c_str());
  // Fails while other ranks have files in it.
  ::rmdir(options_.folder.c_str());
}

}  // namespace syncbn::report
