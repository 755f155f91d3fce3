// A trained model evaluated again: loss and accuracy over the test split, from a checkpoint, by one
// process.
#pragma once

#include <span>
#include <vector>

#include "backend/backend.h"
#include "train/checkpoint_store.h"
#include "train/evaluator.h"
#include "train/prepared_run.h"

namespace syncbn::train {

struct CheckpointEvaluationOptions {
  std::vector<v1::EvaluationMode> modes;
  // Training samples of `precise`.
  int64_t precise_samples = 2048;
  // Replicas that compute at the same time where they may take turns.
  int concurrency = 1;
};

// One result for each mode, in their order: the bits of what a run of this run file says after the
// step of the checkpoint. Throws what RestoreState throws.
std::vector<EvaluationResult> EvaluateCheckpoint(const PreparedRun& run,
                                                 const backend::Backend& backend,
                                                 const StoredCheckpoint& checkpoint,
                                                 const CheckpointEvaluationOptions& options);

}  // namespace syncbn::train
