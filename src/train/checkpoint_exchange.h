// Continuing a run: the root has read the checkpoint, all others get it from the root, so that
// hosts need no folder in common.
#pragma once

#include "comm/communicator.h"
#include "train/checkpoint_store.h"
#include "train/trainer.h"

namespace syncbn::train {

// Collective. Restores the trainers of all processes from the checkpoint of rank 0, if it has one;
// what the others give is not looked at. Rank 0 throws what RestoreState throws, one that has no
// room for the state what that is, and the others then ABORTED.
void RestoreEverywhere(comm::Communicator& communicator, const StoredCheckpoint* checkpoint,
                       DType dtype, Trainer& trainer);

}  // namespace syncbn::train
