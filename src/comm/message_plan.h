// What a process sends and receives for a reduction in the tree, for whoever wants to know without
// running it: by the same group plans, schedules, ranges and limits that TreeReducer goes by. A
// pure function.
#pragma once

#include <cstdint>
#include <vector>

#include "comm/group_plan.h"
#include "comm/merge.h"
#include "comm/reducer_options.h"

namespace syncbn::comm {

// A round of a reduction as one process sees it; bytes are those of bodies.
struct RoundTraffic {
  int64_t messages_out = 0, messages_in = 0;
  int64_t bytes_out = 0, bytes_in = 0;
  // The longest body, of those it sends and those it receives.
  int64_t longest = 0;

  bool operator==(const RoundTraffic&) const = default;
};

// Of the process that `plan` is of. A round begins when the one before it is complete. Empty where
// the group lies inside of one process.
std::vector<RoundTraffic> TrafficOf(const GroupPlan& plan, const Content& content,
                                    const ReducerOptions& options);

}  // namespace syncbn::comm
