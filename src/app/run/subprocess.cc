#include "app/run/subprocess.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <system_error>

#include "base/environment.h"
#include "base/error.h"
#include "base/file.h"

namespace syncbn::app {
namespace {

// What a process has started itself, so that one can wait for it when nobody else does: mpirun ends
// its ranks and does not wait until they have ended. Descriptors, because numbers may be given
// anew.
class ChildrenOf {
 public:
  ChildrenOf() = default;
  ~ChildrenOf() {
    for (const pollfd& one : ends_) ::close(one.fd);
  }
  ChildrenOf(const ChildrenOf&) = delete;
  ChildrenOf& operator=(const ChildrenOf&) = delete;

  void Find(pid_t parent) {
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator("/proc", ignored)) {
      const std::string name = entry.path().filename().string();
      if (name.find_first_not_of("0123456789") != std::string::npos) continue;
      const auto pid = static_cast<pid_t>(std::stol(name));
      const int end = ParentOf(pid) == parent ? Open(pid) : -1;
      if (end < 0) continue;
      ends_.push_back({.fd = end, .events = POLLIN, .revents = 0});
      if (ParentOf(pid) != parent) {  // it was another's number by then
        ::close(end);
        ends_.pop_back();
      }
    }
  }

  // What is killed ends; what hangs in the kernel is not waited for any longer.
  void Await(std::chrono::milliseconds most) {
    const auto deadline = std::chrono::steady_clock::now() + most;
    for (pollfd& one : ends_) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
          deadline - std::chrono::steady_clock::now());
      ::poll(&one, 1, static_cast<int>(std::max<int64_t>(0, left.count())));
    }
  }

 private:
  static int Open(pid_t pid) { return static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)); }

  // -1: it is not there. "PID (any name) state parent ..."
  static pid_t ParentOf(pid_t pid) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
    std::string text;
    std::getline(file, text);
    const size_t name_end = text.rfind(')');
    if (name_end == std::string::npos || name_end + 4 >= text.size()) return -1;
    return static_cast<pid_t>(std::strtol(text.c_str() + name_end + 4, nullptr, 10));
  }

  std::vector<pollfd> ends_;
};

}  // namespace

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
  ChildrenOf children;
  {
    // Not reaped before this is gone: the number is the child's.
    const std::stop_callback end(stop, [&] {
      children.Find(child);
      ::kill(child, SIGTERM);
    });
    siginfo_t info{};
    while (::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT) < 0 &&
           errno == EINTR) {
    }
  }
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  children.Await(std::chrono::seconds(10));
  if (WIFEXITED(status) && WEXITSTATUS(status) == 127) {
    throw Error(ErrorCode::kNotFound,
                "cannot run " + argv.front() + ": it is not installed or not on PATH");
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

Captured RunCaptured(std::vector<std::string> argv, std::vector<std::string> environment,
                     bool with_errors) {
  Captured captured;
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    captured.why = std::generic_category().message(errno);
    return captured;
  }
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  if (with_errors) ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
  pid_t child = -1;
  const int failed = ::posix_spawn(&child, argv[0].c_str(), &actions, nullptr,
                                   ExecPointers(argv).data(), ExecPointers(environment).data());
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  if (failed != 0) {
    captured.why = std::generic_category().message(failed);
  } else {
    char buffer[4096];
    while (true) {
      const ssize_t count = ::read(ends[0], buffer, sizeof buffer);
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) break;
      captured.text.append(buffer, static_cast<size_t>(count));
    }
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    captured.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  ::close(ends[0]);
  return captured;
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
