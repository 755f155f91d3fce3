// Whether a run may go on from a checkpoint, and what is then no longer as it was.
#pragma once

#include <optional>
#include <string>

#include "app/run/run_facts.h"
#include "syncbn/v1/run.pb.h"
#include "train/checkpoint_store.h"

namespace syncbn::app {

// Throws FAILED_PRECONDITION when the data are not those of the checkpoint.
void CheckDataContinues(const train::StoredCheckpoint& checkpoint, const Facts& facts);

// What else bits depend on and is not as the checkpoint's: "back end: cpu: ..., the checkpoint has
// cpu:
// ...". Empty when they will be the same.
std::string OtherBits(const train::StoredCheckpoint& checkpoint, const Facts& facts);

struct Continuation {
  train::StoredCheckpoint checkpoint;
  // What bits depend on and is not as it was when the checkpoint was written; empty: nothing.
  std::string other_bits;
};

// The newest undamaged checkpoint, which the run may go on from; nothing where there is none yet
// (the run then starts anew). Throws FAILED_PRECONDITION, saying what differs and what to do, when
// the run file differs in what changes the result, when the data are others, and, unless `any`
// (train.checkpoint.resume_on), when the program, a library or the instruction set is another. With
// `any` that is among the checkpoint's environment_changes.
std::optional<Continuation> FindContinuation(const train::CheckpointStore& store,
                                             const v1::RunSpec& spec, const Facts& facts, bool any);

// How a run that has done all its steps can be made longer, in a sentence.
std::string HowToExtend(const v1::RunSpec& spec, bool ended_by_max_steps);

}  // namespace syncbn::app
