// What a run that found too little memory on its GPU needs, and which batch would fit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "forecast/memory_need.h"
#include "train/prepared_run.h"

namespace syncbn::app {

// "A replica with a batch of 64 needs about ...". `batches`: of the replicas of this process that
// compute at the same time. `available`: bytes that the process could have. `all_alike`: whether
// all replicas of the run have one batch.
std::string MemoryAdviceOf(const forecast::MemoryNeed& need, const std::vector<int64_t>& batches,
                           bool all_alike, double available);

// The same, measured with steps of few samples after the run has failed and its memory is free, in
// process `rank` of `processes`, `concurrency` of whose replicas compute at once where they can.
// Where it does not succeed, also not in the time that other processes leave, only how memory
// grows.
std::string MemoryAdvice(const train::PreparedRun& run, const backend::Backend& backend, int rank,
                         int processes, int concurrency, size_t available);

}  // namespace syncbn::app
