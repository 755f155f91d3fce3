// Why a job waits, in words and numbers.
#pragma once

#include <vector>

#include "coordinator/schedule/scheduler.h"

namespace syncbn::coordinator {

// "needs 8 slots, 3 free, 5 held by jobs/17", or the same for memory, or for room on single hosts.
PendingReason ExplainCapacity(const SlotRequest& request, const FreeCapacity& free,
                              const std::vector<RunningJob>& holders);

// There is room, but it is kept for `first`.
PendingReason ExplainBehind(const SlotRequest& request, const SlotRequest& first,
                            const std::optional<DurableTime>& first_starts_by,
                            const FreeCapacity& free, std::chrono::microseconds ending_margin,
                            DurableTime now);

// It would fit if all hosts were in use.
PendingReason ExplainHosts(const SlotRequest& request, const FreeCapacity& free);

}  // namespace syncbn::coordinator
