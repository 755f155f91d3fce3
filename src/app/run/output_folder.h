// The output folder of a run.
#pragma once

#include <filesystem>
#include <string>

#include "train/checkpoint_store.h"

namespace syncbn::app {

enum class OutputUse {
  kNew,        // the folder must not hold a run
  kOverwrite,  // what another run left there will be removed by RemoveFormerRun
  kResume,     // the run there is continued
};

// Makes the folder ready; a new run takes it in the same step, by making its folder of checkpoints.
// Throws ALREADY_EXISTS when it holds a run that nobody asked to continue or overwrite, or another
// one takes it at the same moment, NOT_FOUND when there is nothing to resume.
void PrepareOutputFolder(const std::filesystem::path& out, OutputUse use);

// Removes what another run has left, once `store` has been claimed: a run that still lives there finds at its
// next checkpoint that it has been superseded, and ends.
void RemoveFormerRun(const std::filesystem::path& out, train::CheckpointStore& store);

// Makes a folder and those above it. PERMISSION_DENIED or INVALID_ARGUMENT, naming the option that gave it.
void MakeOutputFolder(const std::filesystem::path& folder, const std::string& option);

}  // namespace syncbn::app
