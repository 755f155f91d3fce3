// What this process tells the coordinator of its job, if it is part of one; otherwise every call does
// nothing.
//
// Made before anything can go wrong, so that every failure is reported. Thread-safe where said.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/activity.h"
#include "base/error.h"
#include "comm/progress_board.h"
#include "report/reporter.h"
#include "train/metric_record.h"
#include "train/summary.h"

namespace syncbn::app {

// Ends this process when the one that started it dies, where a coordinator started the job: nobody
// would end it otherwise. To be called first of all.
void DieWithLauncher();

class RunReport {
 public:
  struct Options {
    int rank = 0;
    int processes = 1;
    // host:port in place of SYNCBN_COORDINATOR; empty: what that says.
    std::string coordinator;
    // For what is undelivered at the end of a run, and after a failure (where others wait).
    std::chrono::milliseconds delivery_time = std::chrono::seconds(10);
    std::chrono::milliseconds failure_time = std::chrono::seconds(2);
  };

  // Throws INVALID_ARGUMENT for an environment that contradicts itself, and for a coordinator without
  // a job.
  explicit RunReport(const Options& options);
  ~RunReport();
  RunReport(const RunReport&) = delete;
  RunReport& operator=(const RunReport&) = delete;

  bool active() const { return reporter_ != nullptr; }
  // Which start of its job this is.
  std::optional<int> attempt() const;
  // Whether the coordinator wants the run to stop. Thread-safe.
  bool stop_wanted() const { return stop_wanted_.load(std::memory_order_relaxed); }

  // What the process is doing, for heartbeats.
  void SetPhase(Activity phase, int64_t steps = 0, double epoch = 0);
  // Where it can be seen what replicas do; null before it is destroyed.
  void SetBoard(comm::ProgressBoard* board);
  void SetPlan(int64_t total_steps, int64_t first_step);
  void SetCheckpoint(int64_t step);
  // What should stand in the job's history although nothing failed.
  void SetNote(const std::string& note);

  // `evaluation`: see PointsOf.
  void Write(const train::MetricRecord& record, const std::string& evaluation);
  // Returns when what was written is where a crash cannot take it, or after some seconds, with a
  // warning, when it is not.
  void Flush();

  // How the process leaves: once, at the end. Waits for delivery, for a bounded time; what is not
  // delivered is said on standard error.
  void Finish(const train::Summary& summary);
  void Fail(const Error& error);

 private:
  report::RankStatus Status();
  void Deliver(v1::RankExit exit, std::chrono::milliseconds time);

  const Options options_;
  std::atomic<bool> stop_wanted_{false};
  std::mutex mutex_;
  Activity phase_ = Activity::kLoad;
  int64_t steps_ = 0;
  double epoch_ = 0;
  int64_t phases_ = 0, load_progress_ = 0;
  std::optional<int64_t> checkpoint_;
  std::string note_;
  comm::ProgressBoard* board_ = nullptr;
  comm::ProcessActivity last_;
  bool unsafe_said_ = false;
  // Last: its threads use what stands above.
  std::unique_ptr<report::Reporter> reporter_;
};

}  // namespace syncbn::app
