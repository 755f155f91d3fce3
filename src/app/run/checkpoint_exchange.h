// Continuing a run: the root reads the checkpoint, all others get it from the root, so that hosts need no
// folder in common.
#pragma once

#include "app/run/continuation.h"
#include "comm/communicator.h"
#include "train/checkpoint_store.h"
#include "train/trainer.h"

namespace syncbn::app {

struct Resumption {
  // Steps done; 0 when there is no checkpoint yet (the run then starts anew).
  int64_t step = 0;
  // What bits depend on and is not as it was when the checkpoint was written; empty: nothing.
  std::string other_bits;
};

// Collective. `store` is the root's (rank 0), null elsewhere. Restores the trainer from the newest
// undamaged checkpoint. Throws FAILED_PRECONDITION, saying what differs, when the run file differs
// in what changes the result, when the data are others, and, unless `any`
// (train.checkpoint.resume_on), when the program, a library or the instruction set is another. With
// `any` that is among the trainer's environment_changes.
Resumption RestoreEverywhere(comm::Communicator& communicator, const train::CheckpointStore* store,
                             const v1::RunSpec& spec, const Facts& facts, bool any, DType dtype,
                             train::Trainer& trainer);

}  // namespace syncbn::app
