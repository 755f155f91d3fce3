// The points of one rank between being measured and being acknowledged.
//
// Add puts them into memory and returns; a thread writes them to the spool; the sender takes them
// from there, or from memory while the disk is slow or full. Memory is bounded: above it the newest
// points are lost, counted, and said in the batch that follows them. So a full disk loses nothing as
// long as the coordinator answers, and an absent coordinator loses nothing as long as the disk does.
//
// Thread-safe.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <thread>
#include <utility>

#include "report/metric_batches.h"
#include "report/spool.h"

namespace syncbn::report {

class Outbox {
 public:
  struct Options {
    int64_t max_waiting_points = 100'000;
    size_t batch_bytes = kLargestBatch;
    // How long a disk that has refused is left alone.
    std::chrono::milliseconds retry = std::chrono::milliseconds(500);
    // Told, from the thread that writes, when the disk refuses and when it is well again.
    std::function<void(const std::string&)> on_warning;
  };

  // Without a spool everything waits in memory.
  Outbox(std::unique_ptr<Spool> spool, Options options);
  // Writes what memory still holds, if the disk takes it.
  ~Outbox();
  Outbox(const Outbox&) = delete;
  Outbox& operator=(const Outbox&) = delete;

  // Never waits for a disk or a peer, never fails.
  void Add(std::span<const Point> points);

  // Waits until everything added so far is in the spool or acknowledged, at most for `time`; `sync`:
  // where a power failure cannot take it either. False when it is not.
  bool Flush(std::chrono::milliseconds time, bool sync);
  // The points after `sequence`, as many as make a batch; nothing when there are none.
  std::optional<v1::MetricBatch> After(int64_t sequence);
  // Waits until there are points after `sequence`, at most for `time`, or until Wake.
  bool WaitForPoints(int64_t sequence, std::chrono::milliseconds time);
  // Waits until everything was acknowledged, at most for `time`, or until Wake. Whether it was.
  bool WaitUntilEmpty(std::chrono::milliseconds time);
  void Wake();
  void Acknowledge(int64_t sequence);

  // Into the spool. False, after a warning, when that is impossible.
  bool WriteExit(const v1::RankExit& exit);
  // Everything was delivered: nothing of it is left on disk.
  void RemoveSpool();

  struct Figures {
    int64_t last = 0;          // sequence of the newest point
    int64_t acknowledged = 0;  // up to here
    int64_t waiting = 0;       // kept, not acknowledged
    int64_t lost = 0;          // could not be kept
  };
  Figures figures() const;
  // Points found missing on the way out.
  void AddLost(int64_t points);

 private:
  struct Waiting {
    int64_t sequence = 0;
    int64_t lost_before = 0;
    Point point;
  };

  void WriteLoop();
  // One batch from memory into the spool; false when the disk refuses. `lock` is released meanwhile.
  bool WriteSome(std::unique_lock<std::mutex>& lock);
  // The first points of memory, from `begin` on.
  v1::MetricBatch BatchFrom(std::deque<Waiting>::const_iterator begin) const;
  void Drop();
  void Warn(const std::string& warning) const;

  const Options options_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  // Not yet in the spool, and not acknowledged.
  std::deque<Waiting> memory_;
  int64_t next_ = 1;
  int64_t lost_pending_ = 0;  // directly before the next point
  int64_t lost_ = 0;
  int64_t acknowledged_ = 0;
  int64_t in_spool_ = 0;  // last sequence there
  int64_t wakes_ = 0;
  bool stop_ = false, refused_ = false;

  // Taken after mutex_ is released, held while the disk works.
  mutable std::mutex spool_mutex_;
  std::unique_ptr<Spool> spool_;
  std::thread writer_;
};

}  // namespace syncbn::report
