// A run's folder, for who uses what was trained there.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "config/run_file.h"
#include "interchange/model_input.h"
#include "train/checkpoint_store.h"

namespace syncbn::app {

// The run file that a run has written to its folder. Throws NOT_FOUND where it is none.
config::RunFile StoredRunFileOf(const std::filesystem::path& out);

struct TrainedRun {
  std::filesystem::path out;
  config::RunFile file;
  train::StoredCheckpoint checkpoint;
};

// With the newest undamaged checkpoint, or the one after so many steps. Throws NOT_FOUND where
// there is none, naming those that there are.
TrainedRun OpenTrainedRun(const std::filesystem::path& out, std::optional<int64_t> step);

// From the folder; of a run that has written none, from its data.
interchange::ModelInput InputOfRun(const TrainedRun& run);

}  // namespace syncbn::app
