#include "coordinator/launch/slurm_launcher.h"

#include <algorithm>
#include <sstream>

#include "base/environment.h"
#include "base/error.h"
#include "base/file.h"
#include "coordinator/launch/attempt_folder.h"
#include "coordinator/launch/mpirun_command.h"
#include "coordinator/launch/rank_relay.h"
#include "coordinator/launch/slurm_answers.h"
#include "coordinator/launch/supervised_launcher.h"

namespace syncbn::coordinator {
namespace {

std::filesystem::path NumberFile(const std::filesystem::path& folder) {
  return folder / "slurm_job";
}

// What sbatch is started with, for the next try; each word ends with a null character.
std::filesystem::path CommandFile(const std::filesystem::path& folder) {
  return folder / "sbatch";
}

std::vector<std::string> SplitAtNull(const std::string& text) {
  std::vector<std::string> words;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\0', at), text.size());
    words.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return words;
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

v1::ExitRecord NeverRan(const std::string& message) {
  v1::ExitRecord record;
  record.set_cause(v1::ExitRecord::NEVER_RAN);
  record.set_message(message);
  *record.mutable_end_time() = ToProto(Clock::System().Now());
  return record;
}

}  // namespace

// Kept as three lines: the kind, the time in microseconds, the words.
struct SlurmLauncher::Refusal {
  SlurmRefusal kind = SlurmRefusal::kInDoubt;
  WallTime time;
  std::string words;

