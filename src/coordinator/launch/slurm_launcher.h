// The launcher `slurm`: attempts are batch jobs. Slurm chooses the hosts and keeps the queue; the
// supervisor runs inside the allocation and starts srun (or mpirun) there, and the attempt's folder
// is on a file system that the nodes share with this machine.
//
// A job that Slurm does not take now (a limit on jobs in the queue, a controller that does not
// answer) waits as one in its queue does: every look hands it in again, until it is taken, refused
// for good or not wanted any more. What Slurm said is kept in the attempt's folder meanwhile.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <string>

#include "coordinator/launch/attempt_folder.h"
#include "coordinator/launch/launcher.h"
#include "coordinator/launch/process.h"
#include "coordinator/launch/slurm_commands.h"

namespace syncbn::coordinator {

class SlurmLauncher : public Launcher {
 public:
  using Runner =
      std::function<CommandResult(const std::vector<std::string>&, std::chrono::milliseconds)>;

  struct Options {
    SlurmSettings settings;
    std::chrono::milliseconds command_time = std::chrono::seconds(30);
    // Between the end of a job in Slurm's eyes and the end of the wait for its exit record, which
    // may take a while to be seen on a shared file system (NFS: 60 s, and more by its options).
    std::chrono::milliseconds record_time = std::chrono::minutes(2);
    // Between an exit record and the end of the job in Slurm's eyes: until then there may be
    // processes on other nodes. After that they are named as not verified.
    std::chrono::milliseconds clear_time = std::chrono::seconds(60);
    // Between two tries to hand in a job that was not taken.
    std::chrono::milliseconds retry_time = std::chrono::seconds(15);
    // Runs a command; replaced in tests.
    Runner run = RunCommand;
  };

  explicit SlurmLauncher(Options options) : options_(std::move(options)) {}

  std::string Name() const override { return "slurm"; }
  bool ChoosesHosts() const override { return true; }
  LauncherDelays Delays() const override {
    return {.word = options_.record_time, .force = options_.clear_time + options_.record_time};
  }
  std::vector<std::string> Tools() const override {
    return {options_.settings.sbatch, options_.settings.squeue, options_.settings.scancel};
  }
  void Start(const LaunchRequest& request) override;
  Observation Observe(const AttemptRef& attempt) override;
  void Stop(const AttemptRef& attempt, StopLevel level, const std::string& reason) override;
  // By a step beside theirs; where that cannot be made, by what they have left on disk, which is
  // shared.
  std::optional<RankActivity> LookAtRanks(const AttemptRef& attempt) override;
  Observation Force(const AttemptRef& attempt) override;

 private:
  Observation Look(const AttemptRef& attempt);
  // Hands the attempt in. Nothing when Slurm has it; otherwise what it said, kept in the folder
  // unless it is final.
  struct Refusal;
  std::optional<Refusal> Submit(const AttemptFolder& folder);
  // Of an attempt that was not taken when it was last handed in.
  Observation ObserveRefused(const AttemptRef& attempt, const Refusal& refusal);
  // Of the attempt, by its number or its name; nothing where Slurm does not know it.
  std::optional<SlurmJob> Find(const AttemptRef& attempt);
  // Of an attempt whose supervisor has written how it ended, other than well.
  Observation ObserveEnding(const AttemptFolder& folder, v1::ExitRecord exit,
                            const std::optional<SlurmJob>& job);
  // How long ago `what` was first asked about for this attempt. By this machine's clock: the time
  // in a record is another host's.
  std::chrono::milliseconds Since(const AttemptFolder& folder, const std::string& what);
  void Forget(const AttemptFolder& folder);
  // Slurm still has time to clear up.
  bool MayClear(const AttemptFolder& folder);
  // Writes the record, unless there is one: the one that is there counts.
  Observation Close(const AttemptFolder& folder, v1::ExitRecord record);
  // Throws UNAVAILABLE for a tool that does not answer or cannot be started.
  CommandResult Run(const std::vector<std::string>& command);
  // Of the ranks on all nodes; nothing where not all of these answer.
  std::optional<RankActivity> LookOnNodes(const SlurmJob& job, const std::string& marker);
  // The same for scancel, also where it answers with an error.
  void Cancel(const SlurmJob& job);

  Options options_;
  std::mutex mutex_;
  std::map<std::filesystem::path, std::map<std::string, MonotonicTime>> since_;
};

}  // namespace syncbn::coordinator
