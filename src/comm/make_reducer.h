// The one place that knows all reducers.
#pragma once

#include <chrono>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "comm/communicator.h"
#include "comm/reducer.h"
#include "comm/replica_map.h"

namespace syncbn::comm {

enum class ReducerKind {
  kTree,    // the canonical tree over replicas: equal bits at any number of processes
  kNative,  // the library's all-reduce
};

struct ReducerOptions {
  ReducerKind kind = ReducerKind::kTree;
  int replicas = 1;
  // A wait whose peers have made no progress for this long fails and names them.
  std::chrono::nanoseconds stall_timeout = std::chrono::seconds(300);
  // How often processes tell each other what their replicas do; at least 8 times a stall timeout.
  std::chrono::nanoseconds heartbeat = std::chrono::seconds(1);
  // Messages up to this size are exchanged whole, larger ones by ranges (see tree_reducer.h). Must be the
  // same in all processes; the result does not depend on it.
  size_t small_bytes = 32 * 1024;
  // kNative: groups across processes, beside the one of all replicas, that will be reduced.
  std::vector<Group> native_groups;
  const Clock* clock = &Clock::System();
};

// This process's part of a reducer. Collective over the communicator, which must outlive it; so is its
// destruction, unless a failure came first. Throws INVALID_ARGUMENT when there are more processes than
// replicas, UNIMPLEMENTED when the transport has no native all-reduce.
std::unique_ptr<Reducer> MakeReducer(Communicator& communicator, const ReducerOptions& options);

}  // namespace syncbn::comm
