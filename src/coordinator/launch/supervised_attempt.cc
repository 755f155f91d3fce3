#include "coordinator/launch/supervised_attempt.h"

#include <fcntl.h>
#include <google/protobuf/util/time_util.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "base/error.h"
#include "base/file.h"
#include "base/host.h"
#include "coordinator/job/job_record.h"
#include "coordinator/launch/launcher_text.h"
#include "coordinator/launch/spool_transfer.h"

namespace syncbn::coordinator {
namespace {

// How often stop.json is looked for, and the ladder's deadlines are.
constexpr int kTickMilliseconds = 100;

MonotonicTime Now() {
  return Clock::System().Monotonic();
}

std::chrono::milliseconds Milliseconds(double seconds) {
  return std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000));
}

void AddProcess(google::protobuf::RepeatedPtrField<v1::ProcessRecord>* list,
                const std::string& host, const MarkedProcess& process) {
  v1::ProcessRecord& record = *list->Add();
  record.set_host(host);
  record.set_pid(process.pid);
  record.set_command(process.command);
}

std::string Variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

// Processes that the kernel has killed for want of memory since it was booted.
int64_t OomKills() {
  try {
    const std::string text = "\n" + ReadFile("/proc/vmstat");
    const size_t at = text.find("\noom_kill ");
    return at == std::string::npos ? 0 : std::stoll(text.substr(at + 10));
  } catch (const std::exception&) {
    return 0;
  }
}

// None of the children is left, not even to be reaped.
bool IsGone(const std::vector<MarkedProcess>& children) {
  return std::all_of(children.begin(), children.end(), [](const MarkedProcess& child) {
    return ::kill(static_cast<pid_t>(child.pid), 0) != 0;
  });
}

// mpirun now and then does not end after its ranks have.
constexpr std::chrono::seconds kAloneTime{10};

}  // namespace

