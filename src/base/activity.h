// What a process of a run and its replicas can be doing: the one list of it.
//
// Its names are what errors and heartbeats say. Whom an activity waits for decides what silence means:
// only what makes no progress and could is stalled. The watchdog of the processes (comm/watchdog.h) and
// the coordinator (coordinator/control/rank_monitor.h) judge by it.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace syncbn {

enum class Activity : int32_t {
  // -- Of a process, in the order of a run
  kLoad,    // reads the run file and the data
  kJoin,    // meets the other processes
  kStart,   // reads a checkpoint, opens its files
  kTrain,   // a step; between its replicas' parts: the update
  kDevice,  // waits for what its device was given, in which the devices of others may be waited for
  kRecord,  // writes and shows figures
  kDump,    // writes a step whole
  kEvaluate,
  kCheckpoint,  // writes one
  kFinish,      // the summary, and what the coordinator has not yet heard
  // -- Of a replica
  kCompute,    // a layer
  kReduction,  // waits for the parts of other replicas
  kTurn,       // waits until it may compute: replicas of its process take turns
  kData,       // waits for its batch
  kRest,       // between two rounds: what its process is doing tells more
};

// Who has to move before an activity can end.
enum class Awaits {
  kItself,
  kReplicas,  // others of the run
  kProcess,   // the thread that drives the replicas
  kOutside,   // a disk, a network, a program that reads: nothing in the run can hurry it
};

// "load", "train", "reduction", ...
std::string_view NameOf(Activity activity);
// Nothing for other names: those of another version.
std::optional<Activity> ActivityNamed(std::string_view name);
Awaits AwaitedBy(Activity activity);

// What is outside of the run gets so many times the patience of what computes: a disk is allowed to be
// slow, but not to hold up a run for ever.
constexpr int kOutsidePatience = 10;

}  // namespace syncbn
