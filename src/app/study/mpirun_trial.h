// A trial of several processes: `syncbn train` under mpirun, in a folder of its own that is gone
// afterwards.
#pragma once

#include <optional>
#include <stop_token>
#include <string>

#include "study/measures.h"
#include "syncbn/v1/run.pb.h"

namespace syncbn::app {

// Nothing: it was stopped. Fills all but `classes` and `by`. What the run could not do is a record
// of kFailed. Throws NOT_FOUND where there is no mpirun.
std::optional<study::TrialRecord> RunUnderMpirun(const v1::RunSpec& run, int processes,
                                                 const std::string& backend,
                                                 const std::stop_token& stop);

}  // namespace syncbn::app
