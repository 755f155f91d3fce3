// What training takes of a device's memory, as the code that trains takes it.
#pragma once

#include <cstdint>
#include <span>

#include "backend/backend.h"
#include "train/prepared_run.h"

namespace syncbn::forecast {

// In bytes. Activations grow with the samples; parameters, their gradients and what is made of them
// do not.
struct MemoryNeed {
  double process = 0;  // once: parameters, their merged gradients, the optimizer's state
  double replica = 0;  // of each that computes at the same time, whatever its batch
  double sample = 0;   // for each of its samples
  // Samples of the two steps that this was told by.
  int64_t fewer = 0, more = 0;

  double OfReplica(int64_t batch) const { return replica + sample * static_cast<double>(batch); }
  // Of a process whose replicas with these batches compute at the same time.
  double OfProcess(std::span<const int64_t> batches) const;
};

// Runs the real step (train::TrainStep) of the run's model with few samples, once with `most` / 4
// and once with half of that, for a replica that is alone (recording_reducer.h), and counts what
// its executor takes. `backend` has the run's precision. Throws what a step throws:
// RESOURCE_EXHAUSTED where even one of two samples takes too much.
MemoryNeed MeasureMemoryNeed(const train::PreparedRun& run, const backend::Backend& backend,
                             int64_t most);

}  // namespace syncbn::forecast
