// What Slurm's tools mean when they do not do what they were told to. Pure text.
#pragma once

#include <string>
#include <string_view>

namespace syncbn::coordinator {

enum class SlurmRefusal {
  kFinal,    // this job as it is will not be taken
  kPassing,  // not now: nothing of the job is in Slurm, and another try may do better
  kInDoubt,  // Slurm was not heard: it may have the job all the same
};

// `words` is what sbatch printed when it ended with an error.
SlurmRefusal MeaningOf(std::string_view words);

// The job is none that Slurm knows (squeue, scancel).
bool IsUnknownJob(std::string_view words);

// All that a tool said, on one line.
std::string OneLineOf(std::string_view words);

}  // namespace syncbn::coordinator
