// What every process and every replica is doing, as far as this process knows: it writes its own entries,
// those of others come with their heartbeats. What an activity means is in base/activity.h.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "base/activity.h"
#include "comm/reducer.h"
#include "comm/replica_map.h"

namespace syncbn::comm {

// Trivially copyable: is sent as it is. Texts are cut to what fits and end in zeros.
struct ReplicaStatus {
  int32_t replica = 0;
  Activity activity = Activity::kRest;
  // Of the reduction it waits for.
  int32_t group_begin = 0, group_end = 0;
  int64_t sequence = -1;
  // Grows with every sign of life: what is waited for is judged by this, not by a stopwatch.
  uint64_t changes = 0;
  int64_t step = -1;
  // It has entered so many since the start.
  int64_t reductions = 0;
  std::array<char, 16> phase{};
  std::array<char, 56> layer{};
  std::array<char, 56> reduction{};

  bool WaitsFor(Group group, int64_t sequence) const;
  std::string_view Layer() const;
  // "step 17, backward, layer2.0.bn1, waiting for 'layer2.0.bn1 backward' (reduction 4 of replicas 0..3)"
  std::string Describe() const;
};

// Trivially copyable: is sent as it is.
struct ProcessStatus {
  int32_t rank = 0;
  Activity activity = Activity::kStart;
  // Its replicas are at work: it waits for them.
  int32_t in_round = 0;
  uint64_t changes = 0;
  int64_t steps = 0;  // done

  // "checkpoint, after 17 steps"
  std::string Describe() const;
};

// What this process is doing, for whoever watches the run from outside.
struct ProcessActivity {
  Activity activity = Activity::kStart;
  // Of its replica that is furthest behind:
  int64_t step = -1;
  // "forward", "backward", ...
  std::string phase;
  // Reductions it has entered since the start; equal for all replicas that are in step.
  int64_t reductions = 0;
  // The layer it computes, the reduction it waits for, or what else it is at ("turn", "data", "rest").
  std::string where;
  // Signs of life of the process and of all its replicas: grows with everything they do.
  int64_t progress = 0;
};

// Thread-safe. Writing costs some 20 ns: it happens twice a layer.
class ProgressBoard {
 public:
  // Of the process `rank`.
  ProgressBoard(const ReplicaMap& map, int rank);

  // -- Replicas of this process ------------------------------------------------------------------------
  // It computes: `phase` and `layer` say what.
  void Report(int replica, int64_t step, std::string_view phase, std::string_view layer);
  // It begins another activity; a reduction: see EnterWait.
  void Enter(int replica, int64_t step, Activity activity);
  // Progress that is worth no text.
  void Touch(int replica);
  // The replica has entered a reduction.
  void Contribute(int replica);
  void EnterWait(int replica, std::string_view reduction, Group group, int64_t sequence);
  // It computes again.
  void LeaveWait(int replica);

  // -- This process ------------------------------------------------------------------------------------
  void SetProcess(Activity activity, int64_t steps);
  void SetInRound(bool in_round);
  ProcessActivity ReadActivity() const;

  // -- Everybody ---------------------------------------------------------------------------------------
  ReplicaStatus Read(int replica) const;
  uint64_t Changes(int replica) const;
  ProcessStatus ReadProcess(int rank) const;
  // Replace the entry of status.replica or status.rank.
  void Write(const ReplicaStatus& status);
  void WriteProcess(const ProcessStatus& status);

 private:
  template <typename Status>
  struct Entry {
    mutable std::mutex mutex;
    Status status;
  };
  // Changes this replica's entry.
  template <typename Change>
  void Update(int replica, Change&& change);

  const ReplicaMap map_;
  const int rank_;
  const std::unique_ptr<Entry<ReplicaStatus>[]> replicas_;
  const std::unique_ptr<Entry<ProcessStatus>[]> processes_;
};

}  // namespace syncbn::comm
