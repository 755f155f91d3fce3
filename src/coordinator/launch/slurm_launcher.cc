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
  // srun and mpirun learn the allocation from these; they exist only inside it.
  for (const char* name : {"SLURM_*", "SLURMD_*", "PMIX_*", "TMPDIR"}) spec.add_inherit(name);
  spec.set_tagged_output(options_.settings.use_mpirun);
  folder.Create(spec);
  const std::filesystem::path script = folder.path() / "batch.sh";
  WriteFileAtomically(script, SlurmScript(options_.settings, folder.path()));

  const CommandResult result = Run(SbatchCommand(options_.settings, request, script));
  if (result.exit_code != 0) {
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
  const AttemptFolder folder(attempt.folder);
  if (auto exit = folder.Exit())
    return {.kind = Observation::Kind::kEnded, .exit = std::move(exit)};
  std::optional<SlurmJob> job;
  try {
    job = Find(attempt);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kDataLoss) throw;
    return {.kind = Observation::Kind::kUnknown, .detail = error.message()};
  }
  if (job && job->phase == SlurmPhase::kWaiting) {
    return {.kind = Observation::Kind::kWaiting,
            .detail = "Slurm: " + job->state + " (" + job->reason + ")"};
  }
  if (job && job->phase == SlurmPhase::kRunning) {
    return {.kind = Observation::Kind::kAlive, .detail = job->nodes};
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
                                       : v1::ExitRecord::NEVER_RAN);
  if (job) record.set_batch_state(job->state);
  record.set_message(job ? "Slurm ended the job: " + job->state + " (" + job->reason + ")"
                         : "Slurm does not know the job");
  if (job && record.cause() == v1::ExitRecord::NEVER_RAN)
    record.set_cause(v1::ExitRecord::NOT_STARTED);
  *record.mutable_end_time() = ToProto(Clock::System().Now());
  std::filesystem::create_directories(folder.path());
  folder.WriteExit(record);
  return {.kind = Observation::Kind::kEnded, .exit = record};
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
    Run({options_.settings.scancel, std::to_string(job->id)});
}

Observation SlurmLauncher::Force(const AttemptRef& attempt) {
  try {
    if (const std::optional<SlurmJob> job = Find(attempt);
        job && job->phase != SlurmPhase::kEnded) {
      // A signal would not take a waiting job out of the queue.
      Run(job->phase == SlurmPhase::kWaiting
              ? std::vector<std::string>{options_.settings.scancel, std::to_string(job->id)}
              : ScancelCommand(options_.settings, job->id));
    }
  } catch (const Error& error) {
    return {.kind = Observation::Kind::kUnknown, .detail = error.message()};
  }
  return Observe(attempt);
}

}  // namespace syncbn::coordinator
