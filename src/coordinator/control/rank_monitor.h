// What the coordinator concludes from the reports of one attempt's ranks, or from their absence.
// Pure: time is passed in. Not thread-safe.
//
// A rank that is not heard may be well, and so may the whole job: a worker never stops because it
// cannot reach the coordinator, and the coordinator never ends a job for that. It ends one
//   - when ranks that can be heard make no progress for long, and names those that hold up the
//   others:
//     the ones in the smallest reduction, and the ones that are silent;
//   - when the others have reported their end and the rest is silent: nothing is left to train;
//   - when nobody is heard and, as its launcher sees, no rank gets anything done either: uses the
//     processors or, where only that is seen, leaves anything on disk;
//   - when all have reported their end and the launcher does not end.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "coordinator/job/failure.h"
#include "coordinator/job/job_state.h"
#include "coordinator/launch/process.h"
#include "syncbn/v1/job.pb.h"

namespace syncbn::coordinator {

struct RankMonitorPolicy {
  std::chrono::microseconds heartbeat_interval = std::chrono::seconds(5);
  // Without a report from some rank for so long: stale.
  std::chrono::microseconds stale_after = std::chrono::seconds(30);
  // Without one from any rank for so long: unreachable.
  std::chrono::microseconds unreachable_after = std::chrono::minutes(5);
  // No progress of any rank for so long: stalled; kOutsidePatience times as long where a rank is at something
  // that waits for a disk or the like (base/activity.h). Longer than the workers' own watchdog, which knows
  // more and goes first.
  std::chrono::microseconds stall_after = std::chrono::minutes(10);
  // All ranks have reported their end: for the launcher to end as well.
  std::chrono::microseconds leave_after = std::chrono::minutes(2);
};

// The same for a job whose run file states how patient its own ranks are (Job.stall_timeout).
RankMonitorPolicy MonitorPolicyOf(const v1::Job& spec, const RankMonitorPolicy& defaults);

struct RankHeartbeat {
  std::string phase;
  int64_t step = 0;
  double epoch = 0;
  int64_t reduction = 0;
  std::string reduction_name;
  int64_t progress = 0;
};

class RankMonitor {
 public:
  RankMonitor(int processes, const RankMonitorPolicy& policy, MonotonicTime now);

  const RankMonitorPolicy& policy() const { return policy_; }

  // Ranks outside 0 .. processes - 1 are refused with INVALID_ARGUMENT.
  void CheckRank(int rank) const;
  void Register(int rank, const std::string& host, MonotonicTime now);
  void Heartbeat(int rank, const RankHeartbeat& heartbeat, MonotonicTime now);
  // The rank has left: its silence no longer means anything.
  void Exited(int rank, MonotonicTime now);
  // What the launcher sees of all ranks that have not left, asked while Assessment::nobody_heard:
  // how many there are, and the processor time they have had. Nothing: it cannot see them (all).
  void Saw(const std::optional<RankActivity>& activity, MonotonicTime now);
  // The coordinator itself did not run for so long: what was not heard then was perhaps said.
  void Excuse(MonotonicTime::duration time, MonotonicTime now);

  bool IsRegistered(int rank) const;
  bool AllRegistered() const;
  // Ranks that have not registered.
  std::vector<int> Missing() const;

  struct Assessment {
    Liveness liveness = Liveness::kLive;
    // Ranks without a recent report.
    std::vector<int> silent;
    // No rank that is still there is among the others: only the launcher can tell how they are.
    bool nobody_heard = false;
    // No progress for too long: whom the others wait for.
    std::optional<Failure> stall;
  };
  Assessment Assess(MonotonicTime now) const;

  // The newest report of the rank that is furthest behind; nothing before the first.
  std::optional<RankHeartbeat> Slowest() const;
  // When a rank was last heard; none was: the start.
  MonotonicTime LastHeard() const;

 private:
  struct Rank {
    bool registered = false;
    bool exited = false;
    std::string host;
    MonotonicTime heard;
    std::optional<RankHeartbeat> newest;
  };

  Rank& At(int rank);
  // Of an attempt in which nobody speaks any more.
  std::optional<Failure> StallInSilence(const std::vector<int>& silent, bool all_exited,
                                        MonotonicTime now) const;
  // Whether a rank that can be heard is at something that nothing in the run can hurry.
  bool WaitsForOutside(const std::vector<int>& silent) const;
  Failure MakeStall(const std::vector<int>& silent, MonotonicTime now) const;

  RankMonitorPolicy policy_;
  std::vector<Rank> ranks_;
  MonotonicTime last_progress_;
  std::optional<RankActivity> activity_;  // since a rank was heard last
  MonotonicTime last_activity_,
      last_look_;  // when it changed, or was seen first; when it was seen last
};

}  // namespace syncbn::coordinator
