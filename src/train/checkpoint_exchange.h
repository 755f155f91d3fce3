// What a run begins with or goes on from: the root has read the file, all others get it from the
// root, so that hosts need no folder in common.
#pragma once

#include "comm/communicator.h"
#include "nn/model.h"
#include "train/checkpoint_store.h"
#include "train/initial_weights.h"
#include "train/trainer.h"

namespace syncbn::train {

// Collective. Restores the trainers of all processes from the checkpoint of rank 0, if it has one;
// what the others give is not looked at. Rank 0 throws what RestoreState throws, one that has no
// room for the state what that is, and the others then ABORTED. Returns whether it had one.
bool RestoreEverywhere(comm::Communicator& communicator, const StoredCheckpoint* checkpoint,
                       DType dtype, Trainer& trainer);

// Collective. Puts the weights of rank 0's file into the initial state of all processes, so that
// they begin with the same bits whatever lies under that name on their hosts. Without `file` (where
// the others' is not looked at either) rank 0 reads it. Throws there what ReadWeights and
// TakeWeights throw, in the others then ABORTED.
void TakeWeightsEverywhere(comm::Communicator& communicator, const v1::InitSpec& init,
                           const WeightsFile* file, const nn::Model& model, DType dtype,
                           Trainer& trainer);

}  // namespace syncbn::train
