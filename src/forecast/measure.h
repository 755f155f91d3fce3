// The profile of this machine: some steps of the real trainer, and messages inside of this process.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "data/dataset_cache.h"
#include "forecast/machine_profile.h"
#include "syncbn/v1/run.pb.h"

namespace syncbn::forecast {

struct MeasureOptions {
  // Of a replica; ascending, each 1 or more.
  std::vector<int64_t> batches;
  // At each of them: so many steps at least, and more up to so long.
  int least_steps = 5;
  double seconds = 1.5;
  // Told before each size. May be empty.
  std::function<void(int64_t batch)> on_batch;
};

// Sizes of a replica's batch to measure so that a forecast of `wanted` is seldom beyond them: the
// smallest, the largest and `own`. `most`: samples that there are.
std::vector<int64_t> BatchesToMeasure(int64_t own, std::span<const int64_t> wanted, int64_t most);

// Trains the run's model on one core of this machine, as replica 0 of two whose statistics are
// shared, with loader, update and metrics, and notes when which reduction begins: the other replica
// is not there (recording_reducer.h). Of all steps of a size, after two to warm up, the mean over
// the quickest quarter counts: what other programs took from this one is not the machine's. `run`
// is complete. The calling thread has one OpenMP thread from then on. Throws what training throws.
MachineProfile MeasureProfile(const v1::RunSpec& run, const backend::Backend& backend,
                              data::DatasetCache& datasets, const MeasureOptions& options);

// Reductions of two threads that are processes to each other (comm/in_process.h).
HostCosts MeasureHostCosts();

}  // namespace syncbn::forecast
