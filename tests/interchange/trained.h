// A small run that was trained in this process, and its newest checkpoint.
#pragma once

#include <string>

#include "tests/support/in_process_run.h"
#include "tests/support/temp_folder.h"
#include "train/checkpoint_store.h"

namespace syncbn::interchange {

struct Trained {
  v1::RunSpec spec;
  train::StoredCheckpoint checkpoint;
};

inline Trained TrainedBy(const std::string& run_file) {
  const v1::RunSpec spec = RunSpecFromYaml(run_file);
  const TempFolder folder;
  RunInProcess(spec, {.out = folder.path()});
  return {.spec = spec, .checkpoint = *train::CheckpointStore({.out = folder.path()}).Latest()};
}

// The model of a run on the shapes.
inline std::unique_ptr<nn::Model> ModelOf(const v1::RunSpec& spec, bool fuse = true) {
  return nn::BuildModelOf(spec, {.height = 32, .width = 32, .channels = 3, .classes = 10}, fuse);
}

}  // namespace syncbn::interchange
