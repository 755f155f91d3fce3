// Where the figures of a run go.
//
// A sink is used by one thread of one process (that of replica 0).
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "train/metric_record.h"

namespace syncbn::train {

class MetricSink {
 public:
  virtual ~MetricSink() = default;
  // Takes a record. Does not fail because a disk is full or a peer is away: what cannot be passed
  // on is kept for later.
  virtual void Write(const MetricRecord& record) = 0;
  // Returns when everything taken so far is where a crash cannot take it away; called before a
  // checkpoint is written, so that a resumed run has the lines of all steps before it. Throws when
  // that is not possible now.
  virtual void Flush() = 0;
};

// Keeps everything in memory; for tests, and for runs whose figures a caller wants.
class MemorySink : public MetricSink {
 public:
  void Write(const MetricRecord& record) override { records_.push_back(record); }
  void Flush() override {}
  const std::vector<MetricRecord>& records() const { return records_; }

 private:
  std::vector<MetricRecord> records_;
};

struct JsonlSinkOptions {
  std::filesystem::path path;
  // Nothing: start a new file. Else: go on with the lines of steps below this one (the step of the
  // checkpoint the run goes on from), so that each step is there once; later lines, and lines torn
  // by a crash, are dropped. What is not there of the steps before is a warning. They go into a new
  // file of the old name: what another process, not yet aware that this one has taken over, still
  // writes goes into the old one, which nobody sees.
  std::optional<int64_t> resume_at_step;
  // Its evaluation, after the last of those steps, is still to be made: lines of it are dropped.
  bool evaluation_pending = false;
  // Of a run that writes a line every so many steps, after the last of them.
  int64_t every_steps = 1;
  // Told what is wrong with the file, when lines cannot be written, and when they can again. May be
  // empty.
  std::function<void(const std::string& warning)> on_warning;
};

// metrics.jsonl: one MetricRecord a line. A line goes to the operating system whole and at once, so
// that it outlives a killed process and `tail -f` shows it; Flush syncs it to the disk. Lines that
// do not fit on a full disk wait in memory and are written, in order, as soon as there is room.
class JsonlSink : public MetricSink {
 public:
  // Throws what opening or reading the file throws.
  explicit JsonlSink(JsonlSinkOptions options);
  ~JsonlSink() override;
  JsonlSink(const JsonlSink&) = delete;
  JsonlSink& operator=(const JsonlSink&) = delete;

  void Write(const MetricRecord& record) override;
  // Throws RESOURCE_EXHAUSTED on a full disk.
  void Flush() override;

 private:
  // The lines that a run resumed at `step` goes on from; the file holds nothing else afterwards.
  std::string TakeUp(int64_t step) const;
  // False (errno says why) when lines are left in waiting_.
  bool WriteWaiting();

  JsonlSinkOptions options_;
  int fd_ = -1;
  // Bytes of whole lines in the file.
  int64_t length_ = 0;
  std::string waiting_;
  // The file is longer than length_.
  bool torn_ = false;
  bool failing_ = false;
};

// All whole lines of a metrics.jsonl; a torn last line is left out. Throws DATA_LOSS naming the
// line when another line is not a record.
std::vector<MetricRecord> ReadMetrics(const std::filesystem::path& path);

}  // namespace syncbn::train
