// SupervisedAttempt::MayBegin and StartLauncher: from the attempt's file to a running mpirun.
#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "base/environment.h"
#include "base/error.h"
#include "base/file.h"
#include "coordinator/launch/supervised_attempt.h"

namespace syncbn::coordinator {
namespace {

// Variables of this process whose names are wanted, "SLURM_*" for all that begin so. What the
// coordinator has set stays.
void AddInherited(const google::protobuf::RepeatedPtrField<std::string>& names,
                  std::vector<std::string>& environment) {
  for (std::string& entry : OwnEnvironment()) {
    const std::string name = VariableName(entry);
    if (HasVariable(environment, name)) continue;
    for (const std::string& wanted : names) {
      const bool prefix = wanted.ends_with('*');
      if (prefix ? name.starts_with(std::string_view(wanted).substr(0, wanted.size() - 1))
                 : name == wanted) {
        environment.push_back(std::move(entry));
        break;
      }
    }
  }
}

bool HasName(const std::string& host) {
  // Not in this process: a resolver that does not answer would keep it from hearing signals.
  constexpr std::chrono::seconds kLookUp{5};
  try {
    const CommandResult result = RunCommand({"getent", "hosts", host}, kLookUp);
    return !result.timed_out && result.exit_code == 0;
  } catch (const Error&) {
    return true;  // without the tool nothing is waited for
  }
}

}  // namespace

bool SupervisedAttempt::IsToldToEnd() {
  ReadSignals();
  ReadOrders();
  if (!ladder_.Advance(Clock::System().Monotonic())) return false;
  exit_.set_cause(host_shutdown_ && ordered_level_ == 0 ? v1::ExitRecord::HOST_SHUTDOWN
                                                        : v1::ExitRecord::STOPPED);
  exit_.set_message("it was told to end before " + spec_.command(0) + " was started");
  Note(exit_.message());
  return true;
}

bool SupervisedAttempt::MayBegin() {
  const auto end = Clock::System().Monotonic() +
                   std::chrono::microseconds(static_cast<int64_t>(spec_.name_seconds() * 1e6));
  if (spec_.name_seconds() > 0) {
    for (const std::string& host : spec_.remote_hosts()) {
      while (!HasName(host)) {
        if (IsToldToEnd()) return false;
        if (Clock::System().Monotonic() >= end) {
          Warn("the host " + host + " has no name here after " +
               std::to_string(static_cast<int>(spec_.name_seconds())) + " s");
          return !IsToldToEnd();
        }
        ::poll(nullptr, 0, 500);
      }
    }
  }
  return !IsToldToEnd();
}

bool SupervisedAttempt::StartLauncher() {
  std::vector<std::string> command(spec_.command().begin(), spec_.command().end());
  std::vector<std::string> environment(spec_.environment().begin(), spec_.environment().end());
  SetVariable(environment, std::string(kMarkerVariable), spec_.marker());
  if (!scratch_.disk.empty()) SetVariable(environment, "TMPDIR", scratch_.disk.string());
  AddInherited(spec_.inherit(), environment);
  // Open MPI's shared memory goes where it is found again; other hosts do not have the folder.
  if (!scratch_.memory.empty() && spec_.remote_hosts().empty()) {
    for (const char* name : {"btl_vader", "osc_sm", "osc_rdma"}) {
      const std::string variable = std::string("OMPI_MCA_") + name + "_backing_directory";
      // The operator's own choice counts.
      if (!HasVariable(environment, variable))
        SetVariable(environment, variable, scratch_.memory.string());
    }
  }
  const std::string working_folder = spec_.working_folder();
  const std::vector<char*> arguments = ExecPointers(command), variables = ExecPointers(environment);
  int output[2], error[2], failure[2];
  for (int* ends : {output, error, failure}) {
    if (::pipe2(ends, O_CLOEXEC) != 0) ThrowErrno("make", "a pipe");
  }
  const pid_t self = ::getpid();
  launcher_ = ::fork();
  if (launcher_ < 0) ThrowErrno("fork for", command[0]);
  if (launcher_ == 0) {
    // Between fork and exec: nothing that allocates.
    // When the supervisor is killed mpirun ends its ranks, on other hosts too, in good order.
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    int reason = ::getppid() == self ? 0 : ESRCH;
    ::setpgid(0, 0);
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::signal(SIGPIPE, SIG_DFL);
    const int null = ::open("/dev/null", O_RDONLY);
    ::dup2(null, 0);
    ::dup2(output[1], 1);
    ::dup2(error[1], 2);
    if (reason == 0 && ::chdir(working_folder.c_str()) != 0) reason = errno;
    if (reason == 0) {
      ::execvpe(arguments[0], arguments.data(), variables.data());
      reason = errno;
    }
    [[maybe_unused]] const ssize_t count = ::write(failure[1], &reason, sizeof reason);
    ::_exit(127);
  }
  for (int* ends : {output, error, failure}) ::close(ends[1]);
  outputs_[0] = output[0];
  outputs_[1] = error[0];
  for (int end : outputs_) ::fcntl(end, F_SETFL, O_NONBLOCK);
  int reason = 0;
  const bool failed = ::read(failure[0], &reason, sizeof reason) == sizeof reason;
  ::close(failure[0]);
  if (!failed) {
    Note("started " + command[0] + " as process " + std::to_string(launcher_));
    return true;
  }
  ::waitpid(launcher_, nullptr, 0);
  launcher_ended_ = true;
  exit_.set_cause(v1::ExitRecord::NOT_STARTED);
  exit_.set_message("cannot run " + command[0] + " in " + spec_.working_folder() + ": " +
                    std::strerror(reason) +
                    // A path says where to look; of a name one has to know.
                    (reason == ENOENT && command[0].find('/') == std::string::npos
                         ? " (is it installed, and on the PATH of the coordinator?)"
                         : ""));
  return false;
}

}  // namespace syncbn::coordinator
