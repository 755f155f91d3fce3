// What one rank has to say and the coordinator has not acknowledged, on disk: metric batches and how
// the rank left. Written by the rank while it lives; what is left is read by SpoolReader.
//
// Each rank has its own files in the attempt's spool folder (spool_file.h): segments that are
// appended to and removed whole once everything in them is acknowledged, and one file for the exit
// report, whose room is reserved from the start so that it can be written on a full disk. A record
// is there as soon as Append returns, whatever kills the process; Sync makes it survive the machine.
// Every attempt has a folder of its own, so a spool is always begun anew.
//
// Not thread-safe; may block as long as its disk does.
#pragma once

#include <deque>
#include <filesystem>
#include <optional>
#include <string>

#include "syncbn/v1/metrics.pb.h"
#include "syncbn/v1/worker.pb.h"

namespace syncbn::report {

struct SpoolOptions {
  // Made, with mode 0700, if it is not there.
  std::filesystem::path folder;
  // `jobs/{job}/attempts/{attempt}`
  std::string attempt;
  int rank = 0;
  // The files of this rank never take more.
  int64_t max_bytes = int64_t{256} << 20;
  // A segment that has grown so long is followed by a new one.
  int64_t segment_bytes = int64_t{4} << 20;
};

class Spool {
 public:
  // Removes what a rank of that number has left in the folder. Throws why the folder cannot be used.
  explicit Spool(SpoolOptions options);
  ~Spool();
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;

  // Adds a batch, which follows the last one (or says what was lost between). When the disk or
  // max_bytes is full, false with the reason in error(): nothing of it is kept then.
  bool Append(const v1::MetricBatch& batch);
  const std::string& error() const { return error_; }
  // Throws when the disk does not take it.
  void Sync();

  // The points after `sequence`, as many as fit in `most_bytes` and follow each other; nothing when
  // there are none. What can no longer be read is passed over.
  std::optional<v1::MetricBatch> After(int64_t sequence, size_t most_bytes) const;
  // Points up to `sequence` are durable elsewhere.
  void Acknowledge(int64_t sequence);

  // Also on a full disk, into the room that was reserved; long texts are cut. Throws when even that
  // is impossible.
  void WriteExit(v1::RankExit exit);
  // Everything was delivered: removes this rank's files, and the folder if it is empty.
  void Remove();

  // Of the last point in it; 0 before the first.
  int64_t last_sequence() const { return last_; }
  // Not acknowledged.
  int64_t points() const;
  int64_t bytes() const { return bytes_; }

 private:
  // Where a batch is.
  struct Entry {
    int segment = 0;
    int64_t offset = 0;  // of the payload
    int64_t length = 0;
    int64_t first = 0, last = 0;
  };

  std::filesystem::path PathOf(int segment) const;
  bool Write(const std::string& record);
  bool StartSegment();
  void CloseSegment();
  std::optional<v1::MetricBatch> Load(const Entry& entry) const;

  const SpoolOptions options_;
  int file_ = -1;  // of segment_
  int exit_file_ = -1;
  int segment_ = 0;
  int64_t length_ = 0;  // of whole records in the segment
  int64_t bytes_ = 0;
  int64_t last_ = 0, acknowledged_ = 0;
  std::string error_;
  std::deque<Entry> entries_;
  // Sizes of the segments before segment_ that are still there, with their numbers.
  std::deque<std::pair<int, int64_t>> older_;
};

}  // namespace syncbn::report
