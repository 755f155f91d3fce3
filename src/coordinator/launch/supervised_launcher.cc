#include "coordinator/launch/supervised_launcher.h"

#include <unistd.h>

#include <sys/syscall.h>
#include <algorithm>
#include <csignal>
#include <thread>

#include "base/environment.h"
#include "base/error.h"
#include "base/file.h"
#include "base/host.h"
#include "base/text.h"
#include "coordinator/launch/process.h"
#include "coordinator/launch/rank_relay.h"
#include "coordinator/launch/spool_transfer.h"

namespace syncbn::coordinator {
namespace {

using std::chrono::milliseconds;

double Seconds(std::chrono::microseconds time) {
  return std::chrono::duration<double>(time).count();
}

// The last bytes of a log, from the start of a line on.
std::string Tail(const std::filesystem::path& log) {
  constexpr size_t kTail = 8192;
  try {
    std::string text = ReadFile(log);
    if (text.size() <= kTail) return text;
    const size_t cut = text.find('\n', text.size() - kTail);
    return text.substr(cut + 1);
  } catch (const Error&) {
    return "";
  }
}

// Lines of the launcher itself, without their "-: ".
std::string LauncherLines(const std::string& log) {
  std::string lines;
  for (size_t at = 0; at < log.size();) {
    const size_t end = std::min(log.find('\n', at), log.size());
    if (log.compare(at, 3, "-: ") == 0) lines += log.substr(at + 3, end - at - 3) + "\n";
    at = end + 1;
  }
  return lines;
}

// The record that counts: the one that was there first.
v1::ExitRecord WrittenOnce(const AttemptFolder& folder, v1::ExitRecord record) {
  if (folder.WriteExit(record)) return record;
  return folder.Exit().value_or(std::move(record));
}

ProcessIdentity IdentityOf(const v1::SupervisorRecord& supervisor) {
  return {supervisor.pid(), supervisor.start_ticks(), supervisor.boot_id()};
}

// SIGKILL for that very process.
void KillIdentity(const ProcessIdentity& identity) {
  const int descriptor = static_cast<int>(::syscall(SYS_pidfd_open, identity.pid, 0));
  if (descriptor < 0) return;
  if (IsAlive(identity)) ::syscall(SYS_pidfd_send_signal, descriptor, SIGKILL, nullptr, 0);
  ::close(descriptor);
}

void SweepRemote(const v1::AttemptSpec& spec, const AttemptFolder& folder,
                 v1::ExitRecord& record) {
  std::vector<std::vector<std::string>> commands;
  for (const std::string& host : spec.remote_hosts()) {
    commands.push_back(SweepCommand(spec, host, {}));
  }
  const auto results = RunCommands(
      commands, milliseconds(static_cast<int64_t>(spec.ladder().remote_seconds() * 1000)));
  std::vector<std::string> answered, lost;
  for (size_t i = 0; i < results.size(); ++i) {
    const std::string& host = spec.remote_hosts(static_cast<int>(i));
    if (results[i].timed_out || results[i].exit_code != 0) {
      record.add_unverified_hosts(host);
      lost.push_back(host);
    } else {
      answered.push_back(host);
    }
  }
  for (std::string& host : FetchSpools(spec, answered, folder.spool(), [](const std::string&) {})) {
    lost.push_back(std::move(host));
  }
  if (!lost.empty()) record.set_message(NotFetchedText(record.message(), lost));
}

}  // namespace

std::chrono::microseconds LongestEnd(const LaunchRequest& request) {
  const StopLadder::Times& ladder = request.ladder;
  // Other hosts are asked four times: at SIGTERM, at the end, for their spools, and to remove these.
  // Killed processes are waited for twice.
  return ladder.ask + ladder.checkpoint + ladder.terminate + ladder.launcher +
         2 * request.kill_time + 4 * request.remote_time + std::chrono::seconds(2);
}

JobPolicy WithTimeToEnd(JobPolicy policy, const StopLadder::Times& ladder,
                        const LauncherDelays& delays) {
  // The order is seen late, and so is the record of the end.
  policy.stop_limit = LongestEnd({.ladder = ladder}) + 2 * delays.word + std::chrono::seconds(5);
  policy.force_limit =
      std::max<JobPolicy::Time>(policy.force_limit, delays.force + std::chrono::seconds(15));
  return policy;
}

v1::AttemptSpec MakeAttemptSpec(const LaunchRequest& request) {
  v1::AttemptSpec spec;
  spec.set_marker(request.marker);
  spec.set_working_folder(request.working_folder.string());
  v1::LadderSpec& ladder = *spec.mutable_ladder();
  ladder.set_ask_seconds(Seconds(request.ladder.ask));
  ladder.set_checkpoint_seconds(Seconds(request.ladder.checkpoint));
  ladder.set_terminate_seconds(Seconds(request.ladder.terminate));
  ladder.set_launcher_seconds(Seconds(request.ladder.launcher));
  ladder.set_kill_seconds(Seconds(request.kill_time));
  ladder.set_remote_seconds(Seconds(request.remote_time));
  spec.set_max_log_bytes(request.max_log_bytes);
  return spec;
}

v1::ExitRecord CloseWithoutSupervisor(const AttemptFolder& folder, const v1::AttemptSpec& for_sweep,
                                      std::string damage, milliseconds patience) {
  v1::ExitRecord record;
  // Whatever of it is damaged or cannot be done: it is said, and the attempt is closed.
  auto add_problem = [&](const std::string& problem) {
    record.set_message(record.message() + (record.message().empty() ? "" : "; ") + problem);
  };
  auto read = [&](auto&& get) {
    decltype(get()) result;
    try {
      result = get();
    } catch (const Error& error) {
      if (error.code() == ErrorCode::kNotFound) return result;
      damage += (damage.empty() ? "" : "; ") + error.message();
    }
    return result;
  };
  const auto supervisor = read([&] { return folder.Supervisor(); });
  std::optional<v1::AttemptSpec> spec = read([&] { return std::optional(folder.Spec()); });
  if (!spec) {
    spec = for_sweep;
    // A supervisor has had it from the file when that was whole.
    if (supervisor && spec->marker().empty()) spec->set_marker(supervisor->marker());
  }
  const std::string marker = spec->marker();
  record.set_marker(marker);
  // With a damaged file in the folder, or a process of its own, it has run, whatever else is
  // missing.
  const bool never_ran =
      !supervisor && damage.empty() && (marker.empty() || FindMarked(marker).empty());
  *record.mutable_end_time() = ToProto(Clock::System().Now());
  if (never_ran) {
    record.set_cause(v1::ExitRecord::NEVER_RAN);
    add_problem("its supervisor was never started");
    std::filesystem::create_directories(folder.path());
    return WrittenOnce(folder, std::move(record));
  }
  record.set_cause(v1::ExitRecord::SUPERVISOR_LOST);
  add_problem(supervisor ? "its supervisor (process " + std::to_string(supervisor->pid()) + " on " +
                               supervisor->host() + ") died"
                         : "its supervisor is not there");
  if (!damage.empty()) add_problem(damage);
  if (supervisor) *record.mutable_start_time() = supervisor->start_time();
  // The kernel has told mpirun to end, and that ends the ranks on all hosts in good order.
  const auto end = std::chrono::steady_clock::now() + patience;
  while (!marker.empty() && std::chrono::steady_clock::now() < end && !FindMarked(marker).empty()) {
    std::this_thread::sleep_for(milliseconds(20));
  }
  const SweepResult swept = marker.empty() ? SweepResult() : Sweep(marker, milliseconds(5000));
  auto add = [](auto* list, const MarkedProcess& process) {
    v1::ProcessRecord& one = *list->Add();
    one.set_host(HostName());
    one.set_pid(process.pid);
    one.set_command(process.command);
  };
  for (const MarkedProcess& process : swept.killed) add(record.mutable_swept(), process);
  for (const MarkedProcess& process : swept.survivors) add(record.mutable_survivors(), process);
  try {
    if (!marker.empty()) SweepRemote(*spec, folder, record);
  } catch (const std::exception& error) {
    add_problem(error.what());
  }
  if (!marker.empty()) RemoveScratch(marker);
  record.set_output_tail(Tail(folder.output_log()));
  record.set_launcher_text(LauncherLines(record.output_tail()));
  return WrittenOnce(folder, std::move(record));
}

SupervisedLauncher::SupervisedLauncher(Options options) : options_(std::move(options)) {
  ValidateMpirunSettings(options_.mpirun);
  if (!IsPlainWord(options_.remote_program)) {
    throw Error(ErrorCode::kInvalidArgument, "the path of syncbn on the hosts, '" +
                                                 options_.remote_program +
                                                 "', may have letters, digits and / . _ - + only");
  }
}

std::vector<std::string> SupervisedLauncher::Tools() const {
  std::vector<std::string> tools = {options_.mpirun.mpirun};
  Placement all;
  for (const HostCapacity& host : options_.mpirun.hosts) all.push_back({host.name, 1});
  if (!RemoteHosts(all).empty()) tools.push_back(options_.mpirun.launch_agent[0]);
  return tools;
}

void SupervisedLauncher::Start(const LaunchRequest& asked) {
  LaunchRequest request = asked;
  SetVariable(request.environment, kRankRelayVariable, "1");
  const AttemptFolder folder(request.attempt.folder);
  const std::filesystem::path hostfile = folder.path() / "hostfile";
  v1::AttemptSpec spec = MakeAttemptSpec(request);
  MpirunSettings mpirun = options_.mpirun;
  mpirun.exports = OperatorSettings();
  for (std::string& word : MpirunCommand(mpirun, request, hostfile)) {
    spec.add_command(std::move(word));
  }
  for (std::string& entry : LauncherEnvironment(request)) spec.add_environment(std::move(entry));
  for (std::string& host : RemoteHosts(request.placement)) spec.add_remote_hosts(std::move(host));
  for (const std::string& word : options_.mpirun.launch_agent) spec.add_launch_agent(word);
  spec.set_remote_program(options_.remote_program);
  spec.set_tagged_output(true);

  std::filesystem::create_directories(folder.path());
  WriteFileAtomically(hostfile, HostfileText(request.placement));
  folder.Create(spec);
  std::vector<std::string> command = options_.supervise;
  command.insert(command.end(), {"--folder", folder.path().string()});
  const CommandResult result = RunCommand(command, options_.start_time);
  if (result.timed_out) {
    throw Error(ErrorCode::kUnavailable, "the supervisor was not up after " +
                                             std::to_string(options_.start_time.count() / 1000) +
                                             " s");
  }
  if (result.exit_code != 0) {
    throw Error(ErrorCode::kUnavailable, "the supervisor could not be started (exit code " +
                                             std::to_string(result.exit_code) +
                                             "): " + result.error_output);
  }
}

v1::AttemptSpec SupervisedLauncher::SpecForSweep(const AttemptRef& attempt) const {
  v1::AttemptSpec spec = MakeAttemptSpec({.attempt = attempt, .marker = attempt.marker});
  Placement everywhere;
  for (const HostCapacity& host : options_.mpirun.hosts) everywhere.push_back({host.name, 1});
  for (std::string& host : RemoteHosts(everywhere)) spec.add_remote_hosts(std::move(host));
  for (const std::string& word : options_.mpirun.launch_agent) spec.add_launch_agent(word);
  spec.set_remote_program(options_.remote_program);
  return spec;
}

Observation SupervisedLauncher::Observe(const AttemptRef& attempt) {
  const AttemptFolder folder(attempt.folder, attempt.marker);
  std::string damage;
  auto ended = [&] {
    damage.clear();
    // A damaged one nobody will write again: it is closed like one that has none.
    return ReadOrNote([&] { return folder.Exit(); }, damage);
  };
  if (auto exit = ended()) return {.kind = Observation::Kind::kEnded, .exit = std::move(exit)};
  std::filesystem::create_directories(folder.path());
  const std::optional<FolderLock> lock = folder.TryLock();
  if (!lock) return {.kind = Observation::Kind::kAlive, .written = folder.Written()};
  // It may have written its record and left between the two looks.
  if (auto exit = ended()) return {.kind = Observation::Kind::kEnded, .exit = std::move(exit)};
  // Somebody may have removed the lock of one that lives: this one is a new file then.
  std::string unused;
  const auto supervisor = ReadOrNote([&] { return folder.Supervisor(); }, unused);
  if (supervisor && IsAlive(IdentityOf(*supervisor)))
    return {.kind = Observation::Kind::kAlive, .written = folder.Written()};
  return {.kind = Observation::Kind::kEnded,
          .exit = CloseWithoutSupervisor(folder, SpecForSweep(attempt), damage, options_.end_time)};
}

std::optional<RankActivity> SupervisedLauncher::LookAtRanks(const AttemptRef& attempt) {
  std::string damage;
  const v1::AttemptSpec spec =
      ReadOrNote(
          [&] { return std::optional(AttemptFolder(attempt.folder, attempt.marker).Spec()); },
          damage)
          .value_or(SpecForSweep(attempt));
  std::vector<std::vector<std::string>> commands;
  for (const std::string& host : spec.remote_hosts())
    commands.push_back(SweepCommand(spec, host, {"--look"}));
  RankActivity all = ActivityOf(spec.marker());
  for (const CommandResult& result : RunCommands(
           commands, milliseconds(static_cast<int64_t>(spec.ladder().remote_seconds() * 1000)))) {
    const auto there = ParseActivity(result.output);
    if (result.timed_out || result.exit_code != 0 || !there) return std::nullopt;
    all.ranks += there->ranks;
    all.processor_time += there->processor_time;
  }
  return all;
}

void SupervisedLauncher::Stop(const AttemptRef& attempt, StopLevel level,
                              const std::string& reason) {
  v1::StopOrder order;
  order.set_level(static_cast<v1::StopLevel>(level));
  order.set_reason(reason);
  *order.mutable_time() = ToProto(Clock::System().Now());
  AttemptFolder(attempt.folder).WriteStop(order);
}

Observation SupervisedLauncher::Force(const AttemptRef& attempt) {
  const AttemptFolder folder(attempt.folder, attempt.marker);
  std::string damage;
  if (const auto supervisor = ReadOrNote([&] { return folder.Supervisor(); }, damage)) {
    KillIdentity(IdentityOf(*supervisor));
  } else if (!damage.empty() && !attempt.marker.empty()) {
    // Without its launcher it ends by itself.
    Sweep(attempt.marker, milliseconds(5000));
  }
  for (int i = 0; i < 100; ++i) {
    Observation observation = Observe(attempt);
    if (observation.kind == Observation::Kind::kEnded) return observation;
    std::this_thread::sleep_for(milliseconds(20));
  }
  return {.kind = Observation::Kind::kUnknown, .detail = "its supervisor cannot be killed"};
}

}  // namespace syncbn::coordinator
