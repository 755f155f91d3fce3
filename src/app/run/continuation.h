// Whether a run may go on from a checkpoint, and what is then no longer as it was.
#pragma once

#include <map>
#include <string>

#include "syncbn/v1/run.pb.h"
#include "train/checkpoint_store.h"

namespace syncbn::app {

// The facts of a run that its results depend on (LocalRun::Facts).
using Facts = std::map<std::string, std::string>;

// Throws FAILED_PRECONDITION, saying what differs and what to do, when the run file differs from
// the checkpoint's in what changes the result.
void CheckRunFileContinues(const train::StoredCheckpoint& checkpoint, const v1::RunSpec& spec);

// Throws FAILED_PRECONDITION when the data are not those of the checkpoint.
void CheckDataContinues(const train::StoredCheckpoint& checkpoint, const Facts& facts);

// What else bits depend on and is not as the checkpoint's: "back end: cpu: ..., the checkpoint has
// cpu:
// ...". Empty when they will be the same.
std::string OtherBits(const train::StoredCheckpoint& checkpoint, const Facts& facts);

// How a run that has done all its steps can be made longer, in a sentence.
std::string HowToExtend(const v1::RunSpec& spec, bool ended_by_max_steps);

}  // namespace syncbn::app
