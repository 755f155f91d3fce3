// How a reducer is to be made.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "comm/passage.h"
#include "comm/reducer.h"

namespace syncbn::backend {
class Backend;
class MergeStream;
}

namespace syncbn::comm {

class Communicator;
class Exchange;

enum class ReducerKind {
  kTree,    // the canonical tree over replicas: equal bits at any number of processes
  kNative,  // the library's all-reduce
};

// Makes the data plane among the processes of `control`, the reducer's own communicator, for blocks
// of `merges`, its merge stream, where it moves in that order (MakeNcclExchange). Null: messages
// over `control`. Collective.
using MakeExchange =
    std::function<std::unique_ptr<Exchange>(Communicator& control, backend::MergeStream& merges)>;

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
  // Among up to so many processes a small message goes directly to everybody, else recursively
  // (exchange_schedule.h). As above. Measured by reduction_bench: with 3 recursion takes 1.06 to 1.35 times as
  // long, with 4 0.69 to 0.89.
  int direct_processes = 3;
  // The same where a device exchanges in the order of its stream: a launch costs more than many
  // small blocks, and the library gathers by the best way of the machine. Not measured.
  int direct_processes_on_device = 64;
  bool IsSmall(size_t bytes) const { return bytes <= small_bytes; }
  bool GoesDirectly(size_t participants, bool on_device) const {
    return participants <=
           static_cast<size_t>(on_device ? direct_processes_on_device : direct_processes);
  }
  // kNative: groups across processes, beside the one of all replicas, that will be reduced.
  std::vector<Group> native_groups;
  // The data plane; empty: messages. The result does not depend on it.
  MakeExchange make_exchange = {};
  // Told of every reduction between processes when it is over.
  OnPassage on_passage = {};
  const Clock* clock = &Clock::System();
  // Whose tensors are reduced, on a merge stream of its own; null: the host's.
  const backend::Backend* backend = nullptr;
};

}  // namespace syncbn::comm
