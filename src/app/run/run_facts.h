// What a run of this process is made of: the facts and the words by which it is compared and shown.
#pragma once

#include <map>
#include <string>

#include "backend/backend.h"
#include "train/prepared_run.h"

namespace syncbn::app {

// What the results of a run depend on beside the run file's path and the machine: equal facts,
// equal bits.
using Facts = std::map<std::string, std::string>;
Facts FactsOf(const train::PreparedRun& run, const backend::Backend& backend);

// Of the file of weights that a run has begun with (model.init.from): known to the root alone,
// which reads it, and afterwards to the run's checkpoints.
inline constexpr const char* kInitialWeights = "initial weights";

// "resnet20, 272,474 parameters; shapes: 8192 training and 2048 test images of 32 x 32 x 3"
std::string DescriptionOf(const train::PreparedRun& run);

}  // namespace syncbn::app
