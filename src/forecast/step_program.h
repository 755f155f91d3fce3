// What one process does in a training step, as the code that trains does it: which reductions its
// replicas start and wait for, in which order, and what is computed between. Recorded, not
// described: the real step (train::TrainStep) of the real model runs against a reducer that notes
// what it is asked for (recording_reducer.h), so a new layer or message is in the forecast as soon
// as it is in the program.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "comm/merge.h"
#include "comm/message_plan.h"
#include "nn/model.h"
#include "syncbn/v1/run.pb.h"

namespace syncbn::forecast {

struct ProgramReduction {
  std::string name;
  comm::Operation operation = comm::Operation::kSum;
  DType dtype = DType::kFloat32;
  int64_t elements = 0;
  std::vector<int64_t> channels;
  // Of the replica that was recorded.
  comm::Group group;

  comm::Content content() const {
    return {.operation = operation, .dtype = dtype, .elements = elements, .channels = channels};
  }
};

enum class EventKind {
  kStart,
  // Of a layer inside of its pass: nothing goes on without it.
  kWaitInPass,
  // At the end of the step.
  kWaitAtEnd,
};

struct ProgramEvent {
  EventKind kind = EventKind::kStart;
  int reduction = 0;
  // What the replica computes between the event before it and this one, in seconds.
  double compute = 0;
};

// Of one replica.
struct StepProgram {
  std::vector<ProgramReduction> reductions;
  std::vector<ProgramEvent> events;
  // After the last wait: the judgement of the step, the update, metrics, waiting for data. In
  // seconds.
  double rest = 0;

  // "start layer1.0.bn1 forward"
  std::string NameOf(const ProgramEvent& event) const;
};

// A reduction of a process: what its replicas start under one name. Groups are those that have
// members in other processes, each once.
struct ProcessReduction {
  ProgramReduction reduction;
  // By group: what this process sends and receives, by round.
  std::vector<std::vector<comm::RoundTraffic>> groups;

  int64_t messages() const;  // out
  int64_t bytes() const;
};

// The step of a process: the program of its first replica, and all groups that its replicas are in.
// Groups are runs of consecutive replicas, so only those of its first and its last replica can have
// members elsewhere.
struct ProcessProgram {
  // As of the first replica, without times; reductions by index of `reductions`.
  StepProgram program;
  std::vector<ProcessReduction> reductions;

  int64_t messages() const;
  int64_t bytes() const;
};

// Records steps; what was recorded before is kept. Thread-safe. Back end must outlive it.
class ProgramRecorder {
 public:
  ProgramRecorder(const backend::Backend& backend, nn::InputSpec input)
      : backend_(backend), input_(input) {}

  // The step of process `rank` of `processes`. `spec` is complete. Throws INVALID_ARGUMENT for a
  // model or a normalization batch that does not fit the cluster, or more processes than replicas;
  // UNIMPLEMENTED for `reduction: native`, whose messages are the library's.
  ProcessProgram OfProcess(const v1::RunSpec& spec, int processes, int rank);
  // The step of a replica, untimed.
  StepProgram OfReplica(const v1::RunSpec& spec, int replica);

 private:
  const backend::Backend& backend_;
  const nn::InputSpec input_;
  std::mutex mutex_;
  std::map<std::string, StepProgram> recorded_;
};

}  // namespace syncbn::forecast