SupervisedAttempt::SupervisedAttempt(AttemptFolder folder)
    : folder_(std::move(folder)),
      spec_(folder_.Spec()),
      ladder_(LadderTimes(spec_.ladder())),
      cgroup_({.slurm_job = Variable("SLURM_JOB_ID")}) {
  if (spec_.command().empty() || spec_.marker().empty()) {
    throw Error(ErrorCode::kDataLoss, folder_.path().string() + "/attempt.json names no command");
  }
  exit_.set_marker(spec_.marker());
  note_file_ =
      ::open(folder_.supervisor_log().c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  // Signals are read in the loop, not handled, so that nothing is interrupted.
  sigset_t watched;
  sigemptyset(&watched);
  for (int signal : {SIGCHLD, SIGTERM, SIGINT, SIGHUP}) sigaddset(&watched, signal);
  ::sigprocmask(SIG_BLOCK, &watched, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  signals_ = ::signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
  if (signals_ < 0) ThrowErrno("watch signals for", folder_.path());
  // Processes whose parent dies become this process's children: none gets out of sight.
  if (::prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) ThrowErrno("become subreaper of", folder_.path());
}

SupervisedAttempt::~SupervisedAttempt() {
  for (int descriptor : {note_file_, signals_, outputs_[0], outputs_[1]}) {
    if (descriptor >= 0) ::close(descriptor);
  }
}

void SupervisedAttempt::WriteIdentity() {
  const ProcessIdentity self = SelfIdentity();
  v1::SupervisorRecord record;
  record.set_marker(spec_.marker());
  record.set_pid(self.pid);
  record.set_start_ticks(self.start_ticks);
  record.set_boot_id(self.boot_id);
  record.set_host(HostName());
  *record.mutable_start_time() = ToProto(Clock::System().Now());
  folder_.WriteSupervisor(record);
}

void SupervisedAttempt::Run() {
  const int64_t oom_kills = OomKills();
  *exit_.mutable_start_time() = ToProto(Clock::System().Now());
  try {
    log_.emplace(OutputLog::Options{
        .path = folder_.output_log(),
        .max_bytes = spec_.max_log_bytes() > 0 ? spec_.max_log_bytes() : int64_t{1} << 30,
        .tagged = spec_.tagged_output()});
    scratch_ = MakeScratch(spec_.marker());
    if (!scratch_.warning.empty()) Warn(scratch_.warning);
    if (MayBegin() && StartLauncher()) {
      WatchLauncher();
      ClearUp();
    }
  } catch (const std::exception& error) {
    // Whatever it was, nothing may be left running.
    Note(std::string("error: ") + error.what());
    if (exit_.message().empty()) exit_.set_message(error.what());
    if (launcher_ > 0 && !launcher_ended_) ::kill(launcher_, SIGKILL);
    Sweep(spec_.marker(), Milliseconds(spec_.ladder().kill_seconds()));
  }
  exit_.set_oom_kills(OomKills() - oom_kills);
  ReadKernelsWord();
  WriteExit();
}

void SupervisedAttempt::WatchLauncher() {
  while (!launcher_ended_) {
    pollfd polled[3] = {{signals_, POLLIN, 0}, {outputs_[0], POLLIN, 0}, {outputs_[1], POLLIN, 0}};
    ::poll(polled, 3, kTickMilliseconds);
    Pump();
    ReadSignals();
    ReadOrders();
    while (const auto rung = ladder_.Advance(Now())) TakeRung(*rung);
    LookAtRanks();
    Reap();
  }
}

void SupervisedAttempt::LookAtRanks() {
  if (Now() < next_look_) return;
  next_look_ = Now() + std::chrono::seconds(1);
  const std::vector<MarkedProcess> present = RanksOf(FindMarked(spec_.marker()));
  for (const MarkedProcess& rank : present) ranks_.emplace(rank.pid, rank);
  // Only where all ranks are on this machine and it is the launcher's turn to end by itself.
  const bool elsewhere = !spec_.remote_hosts().empty() || !spec_.inherit().empty();
  if (elsewhere || ladder_.rung() != StopLadder::Rung::kNone) return;
  if (!present.empty()) {
    alone_since_.reset();
  } else if (!ranks_.empty() && !alone_since_) {
    alone_since_ = Now();
  } else if (!ranks_.empty() && Now() - *alone_since_ >= kAloneTime) {
    Note("no rank is left and " + spec_.command(0) + " has not ended: killing it");
    ::kill(launcher_, SIGKILL);
    next_look_ = Now() + kAloneTime;
  }
}

void SupervisedAttempt::ReadOrders() {
  // Only the existence is looked at in most rounds.
  if (ordered_level_ == v1::STOP_LEVEL_KILL ||
      ::access((folder_.path() / "stop.json").c_str(), F_OK) != 0)
    return;
  std::string damage;
  const auto order = ReadOrNote([&] { return folder_.Stop(); }, damage);
  // It is written again, more severe, when the coordinator loses patience.
  if (damage != damaged_order_ && !damage.empty()) Note("an order that is not followed: " + damage);
  damaged_order_ = damage;
  if (!order || order->level() <= ordered_level_) return;
  ordered_level_ = order->level();
  Note("ordered to stop (" + v1::StopLevel_Name(order->level()) + "): " + order->reason());
  ladder_.Order(static_cast<StopLevel>(order->level()), Now());
}

void SupervisedAttempt::ReadSignals() {
  signalfd_siginfo info;
  while (::read(signals_, &info, sizeof info) == sizeof info) {
    if (info.ssi_signo == SIGCHLD) continue;
    Note(std::string("got ") + ::strsignal(static_cast<int>(info.ssi_signo)) + " from process " +
         std::to_string(info.ssi_pid));
    host_shutdown_ = true;
    ladder_.Order(StopLevel::kTerminate, Now());
  }
}

void SupervisedAttempt::TakeRung(StopLadder::Rung rung) {
  Note("rung: " + std::string(RungName(rung)));
  switch (rung) {
    case StopLadder::Rung::kNone:
    case StopLadder::Rung::kAsk:
      break;
    case StopLadder::Rung::kCheckpoint:
      ::kill(launcher_, SIGUSR1);
      break;
    case StopLadder::Rung::kTerminate: {
      for (const MarkedProcess& rank : RanksOf(FindMarked(spec_.marker()))) {
        SignalMarked(rank.pid, spec_.marker(), SIGTERM);
      }
      std::vector<std::vector<std::string>> commands;
      for (const std::string& host : spec_.remote_hosts()) {
        commands.push_back(SweepCommand(spec_, host, {"--terminate"}));
      }
      RunCommands(commands, Milliseconds(spec_.ladder().remote_seconds()));
      break;
    }
    case StopLadder::Rung::kLauncher:
      ::kill(launcher_, SIGTERM);
      break;
    case StopLadder::Rung::kKill:
      ::kill(launcher_, SIGKILL);
      break;
  }
}

void SupervisedAttempt::Reap() {
  int status = 0;
  pid_t pid;
  while ((pid = ::waitpid(-1, &status, WNOHANG)) > 0) {
    if (pid != launcher_) continue;
    launcher_ended_ = true;
    if (WIFSIGNALED(status)) {
      exit_.set_signal(WTERMSIG(status));
    } else {
      exit_.set_exit_code(WEXITSTATUS(status));
    }
  }
}

void SupervisedAttempt::Pump() {
  char buffer[65536];
  for (int stream : {0, 1}) {
    // A bound, so that a job that prints without end cannot keep this from its other duties.
    for (int i = 0; i < 64 && outputs_[stream] >= 0; ++i) {
      const ssize_t count = ::read(outputs_[stream], buffer, sizeof buffer);
      if (count > 0) {
        log_->Add(stream, std::string_view(buffer, static_cast<size_t>(count)));
        continue;
      }
      if (count < 0 && errno == EINTR) continue;
      if (count < 0 && errno == EAGAIN) break;
      ::close(outputs_[stream]);
      outputs_[stream] = -1;
    }
  }
}

void SupervisedAttempt::ClearUp() {
  const bool ordered = ladder_.rung() != StopLadder::Rung::kNone;
  exit_.set_cause(host_shutdown_ && ordered_level_ == 0 ? v1::ExitRecord::HOST_SHUTDOWN
                  : ordered                             ? v1::ExitRecord::STOPPED
                                                        : v1::ExitRecord::ENDED);
  exit_.set_rung(std::string(RungName(ladder_.rung())));
  Note("the launcher has ended");
  // What mpirun killed a moment ago may still be on its way out: that is no orphan.
  const auto patience = Now() + std::chrono::milliseconds(500);
  while (Now() < patience && !FindMarked(spec_.marker()).empty()) {
    Pump();
    Reap();
    ::poll(nullptr, 0, 10);
  }
  const SweepResult swept = Sweep(spec_.marker(), Milliseconds(spec_.ladder().kill_seconds()));
  for (const MarkedProcess& process : swept.killed)
    AddProcess(exit_.mutable_swept(), HostName(), process);
  for (const MarkedProcess& process : swept.survivors)
    AddProcess(exit_.mutable_survivors(), HostName(), process);
  KillAdopted();
  // A clean end speaks for the other hosts as well: mpirun has heard from each of their daemons.
  const bool clean =
      exit_.cause() == v1::ExitRecord::ENDED && exit_.exit_code() == 0 && exit_.signal() == 0;
  Reap();
  Pump();
  // One that refused has been to no other host, and says nothing about them.
  const auto verdict = ReadLauncherText(log_->launcher_text());
  if (!clean && verdict && StartedNothing(*verdict)) return;
  if (!clean) SweepRemoteHosts();
  FetchRemoteSpools();
}

void SupervisedAttempt::ReadKernelsWord() {
  exit_.set_cgroup(cgroup_.group());
  exit_.set_cgroup_oom_kills(cgroup_.OomKilled());
  for (const int64_t pid : kernel_log_.OomKilled()) {
    const auto rank = ranks_.find(pid);
    if (rank != ranks_.end()) AddProcess(exit_.mutable_oom_killed(), HostName(), rank->second);
  }
}

void SupervisedAttempt::KillAdopted() {
  const auto end = Now() + Milliseconds(spec_.ladder().kill_seconds());
  while (Now() < end) {
    // A child cannot be mistaken for another process: its number is kept until it is reaped here.
    // The children of one that dies become children of this process and are next.
    const std::vector<MarkedProcess> children = ChildrenOfSelf();
    if (children.empty()) return;
    for (const MarkedProcess& child : children) {
      if (::kill(static_cast<pid_t>(child.pid), SIGKILL) == 0) {
        AddProcess(exit_.mutable_swept(), HostName(), child);
      }
    }
    do {
      ::poll(nullptr, 0, 10);
      Reap();
    } while (Now() < end && !IsGone(children));
  }
  for (const MarkedProcess& child : ChildrenOfSelf()) {
    AddProcess(exit_.mutable_survivors(), HostName(), child);
  }
}

void SupervisedAttempt::SweepRemoteHosts() {
  std::vector<std::vector<std::string>> commands;
  for (const std::string& host : spec_.remote_hosts()) commands.push_back(SweepCommand(spec_, host, {}));
  const std::vector<CommandResult> results =
      RunCommands(commands, Milliseconds(spec_.ladder().remote_seconds()));
  for (size_t i = 0; i < results.size(); ++i) {
    const CommandResult& result = results[i];
    const std::string& host = spec_.remote_hosts(static_cast<int>(i));
    if (!result.timed_out && result.exit_code == 0) continue;
    // Exit code 3: asked, and something is still there. Anything else: not asked.
    exit_.add_unverified_hosts(host);
    Note(
        "host " + host + " may hold processes: " +
        (result.timed_out ? "no answer in time" : "exit code " + std::to_string(result.exit_code)) +
        " " + result.output + result.error_output);
  }
}

void SupervisedAttempt::FetchRemoteSpools() {
  std::vector<std::string> hosts, lost(exit_.unverified_hosts().begin(),
                                       exit_.unverified_hosts().end());
  for (const std::string& host : spec_.remote_hosts()) {
    if (std::find(lost.begin(), lost.end(), host) == lost.end()) hosts.push_back(host);
  }
  for (std::string& host :
       FetchSpools(spec_, hosts, folder_.spool(), [this](const std::string& text) { Note(text); })) {
    lost.push_back(std::move(host));
  }
  if (!lost.empty()) exit_.set_message(NotFetchedText(exit_.message(), lost));
}

void SupervisedAttempt::WriteExit() {
  RemoveScratch(spec_.marker());
  if (log_) {
    log_->Finish();
    exit_.set_dropped_lines(log_->dropped_lines());
    exit_.set_launcher_text(log_->launcher_text());
    exit_.set_output_tail(log_->tail());
    for (const OutputLog::RankEnd& one : log_->rank_ends()) {
      v1::RankEnd& end = *exit_.add_rank_ends();
      end.set_rank(one.rank);
      end.set_exit_code(one.end.exit_code);
      end.set_signal(one.end.signal);
    }
  }
  *exit_.mutable_end_time() = ToProto(Clock::System().Now());
  *exit_.mutable_run_time() = google::protobuf::util::TimeUtil::MicrosecondsToDuration(
      std::chrono::duration_cast<std::chrono::microseconds>(Now() - start_).count());
  // The disk may be full now and not later; the coordinator waits for this file.
  for (int wait = 1;; wait = std::min(wait * 2, 60)) {
    try {
      Note(folder_.WriteExit(exit_) ? "wrote exit.json"
                                    : "exit.json is there already: the attempt was given up");
      return;
    } catch (const std::exception& error) {
      Note(std::string("cannot write exit.json: ") + error.what());
      // Without its folder there is nobody left to tell.
      std::error_code unknown;
      if (!std::filesystem::exists(folder_.path(), unknown) && !unknown) return;
      ::sleep(static_cast<unsigned>(wait));
    }
  }
}

void SupervisedAttempt::Warn(const std::string& text) {
  Note(text);
  log_->AddNote("syncbn: warning: " + text);
}

void SupervisedAttempt::Note(const std::string& text) {
  const std::string line = FormatTime(Clock::System().Now()) + " " + text + "\n";
  [[maybe_unused]] const ssize_t count = ::write(note_file_, line.data(), line.size());
}

}  // namespace syncbn::coordinator
