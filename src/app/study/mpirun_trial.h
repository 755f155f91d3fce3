// A trial of several processes: `syncbn train` under mpirun, in a folder of its own.
#pragma once

#include <filesystem>
#include <optional>
#include <stop_token>
#include <string>

#include "study/measures.h"
#include "study/plan.h"
#include "syncbn/v1/run.pb.h"

namespace syncbn::app {

// The trial's folder is made in `parent` and is gone afterwards, unless this process is killed: see
// RemoveLeftTrials. Nothing: it was stopped. What the run could not do is a record of kFailed,
// without `by`. Throws NOT_FOUND where there is no mpirun.
std::optional<study::TrialRecord> RunUnderMpirun(const v1::RunSpec& run, int processes,
                                                 const std::string& backend,
                                                 const std::filesystem::path& parent,
                                                 const std::stop_token& stop);

// What this machine lacks for the trials of a study, in a sentence; empty: nothing.
std::string MissingForTrials(const study::Plan& plan);

// Of processes that were killed; nobody else may run trials in `parent`.
void RemoveLeftTrials(const std::filesystem::path& parent);

}  // namespace syncbn::app
