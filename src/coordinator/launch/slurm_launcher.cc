#include "coordinator/launch/slurm_launcher.h"

#include <algorithm>
#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "coordinator/launch/attempt_folder.h"
#include "coordinator/launch/mpirun_command.h"
#include "coordinator/launch/supervised_launcher.h"

namespace syncbn::coordinator {
namespace {

std::filesystem::path NumberFile(const std::filesystem::path& folder) {
  return folder / "slurm_job";
}

std::string FirstLine(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

// Of Slurm itself, as opposed to a job that it does not want.
bool IsTrouble(const std::string& error) {
  for (const char* text : {"Unable to contact slurm controller", "Socket timed out",
                           "temporarily unable", "Communication connection failure",
                           "Zero Bytes were transmitted", "Protocol authentication error"}) {
    if (error.find(text) != std::string::npos) return true;
  }
  return false;
}

std::string EndOf(const SlurmJob& job) {
  return "Slurm ended the job: " + job.state + " (" + job.reason + ")";
}

// A state that tells more than the exit code of the batch script.
bool SaysWhy(const SlurmJob& job) {
  return job.phase == SlurmPhase::kEnded && job.state != "COMPLETED" && job.state != "FAILED";
}

// The attempt ended by itself, and mpirun or srun has heard from every rank.
bool IsClean(const v1::ExitRecord& exit) {
  return exit.cause() == v1::ExitRecord::ENDED && exit.exit_code() == 0 && exit.signal() == 0;
}

}  // namespace

CommandResult SlurmLauncher::Run(const std::vector<std::string>& command) {
  CommandResult result = options_.run(command, options_.command_time);
  if (result.timed_out) {
    throw Error(ErrorCode::kUnavailable, command[0] + " did not answer within " +
                                             std::to_string(options_.command_time.count() / 1000) +
                                             " s");
  }
  return result;
}

void SlurmLauncher::Start(const LaunchRequest& request) {
  const AttemptFolder folder(request.attempt.folder);
  v1::AttemptSpec spec = MakeAttemptSpec(request);
  for (std::string& word : SrunCommand(options_.settings, request))
    spec.add_command(std::move(word));
  for (std::string& entry : BaseEnvironment()) spec.add_environment(std::move(entry));
  for (const std::string& entry : request.environment) spec.add_environment(entry);
  // The supervisor itself was started with next to no environment, and what it starts would be too.
  spec.add_environment("SLURM_EXPORT_ENV=ALL");
  // srun and mpirun learn the allocation from these; they exist only inside it.
  for (const char* name : {"SLURM_*", "SLURMD_*", "PMIX_*", "TMPDIR"}) spec.add_inherit(name);
  spec.set_tagged_output(options_.settings.use_mpirun);
  folder.Create(spec);
  const std::filesystem::path script = folder.path() / "batch.sh";
  WriteFileAtomically(script, SlurmScript(options_.settings, folder.path()));

  const CommandResult result = Run(SbatchCommand(options_.settings, request, script));
  if (result.exit_code != 0) {
    if (IsTrouble(result.error_output)) {
      throw Error(ErrorCode::kUnavailable,
                  "Slurm does not take jobs now: " + FirstLine(result.error_output));
    }
    throw Error(ErrorCode::kInvalidArgument,
                "Slurm refused the job: " + FirstLine(result.error_output));
  }
  const std::optional<int64_t> job = ParseSbatch(result.output);
  if (!job) {
    throw Error(ErrorCode::kUnavailable, "sbatch answered '" + FirstLine(result.output) + "'");
  }
  WriteFileAtomically(NumberFile(folder.path()), std::to_string(*job) + "\n");
}

std::optional<SlurmJob> SlurmLauncher::Find(const AttemptRef& attempt) {
  const AttemptFolder folder(attempt.folder);
  std::optional<int64_t> number;
  if (std::filesystem::exists(NumberFile(folder.path()))) {
    number = ParseSbatch(ReadFile(NumberFile(folder.path())));
  }
  if (!number && !std::filesystem::exists(folder.path() / "attempt.json")) return std::nullopt;
  const CommandResult result =
      Run(number ? SqueueCommand(options_.settings, *number)
                 : SqueueCommand(options_.settings, SlurmJobName(folder.Spec().marker())));
  if (result.exit_code != 0) {
    // A number that is too old to be remembered is answered so; anything else is trouble.
    if (result.error_output.find("Invalid job id") != std::string::npos) return std::nullopt;
    throw Error(ErrorCode::kUnavailable, "squeue: " + FirstLine(result.error_output));
  }
  const std::vector<SlurmJob> jobs = ParseSqueue(result.output);
  if (jobs.empty()) return std::nullopt;
  if (!number)
    WriteFileAtomically(NumberFile(folder.path()), std::to_string(jobs.back().id) + "\n");
  return jobs.back();
}

Observation SlurmLauncher::Observe(const AttemptRef& attempt) {
  Observation seen = Look(attempt);
  if (seen.kind == Observation::Kind::kEnded) {
    std::lock_guard lock(mutex_);
    clearing_since_.erase(attempt.folder);
  }
  return seen;
}

Observation SlurmLauncher::Look(const AttemptRef& attempt) {
  const AttemptFolder folder(attempt.folder);
  auto exit = folder.Exit();
  if (exit && (IsClean(*exit) || !exit->batch_state().empty())) {
    return {.kind = Observation::Kind::kEnded, .exit = std::move(exit)};
  }
  std::optional<SlurmJob> job;
  try {
    job = Find(attempt);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kDataLoss) throw;
    if (exit && !MayWait(folder)) return {.kind = Observation::Kind::kEnded, .exit = exit};
    return {.kind = Observation::Kind::kUnknown, .detail = error.message()};
  }
  if (exit) return ObserveEnding(folder, *exit, job);
  if (job && job->phase == SlurmPhase::kWaiting) {
    return {.kind = Observation::Kind::kWaiting,
            .detail = "Slurm: " + job->state + " (" + job->reason + ")"};
  }
  if (job && job->phase == SlurmPhase::kRunning) {
    return {.kind = Observation::Kind::kAlive, .detail = job->nodes, .written = folder.Written()};
  }
  const auto end = std::chrono::steady_clock::now() + options_.record_time;
  while (std::chrono::steady_clock::now() < end && folder.Supervisor()) {
    if (auto exit = folder.Exit())
      return {.kind = Observation::Kind::kEnded, .exit = std::move(exit)};
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
  // Slurm has ended what was left of it.
  v1::ExitRecord record;
  record.set_cause(folder.Supervisor() ? v1::ExitRecord::SUPERVISOR_LOST
                   : folder.Stop()     ? v1::ExitRecord::STOPPED
                   : job               ? v1::ExitRecord::NOT_STARTED
                                       : v1::ExitRecord::NEVER_RAN);
  if (job) record.set_batch_state(job->state);
  record.set_message(job ? EndOf(*job) : "Slurm does not know the job");
  *record.mutable_end_time() = ToProto(Clock::System().Now());
  std::filesystem::create_directories(folder.path());
  folder.WriteExit(record);
  return {.kind = Observation::Kind::kEnded, .exit = record};
}

bool SlurmLauncher::MayWait(const AttemptFolder& folder) {
  const MonotonicTime now = Clock::System().Monotonic();
  std::lock_guard lock(mutex_);
  const auto [since, first] = clearing_since_.emplace(folder.path(), now);
  return now - since->second < options_.clear_time;
}

Observation SlurmLauncher::ObserveEnding(const AttemptFolder& folder, v1::ExitRecord exit,
                                         const std::optional<SlurmJob>& job) {
  if (job && job->phase != SlurmPhase::kEnded) {
    if (MayWait(folder)) {
      return {.kind = Observation::Kind::kAlive, .detail = "Slurm clears up on " + job->nodes};
    }
    exit.add_unverified_hosts(job->nodes);
  }
  if (job && SaysWhy(*job)) {
    exit.set_batch_state(job->state);
    if (exit.cause() == v1::ExitRecord::HOST_SHUTDOWN) exit.set_message(EndOf(*job));
    // Kept: Slurm forgets its jobs after some minutes.
    folder.WriteExit(exit);
  }
  return {.kind = Observation::Kind::kEnded, .exit = std::move(exit)};
}

void SlurmLauncher::Stop(const AttemptRef& attempt, StopLevel level, const std::string& reason) {
  v1::StopOrder order;
  order.set_level(static_cast<v1::StopLevel>(level));
  order.set_reason(reason);
  *order.mutable_time() = ToProto(Clock::System().Now());
  AttemptFolder(attempt.folder).WriteStop(order);
  // One that still waits has no supervisor that could read the order.
  const std::optional<SlurmJob> job = Find(attempt);
  if (job && job->phase == SlurmPhase::kWaiting)
    Run(ScancelCommand(options_.settings, job->id));
}

Observation SlurmLauncher::Force(const AttemptRef& attempt) {
  try {
    if (const std::optional<SlurmJob> job = Find(attempt);
        job && job->phase != SlurmPhase::kEnded) {
      // A signal would not take a waiting job out of the queue.
      if (job->phase == SlurmPhase::kWaiting) {
        Run(ScancelCommand(options_.settings, job->id));
      } else {
        for (const auto& command : KillCommands(options_.settings, job->id)) Run(command);
      }
    }
  } catch (const Error& error) {
    return {.kind = Observation::Kind::kUnknown, .detail = error.message()};
  }
  return Observe(attempt);
}

}  // namespace syncbn::coordinator
