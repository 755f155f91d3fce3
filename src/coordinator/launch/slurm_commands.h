// The command lines of Slurm and what its answers mean. No process is started here.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/launch/launcher.h"

namespace syncbn::coordinator {

struct SlurmSettings {
  std::string sbatch = "sbatch", squeue = "squeue", scancel = "scancel", srun = "srun";
  std::string partition;           // empty: Slurm's default
  std::vector<std::string> extra;  // for sbatch, by the administrator
  // Starts the supervisor when "--foreground --folder FOLDER" is added.
  std::vector<std::string> supervise;
  // syncbn on the nodes, to look at ranks there.
  std::string program = "syncbn";
  // How ranks are started in the allocation: by srun, or by mpirun.
  bool use_mpirun = false;
  // With mpirun: its --mca settings, `name value` each, and variables that ranks get, too.
  std::vector<std::string> mca, exports;
};

// "syncbn-1a2b3c4d-17.2": unique for the store and the attempt, so that a job can be found again
// when the coordinator died before it could write its number down.
std::string SlurmJobName(const std::string& marker);

// The batch script: one line that becomes the supervisor.
std::string SlurmScript(const SlurmSettings& settings, const std::filesystem::path& folder);

// Slurm's limit is the last resort: the job has its own time limit and the whole ladder before.
std::vector<std::string> SbatchCommand(const SlurmSettings& settings, const LaunchRequest& request,
                                       const std::filesystem::path& script);

// What the supervisor starts in the allocation.
std::vector<std::string> SrunCommand(const SlurmSettings& settings, const LaunchRequest& request);

// Of one job by number, or by name where the number is not known.
std::vector<std::string> SqueueCommand(const SlurmSettings& settings, int64_t job);
std::vector<std::string> SqueueCommand(const SlurmSettings& settings, const std::string& name);

// How many nodes a job has: a number, of which ParseSbatch makes one.
std::vector<std::string> NodeCountCommand(const SlurmSettings& settings, int64_t job);

// Looks at the ranks of a running job, beside them on each of its nodes: a line of ActivityText
// from each.
std::vector<std::string> LookCommand(const SlurmSettings& settings, int64_t job, int64_t nodes,
                                     const std::string& marker);

// Takes a job out of the queue, or ends it by SIGTERM and, after Slurm's KillWait, SIGKILL.
std::vector<std::string> ScancelCommand(const SlurmSettings& settings, int64_t job);

// Ends a running job at once: the step with the ranks, the supervisor, then whatever else it has.
// The first may fail where mpirun has started ranks on one node only, which makes no step.
std::vector<std::vector<std::string>> KillCommands(const SlurmSettings& settings, int64_t job);

// "1234" or "1234;cluster", as sbatch --parsable answers. Nothing for anything else.
std::optional<int64_t> ParseSbatch(std::string_view output);

enum class SlurmPhase {
  kWaiting,  // in Slurm's queue
  kRunning,  // has nodes, or is giving them back
  kEnded,    // will not run any more
};

struct SlurmJob {
  int64_t id = 0;
  std::string state;   // Slurm's word: "PENDING", "OUT_OF_MEMORY", ...
  std::string reason;  // Slurm's word: "Resources", "None", ...
  std::string nodes;
  SlurmPhase phase = SlurmPhase::kRunning;
};

// The lines that SqueueCommand gives. INVALID_ARGUMENT for a line that is none.
std::vector<SlurmJob> ParseSqueue(std::string_view output);

}  // namespace syncbn::coordinator
