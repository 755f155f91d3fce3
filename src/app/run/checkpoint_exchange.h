// Continuing a run: the root reads the checkpoint, all others get it from the root, so that hosts need no
// folder in common.
#pragma once

#include "comm/communicator.h"
#include "config/run_file.h"
#include "train/checkpoint_store.h"
#include "train/trainer.h"

namespace syncbn::app {

// Collective. `store` is the root's (rank 0), null elsewhere. Restores the trainer from the newest
// undamaged checkpoint. Returns its step, 0 when there is none yet (the run then starts anew). Throws
// FAILED_PRECONDITION, naming the fields, when the run file differs in what changes the result.
int64_t RestoreEverywhere(comm::Communicator& communicator, const train::CheckpointStore* store,
                          const v1::RunSpec& spec, DType dtype, train::Trainer& trainer);

}  // namespace syncbn::app
