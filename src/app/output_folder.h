// The output folder of a run.
#pragma once

#include <filesystem>
#include <string>

namespace syncbn::app {

enum class OutputUse {
  kNew,        // the folder must not hold a run
  kOverwrite,  // what another run left there is removed
  kResume,     // the run there is continued
};

// Makes the folder ready. Throws ALREADY_EXISTS when it holds a run that nobody asked to continue or
// overwrite, NOT_FOUND when there is nothing to resume.
void PrepareOutputFolder(const std::filesystem::path& out, OutputUse use);

}  // namespace syncbn::app