  static std::filesystem::path File(const std::filesystem::path& folder) {
    return folder / "slurm_refusal";
  }
  static std::optional<Refusal> Read(const std::filesystem::path& folder) {
    if (!std::filesystem::exists(File(folder))) return std::nullopt;
    std::istringstream text(ReadFile(File(folder)));
    std::string kind, words;
    int64_t time = 0;
    text >> kind >> time;
    std::getline(text, words);
    std::getline(text, words);
    return Refusal{.kind = kind == "passing" ? SlurmRefusal::kPassing : SlurmRefusal::kInDoubt,
                   .time = WallTime(std::chrono::microseconds(time)),
                   .words = words};
  }
  void Write(const std::filesystem::path& folder) const {
    WriteFileAtomically(File(folder), std::string(kind == SlurmRefusal::kPassing ? "passing" : "doubt") +
                                          "\n" + std::to_string(time.time_since_epoch().count()) +
                                          "\n" + words + "\n");
  }
};

CommandResult SlurmLauncher::Run(const std::vector<std::string>& command) {
  CommandResult result;
  try {
    result = options_.run(command, options_.command_time);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kInvalidArgument) throw;  // too long: it always will be
    throw Error(ErrorCode::kUnavailable, error.message());
  }
  if (result.timed_out) {
    throw Error(ErrorCode::kUnavailable, command[0] + " did not answer within " +
                                             std::to_string(options_.command_time.count() / 1000) +
                                             " s");
  }
  return result;
}

void SlurmLauncher::Start(const LaunchRequest& asked) {
  LaunchRequest request = asked;
  SetVariable(request.environment, kRankRelayVariable, options_.settings.use_mpirun ? "1" : "lines");
  const AttemptFolder folder(request.attempt.folder);
  v1::AttemptSpec spec = MakeAttemptSpec(request);
  SlurmSettings settings = options_.settings;
  settings.exports = OperatorSettings();
  for (std::string& word : SrunCommand(settings, request))
    spec.add_command(std::move(word));
  for (std::string& entry : LauncherEnvironment(request)) spec.add_environment(std::move(entry));
  // The supervisor itself was started with next to no environment, and what it starts would be too.
  spec.add_environment("SLURM_EXPORT_ENV=ALL");
  // srun and mpirun learn the allocation from these; they exist only inside it.
  for (const char* name : {"SLURM_*", "SLURMD_*", "PMIX_*", "TMPDIR"}) spec.add_inherit(name);
  spec.set_tagged_output(options_.settings.use_mpirun);
  folder.Create(spec);
  const std::filesystem::path script = folder.path() / "batch.sh";
  WriteFileAtomically(script, SlurmScript(options_.settings, folder.path()));

  std::string command;
  for (const std::string& word : SbatchCommand(options_.settings, request, script))
    command += word + '\0';
  WriteFileAtomically(CommandFile(folder.path()), command);
  if (const auto refusal = Submit(folder); refusal && refusal->kind == SlurmRefusal::kFinal) {
    // No supervisor has been asked for.
    folder.WriteExit(NeverRan(refusal->words));
    throw Error(ErrorCode::kInvalidArgument, "Slurm refused the job: " + refusal->words);
  }
}

std::optional<SlurmLauncher::Refusal> SlurmLauncher::Submit(const AttemptFolder& folder) {
  Refusal refusal{.time = Clock::System().Now(), .words = "sbatch was not heard"};
  // Should this process end meanwhile.
  refusal.Write(folder.path());
  std::optional<int64_t> job;
  try {
    // No Run(): of a program that cannot be started nothing is in doubt.
    const CommandResult result =
        options_.run(SplitAtNull(ReadFile(CommandFile(folder.path()))), options_.command_time);
    if (!result.timed_out && result.exit_code == 0) job = ParseSbatch(result.output);
    refusal.words = OneLineOf(result.error_output.empty() ? result.output : result.error_output);
    if (result.timed_out) {
      refusal.words = "sbatch did not answer within " +
                      std::to_string(options_.command_time.count() / 1000) + " s" +
                      (refusal.words.empty() ? "" : ": " + refusal.words);
    } else if (result.exit_code != 0) {
      refusal.kind = MeaningOf(result.error_output + result.output);
    }
  } catch (const Error& error) {
    const bool too_long = error.code() == ErrorCode::kInvalidArgument;
    refusal.kind = too_long ? SlurmRefusal::kFinal : SlurmRefusal::kPassing;
    refusal.words = error.message();
  }
  if (job) {
    WriteFileAtomically(NumberFile(folder.path()), std::to_string(*job) + "\n");
  } else if (refusal.kind != SlurmRefusal::kFinal) {
    refusal.Write(folder.path());
    return refusal;
  }
  std::filesystem::remove(Refusal::File(folder.path()));
  if (job) return std::nullopt;
  return refusal;
}

Observation SlurmLauncher::ObserveRefused(const AttemptRef& attempt, const Refusal& refusal) {
  const AttemptFolder folder(attempt.folder);
  const std::string waits = "Slurm does not take the job now: " + refusal.words;
  std::string unused;
  const bool stopped = ReadOrNote([&] { return folder.Stop(); }, unused).has_value();
  const bool due = Clock::System().Now() - refusal.time >= options_.retry_time;
  if (!due && !stopped) return {.kind = Observation::Kind::kWaiting, .detail = waits};
  if (refusal.kind == SlurmRefusal::kInDoubt) {
    try {
      if (Find(attempt)) {
        std::filesystem::remove(Refusal::File(folder.path()));
        return Observe(attempt);
      }
    } catch (const Error& error) {
      return {.kind = stopped ? Observation::Kind::kUnknown : Observation::Kind::kWaiting,
              .detail = waits + "; " + error.message()};
    }
  }
  if (stopped) return Close(folder, NeverRan(waits));
  const std::optional<Refusal> again = Submit(folder);
  if (again && again->kind == SlurmRefusal::kFinal) {
    v1::ExitRecord record = NeverRan("Slurm refused the job: " + again->words);
    record.set_cause(v1::ExitRecord::NOT_STARTED);
    return Close(folder, std::move(record));
  }
  return {.kind = Observation::Kind::kWaiting,
          .detail = again ? "Slurm does not take the job now: " + again->words : "Slurm has taken it"};
}

void SlurmLauncher::Cancel(const SlurmJob& job) {
  const CommandResult result = Run(ScancelCommand(options_.settings, job.id));
  if (result.exit_code == 0 || IsUnknownJob(result.error_output)) return;
  throw Error(ErrorCode::kUnavailable, "scancel: " + OneLineOf(result.error_output));
}

std::optional<SlurmJob> SlurmLauncher::Find(const AttemptRef& attempt) {
  const AttemptFolder folder(attempt.folder, attempt.marker);
  std::optional<int64_t> number;
  if (std::filesystem::is_regular_file(NumberFile(folder.path()))) {
    number = ParseSbatch(ReadFile(NumberFile(folder.path())));
  }
  if (!number && !std::filesystem::exists(folder.path() / "attempt.json")) return std::nullopt;
  const auto marker = [&] {
    return attempt.marker.empty() ? folder.Spec().marker() : attempt.marker;
  };
  const CommandResult result =
      Run(number ? SqueueCommand(options_.settings, *number)
                 : SqueueCommand(options_.settings, SlurmJobName(marker())));
  if (result.exit_code != 0) {
    // A number that is too old to be remembered is answered so; anything else is trouble.
    if (IsUnknownJob(result.error_output)) return std::nullopt;
    throw Error(ErrorCode::kUnavailable, "squeue: " + OneLineOf(result.error_output));
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
    since_.erase(attempt.folder);
    return seen;
  }
  std::string unused;
  const auto supervisor =
      ReadOrNote([&] { return AttemptFolder(attempt.folder).Supervisor(); }, unused);
  if (supervisor && supervisor->has_start_time()) seen.begin = FromProto(supervisor->start_time());
  return seen;
}

Observation SlurmLauncher::Close(const AttemptFolder& folder, v1::ExitRecord record) {
  std::filesystem::create_directories(folder.path());
  std::string unused;
  const auto supervisor = ReadOrNote([&] { return folder.Supervisor(); }, unused);
  if (supervisor && supervisor->has_start_time())
    *record.mutable_start_time() = supervisor->start_time();
  if (folder.WriteExit(record))
    return {.kind = Observation::Kind::kEnded, .exit = std::move(record)};
  // Not to be read yet, perhaps.
  return {.kind = Observation::Kind::kAlive,
          .detail = "has written its exit record",
          .record_awaited = true};
}

Observation SlurmLauncher::Look(const AttemptRef& attempt) {
  const AttemptFolder folder(attempt.folder, attempt.marker);
  std::string damage;
  auto exit = ReadOrNote([&] { return folder.Exit(); }, damage);
  const bool never_ran = exit && exit->cause() == v1::ExitRecord::NEVER_RAN;
  if (exit && (never_ran || IsClean(*exit) || !exit->batch_state().empty())) {
    return {.kind = Observation::Kind::kEnded, .exit = std::move(exit)};
  }
  if (const auto refusal = Refusal::Read(folder.path()); refusal && !exit)
    return ObserveRefused(attempt, *refusal);
  std::optional<SlurmJob> job;
  try {
    job = Find(attempt);
  } catch (const Error& error) {
    if (exit && !MayClear(folder)) return {.kind = Observation::Kind::kEnded, .exit = exit};
    return {.kind = Observation::Kind::kUnknown, .detail = error.message()};
  }
  if (exit) return ObserveEnding(folder, *exit, job);
  // What was said of its end before was not so.
  if (job && job->phase != SlurmPhase::kEnded) Forget(folder);
  if (job && job->phase == SlurmPhase::kWaiting) {
    return {.kind = Observation::Kind::kWaiting,
            .detail = "Slurm: " + job->state + " (" + job->reason + ")"};
  }
  if (job && job->phase == SlurmPhase::kRunning) {
    return {.kind = Observation::Kind::kAlive, .detail = job->nodes, .written = folder.Written()};
  }
  std::string unused;
  const bool supervised =
      ReadOrNote([&] { return folder.Supervisor(); }, unused) || !unused.empty();
  const bool stopped = ReadOrNote([&] { return folder.Stop(); }, unused).has_value();
  // A damaged record was the last that its supervisor wrote. What it wrote at all may not be seen
  // yet.
  if ((supervised || (job && !stopped)) && damage.empty() &&
      Since(folder, "record") < options_.record_time) {
    return {.kind = Observation::Kind::kAlive,
            .detail = "has ended in Slurm; its exit record is waited for",
            .written = folder.Written(),
            .record_awaited = true};
  }
  // Slurm has ended what was left of it.
  v1::ExitRecord record;
  const bool ran = supervised || !damage.empty();
  record.set_cause(ran       ? v1::ExitRecord::SUPERVISOR_LOST
                   : stopped ? v1::ExitRecord::STOPPED
                   : job     ? v1::ExitRecord::NOT_STARTED
                             : v1::ExitRecord::NEVER_RAN);
  if (job) record.set_batch_state(job->state);
  record.set_message((job ? EndOf(*job) : "Slurm does not know the job") +
                     (damage.empty() ? "" : "; " + damage));
  // The wait for a record is not the attempt's time.
  *record.mutable_end_time() = ToProto(Clock::System().Now() - Since(folder, "record"));
  return Close(folder, std::move(record));
}

std::chrono::milliseconds SlurmLauncher::Since(const AttemptFolder& folder,
                                               const std::string& what) {
  const MonotonicTime now = Clock::System().Monotonic();
  std::lock_guard lock(mutex_);
  const auto [since, first] = since_[folder.path()].emplace(what, now);
  return std::chrono::duration_cast<std::chrono::milliseconds>(now - since->second);
}

void SlurmLauncher::Forget(const AttemptFolder& folder) {
  std::lock_guard lock(mutex_);
  since_.erase(folder.path());
}

bool SlurmLauncher::MayClear(const AttemptFolder& folder) {
  return Since(folder, "clearing") < options_.clear_time;
}

Observation SlurmLauncher::ObserveEnding(const AttemptFolder& folder, v1::ExitRecord exit,
                                         const std::optional<SlurmJob>& job) {
  if (job && job->phase != SlurmPhase::kEnded) {
    if (MayClear(folder)) {
      return {.kind = Observation::Kind::kAlive,
              .detail = "Slurm clears up on " + job->nodes,
              .record_awaited = true};
    }
    exit.add_unverified_hosts(job->nodes);
  }
  if (job && SaysWhy(*job)) {
    exit.set_batch_state(job->state);
    if (exit.cause() == v1::ExitRecord::HOST_SHUTDOWN) exit.set_message(EndOf(*job));
    // Kept: Slurm forgets its jobs after some minutes.
    folder.AmendExit(exit);
  }
  return {.kind = Observation::Kind::kEnded, .exit = std::move(exit)};
}

void SlurmLauncher::Stop(const AttemptRef& attempt, StopLevel level, const std::string& reason) {
  v1::StopOrder order;
  order.set_level(static_cast<v1::StopLevel>(level));
  order.set_reason(reason);
  *order.mutable_time() = ToProto(Clock::System().Now());
  AttemptFolder(attempt.folder).WriteStop(order);
  // One that Slurm has not taken is closed by the next look at it.
  if (Refusal::Read(attempt.folder)) return;
  // One that still waits has no supervisor that could read the order.
  const std::optional<SlurmJob> job = Find(attempt);
  if (job && job->phase == SlurmPhase::kWaiting) Cancel(*job);
}

std::optional<RankActivity> SlurmLauncher::LookAtRanks(const AttemptRef& attempt) {
  const AttemptFolder folder(attempt.folder);
  const std::optional<SlurmJob> job = Find(attempt);
  // Somebody has told Slurm to hold it: it can do nothing.
  if (!job || job->state == "SUSPENDED" || job->state == "STOPPED") return std::nullopt;
  if (job->state == "RUNNING") {
    const std::string marker = attempt.marker.empty() ? folder.Spec().marker() : attempt.marker;
    if (auto seen = LookOnNodes(*job, marker)) return seen;
  }
  return RankActivity{.written = folder.Written()};
}

std::optional<RankActivity> SlurmLauncher::LookOnNodes(const SlurmJob& job,
                                                       const std::string& marker) {
  try {
    const auto nodes = ParseSbatch(Run(NodeCountCommand(options_.settings, job.id)).output);
    if (!nodes) return std::nullopt;
    const CommandResult result = Run(LookCommand(options_.settings, job.id, *nodes, marker));
    if (result.exit_code != 0) return std::nullopt;
    RankActivity all;
    int64_t answers = 0;
    std::istringstream lines(result.output);
    for (std::string line; std::getline(lines, line);) {
      const auto there = ParseActivity(line);
      if (!there) continue;
      ++answers;
      all.ranks += there->ranks;
      all.processor_time += there->processor_time;
    }
    if (answers == *nodes) return all;
  } catch (const Error&) {
    // A tool that does not answer tells nothing of the ranks.
  }
  return std::nullopt;
}

Observation SlurmLauncher::Force(const AttemptRef& attempt) {
  if (Refusal::Read(attempt.folder)) return Observe(attempt);
  try {
    if (const std::optional<SlurmJob> job = Find(attempt);
        job && job->phase != SlurmPhase::kEnded) {
      // A signal would not take a waiting job out of the queue.
      if (job->phase == SlurmPhase::kWaiting) {
        Cancel(*job);
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
