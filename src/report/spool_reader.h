// Reads what a dead rank has left in a spool (spool.h).
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "syncbn/v1/metrics.pb.h"
#include "syncbn/v1/worker.pb.h"

namespace syncbn::report {

// The ranks that have files in a spool folder, ascending. None if there is no such folder.
std::vector<int> SpooledRanks(const std::filesystem::path& folder);

// Of one rank. Damage takes away the records it hits and nothing else. Reads a segment at a time.
class SpoolReader {
 public:
  // Throws what listing the folder throws.
  SpoolReader(std::filesystem::path folder, int rank);

  // Calls take() with every batch, in the order of the sequences; what take() throws ends it. Throws
  // why a file cannot be read.
  void ReadBatches(const std::function<void(const v1::MetricBatch&)>& take);
  // How the rank left; nothing if it did not say.
  std::optional<v1::RankExit> ReadExit() const;

  // `jobs/{job}/attempts/{attempt}` as the files say, after ReadBatches; empty if they do not.
  const std::string& attempt() const { return attempt_; }
  // Bytes that are part of no whole record, after ReadBatches: at most a torn end, unless a disk
  // failed.
  int64_t damaged_bytes() const { return damaged_bytes_; }
  // Everything was taken: removes the rank's files, and the folder if it is empty.
  void Remove() const;

 private:
  const std::filesystem::path folder_;
  const int rank_;
  std::vector<std::filesystem::path> segments_;
  std::string attempt_;
  int64_t damaged_bytes_ = 0;
};

}  // namespace syncbn::report
