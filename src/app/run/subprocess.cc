#include "app/run/subprocess.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "base/environment.h"
#include "base/error.h"
#include "base/file.h"

namespace syncbn::app {

int RunLogged(const std::vector<std::string>& argv, const std::filesystem::path& log,
              const std::stop_token& stop) {
  std::vector<std::string> words = argv, environment = OwnEnvironment();
  if (::geteuid() == 0) {
    SetVariable(environment, "OMPI_ALLOW_RUN_AS_ROOT", "1");
    SetVariable(environment, "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
  }
  const std::vector<char*> arguments = ExecPointers(words), variables = ExecPointers(environment);
  const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (out < 0) ThrowErrno("create", log);
  const pid_t child = ::fork();
  if (child < 0) {
    ::close(out);
    ThrowErrno("fork for", argv.front());
  }
  if (child == 0) {
    // Between fork and exec: nothing that allocates.
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    // Ctrl-C in a terminal would reach it beside the SIGTERM that follows, and mpirun that is told
    // twice leaves before its ranks have.
    ::setpgid(0, 0);
    const int in = ::open("/dev/null", O_RDONLY);
    ::dup2(in, 0);
    ::dup2(out, 1);
    ::dup2(out, 2);
    ::execvpe(arguments[0], arguments.data(), variables.data());
    ::_exit(127);
  }
  ::close(out);
  int status = 0;
  {
    // Not reaped before this is gone: the number is the child's.
    const std::stop_callback end(stop, [child] { ::kill(child, SIGTERM); });
    siginfo_t info{};
    while (::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT) < 0 &&
           errno == EINTR) {
    }
  }
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 127) {
    throw Error(ErrorCode::kNotFound,
                "cannot run " + argv.front() + ": it is not installed or not on PATH");
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::vector<std::string> LocalMpirunCommand(int processes, const std::vector<std::string>& argv) {
  // rtc_hwloc_vmhole: see launch/mpi-environment.
  std::vector<std::string> command = {
      "mpirun", "--bind-to", "none", "--oversubscribe", "--mca", "mpi_yield_when_idle", "1",
      "--mca", "rtc_hwloc_vmhole", "none", "-np", std::to_string(processes)};
  command.insert(command.end(), argv.begin(), argv.end());
  return command;
}

}  // namespace syncbn::app
