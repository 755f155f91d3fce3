#include "report/spool_reader.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <set>

#include "base/file.h"
#include "report/spool_file.h"

namespace syncbn::report {
namespace {

namespace fs = std::filesystem;

// Names of the files, sorted. A folder that is not there has none.
std::vector<std::string> NamesIn(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    names.push_back(it->path().filename().string());
  }
  if (error && error != std::errc::no_such_file_or_directory) {
    errno = error.value();
    ThrowErrno("list", folder);
  }
  std::ranges::sort(names);
  return names;
}

}  // namespace

std::vector<int> SpooledRanks(const fs::path& folder) {
  constexpr std::string_view kStart = "rank-";
  std::set<int> ranks;
  for (const std::string& name : NamesIn(folder)) {
    int rank = 0;
    if (!name.starts_with(kStart)) continue;
    const char* begin = name.data() + kStart.size();
    const auto [end, code] = std::from_chars(begin, name.data() + name.size(), rank);
    if (code == std::errc() && rank >= 0 && name.starts_with(RankPrefix(rank))) ranks.insert(rank);
  }
  return {ranks.begin(), ranks.end()};
}

SpoolReader::SpoolReader(fs::path folder, int rank) : folder_(std::move(folder)), rank_(rank) {
  for (const std::string& name : NamesIn(folder_)) {
    if (name.starts_with(RankPrefix(rank_)) && name.ends_with(".spool")) {
      segments_.push_back(folder_ / name);
    }
  }
}

void SpoolReader::ReadBatches(const std::function<void(const v1::MetricBatch&)>& take) {
  damaged_bytes_ = 0;
  for (const fs::path& segment : segments_) {
    const std::string content = ReadFile(segment);
    const size_t foreign = ReadRecords(content, [&](RecordType type, std::string_view payload) {
      const int length = static_cast<int>(payload.size());
      v1::RankName owner;
      v1::MetricBatch batch;
      if (type == RecordType::kOwner && owner.ParseFromArray(payload.data(), length)) {
        attempt_ = owner.attempt();
      } else if (type == RecordType::kMetrics && batch.ParseFromArray(payload.data(), length)) {
        take(batch);
      }
    });
    damaged_bytes_ += static_cast<int64_t>(foreign);
  }
}

std::optional<v1::RankExit> SpoolReader::ReadExit() const {
  const fs::path path = folder_ / ExitName(rank_);
  if (!fs::exists(path)) return std::nullopt;
  std::optional<v1::RankExit> exit;
  ReadRecords(ReadFile(path), [&](RecordType type, std::string_view payload) {
    v1::RankExit read;
    if (type == RecordType::kExit &&
        read.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) {
      exit = std::move(read);
    }
  });
  return exit;
}

void SpoolReader::Remove() const {
  std::error_code ignored;
  for (const fs::path& segment : segments_) fs::remove(segment, ignored);
  fs::remove(folder_ / ExitName(rank_), ignored);
  ::rmdir(folder_.c_str());
}

}  // namespace syncbn::report
