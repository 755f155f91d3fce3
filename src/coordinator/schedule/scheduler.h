// Which waiting jobs start now, and why the others wait. Pure.
//
// Jobs are served by priority, then in the order of their numbers. The first that cannot start is
// first in line: it has a reservation, the time by which the time limits of running jobs guarantee
// it a place. A job behind it may start now only if by its own time limit it has ended by then, or
// if it fits beside the reservation; so what is first in line never starts later than it would have
// to. Where running jobs without a time limit stand in the way there is no such time, and a job may
// pass only on hosts that the first in line cannot use. Jobs whose hosts are all out of use are
// passed over, and hold up nobody.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "coordinator/schedule/placement.h"

namespace syncbn::coordinator {

struct WaitingJob {
  SlotRequest request;
  int priority = 0;
  // What is left of its time limit.
  std::optional<std::chrono::microseconds> time_limit;
};

struct RunningJob {
  Holding holding;
  // When it has ended for certain: its time limit and the time that ending takes.
  std::optional<DurableTime> ends_by;
};

// Numbers are those of syncbn.v1.PendingReason.Code.
enum class PendingCode { kSlots = 1, kMemory = 2, kBehind = 3, kHosts = 4, kHeld = 5 };

struct PendingReason {
  PendingCode code = PendingCode::kSlots;
  std::string message;
  int position = 0;  // 1 is first in line
  int needed_slots = 0;
  int free_slots = 0;
  std::vector<int64_t> blocking_jobs;
  std::optional<DurableTime> latest_start;
};

struct Schedule {
  struct Start {
    int64_t job = 0;
    Placement placement;
  };
  struct Wait {
    int64_t job = 0;
    PendingReason reason;
  };
  std::vector<Start> starts;
  // In the order in which they are served.
  std::vector<Wait> waits;
};

struct SchedulerPolicy {
  // What a job may take beyond its time limit to be ended for certain.
  std::chrono::microseconds ending_margin = std::chrono::minutes(4);
  // By an administrator: nothing starts. The text says why.
  std::optional<std::string> held = std::nullopt;
};

Schedule MakeSchedule(const std::vector<HostCapacity>& hosts,
                      const std::vector<RunningJob>& running, std::vector<WaitingJob> waiting,
                      const SchedulerPolicy& policy, DurableTime now);

}  // namespace syncbn::coordinator
