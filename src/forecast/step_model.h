// How long a step takes in a cluster: the program of a process with its times, the messages that
// its reductions are made of, and an alpha-beta model of the network (Hockney 1994, "The
// communication challenge for MPP"; the software's part apart from the network's, as in LogP,
// Culler et al. 1993).
//
// All processes are alike and begin together, so what a process sends is when its like arrives from
// the others. A round of a reduction leaves when it is launched and the process's link is free; the
// link is busy for its bytes / bandwidth. It is over a latency later, and after what the software
// takes (HostCosts). A message longer than eager_bytes is announced first and sent when the
// receiver has answered: 2 latencies more.
// Of several groups of a process the rounds go side by side. Replicas of a process take turns on
// its cores. A reduction's later rounds begin when the process looks after its messages: while it
// waits, or at its next event, never in the middle of a layer.
//
// Not in the model: unequal speeds and pauses of hosts, other traffic, congestion inside the
// network, retries.
#pragma once

#include <cstdint>

#include "forecast/machine_profile.h"
#include "forecast/step_program.h"

namespace syncbn::forecast {

struct Network {
  double latency = 0;    // seconds, one way, small message
  double bandwidth = 0;  // bytes a second, out of a process and into it at the same time
  // Open MPI's over TCP.
  int64_t eager_bytes = 64 * 1024;
};

struct ProcessShape {
  // Of the process with the most of them.
  int replicas = 1;
  int cores = 1;
};

// Seconds; they add up to the step.
struct StepTime {
  double compute = 0;
  // Waiting for statistics, forward and backward.
  double statistics = 0;
  // Waiting for gradients and what goes with them, once the backward pass is over.
  double gradients = 0;
  // Judging, updating, metrics, data.
  double other = 0;

  double total() const { return compute + statistics + gradients + other; }
  double statistics_share() const { return statistics / total(); }
  // Of the work that it would be without messages.
  double efficiency() const { return (compute + other) / total(); }
};

// `process` has the times of one replica (MachineProfile::Timed of its program).
StepTime PredictStep(const ProcessProgram& process, const ProcessShape& shape,
                     const Network& network, const HostCosts& costs);

}  // namespace syncbn::forecast
