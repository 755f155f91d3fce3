#include "coordinator/launch/slurm_answers.h"

#include <utility>

namespace syncbn::coordinator {
namespace {

// Parts of Slurm's messages (src/common/slurm_errno.c and the names of its limits), as of 22.05.
// Those of a limit come as a line of their own, before one that all limits share. What is not here
// is final: a wrong partition, account, constraint or size, "Requested node configuration is not
// available", a time limit beyond the partition's.
constexpr std::pair<std::string_view, SlurmRefusal> kMeanings[] = {
    // How many jobs somebody may have in the queue: AssocMaxSubmitJobLimit,
    // AssocGrpSubmitJobsLimit,
    // QOSMaxSubmitJobPerUserLimit, QOSMaxSubmitJobPerAccountLimit, QOSGrpSubmitJobsLimit. The same
    // of
    // running ones, where a quality of service refuses instead of queueing (DenyOnLimit).
    {"MaxSubmitJob", SlurmRefusal::kPassing},
    {"GrpSubmitJob", SlurmRefusal::kPassing},
    {"MaxJobs", SlurmRefusal::kPassing},
    {"GrpJobs", SlurmRefusal::kPassing},
    // The controller's own table is full, and sbatch has tried for a while.
    {"temporarily unable to accept job", SlurmRefusal::kPassing},
    {"Resource temporarily unavailable", SlurmRefusal::kPassing},
    // Drained, down or reserved at the moment.
    {"partition not available", SlurmRefusal::kPassing},
    {"partition configuration not available now", SlurmRefusal::kPassing},
    {"node not available", SlurmRefusal::kPassing},
    {"Requested nodes are busy", SlurmRefusal::kPassing},
    {"not usable now", SlurmRefusal::kPassing},
    {"presently disabled", SlurmRefusal::kPassing},
    // Troubles of Slurm's own that keep it from taking anything.
    {"Unable to connect to database", SlurmRefusal::kPassing},
    {"error writing script/environment to file", SlurmRefusal::kPassing},
    {"Protocol authentication error", SlurmRefusal::kPassing},
    {"Munge encode failed", SlurmRefusal::kPassing},
    {"configuration source", SlurmRefusal::kPassing},
    {"standby mode", SlurmRefusal::kPassing},
    {"Unable to contact slurm controller (connect failure)", SlurmRefusal::kPassing},
    // It was asked, and its answer did not come.
    {"Unable to contact slurm controller", SlurmRefusal::kInDoubt},
    {"Socket timed out", SlurmRefusal::kInDoubt},
    {"Zero Bytes were transmitted", SlurmRefusal::kInDoubt},
    {"Communication connection failure", SlurmRefusal::kInDoubt},
    {"Communication shutdown failure", SlurmRefusal::kInDoubt},
    {"Message send failure", SlurmRefusal::kInDoubt},
    {"Message receive failure", SlurmRefusal::kInDoubt},
    {"Unexpected message received", SlurmRefusal::kInDoubt},
    {"Connection reset by peer", SlurmRefusal::kInDoubt},
    {"Connection timed out", SlurmRefusal::kInDoubt},
};

}  // namespace

SlurmRefusal MeaningOf(std::string_view words) {
  for (const auto& [part, meaning] : kMeanings) {
    if (words.find(part) != std::string_view::npos) return meaning;
  }
  return SlurmRefusal::kFinal;
}

bool IsUnknownJob(std::string_view words) {
  return words.find("Invalid job id") != std::string_view::npos;
}

std::string OneLineOf(std::string_view words) {
  std::string line;
  for (const char c : words) {
    if (c == '\n' || c == '\r') {
      if (!line.empty() && !line.ends_with("; ")) line += "; ";
    } else {
      line += c;
    }
  }
  if (line.ends_with("; ")) line.erase(line.size() - 2);
  return line;
}

}  // namespace syncbn::coordinator
