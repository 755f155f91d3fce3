// RunCommand of process.h.
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <thread>

#include "base/environment.h"
#include "base/error.h"
#include "base/file.h"
#include "coordinator/launch/process.h"

extern char** environ;

namespace syncbn::coordinator {
namespace {

// One command that is running: its process and the reading ends of its outputs.
struct Running {
  pid_t pid = -1;
  int ends[2] = {-1, -1};
  bool exited = false;
  size_t most_output = size_t{1} << 20;
  CommandResult result;

  std::string& Text(int index) { return index == 0 ? result.output : result.error_output; }

  void Close(int index) {
    if (ends[index] >= 0) ::close(ends[index]);
    ends[index] = -1;
  }
  // Takes what is there now.
  void Read(int index) {
    char buffer[65536];
    while (ends[index] >= 0) {
      const ssize_t count = ::read(ends[index], buffer, sizeof buffer);
      if (count > 0) {
        // Read on past the limit: a writer must not be held up by a full pipe.
        const size_t room = most_output - std::min(most_output, Text(index).size());
        Text(index).append(buffer, std::min(room, static_cast<size_t>(count)));
      } else if (count < 0 && errno == EINTR) {
        continue;
      } else if (count < 0 && errno == EAGAIN) {
        return;
      } else {
        Close(index);
      }
    }
  }
  // Ends what is still running, and takes the last output.
  CommandResult Finish() {
    if (!exited) {
      result.timed_out = true;
      ::kill(-pid, SIGKILL);
      ::kill(pid, SIGKILL);
      Reap(0);
    }
    for (int index : {0, 1}) {
      Read(index);
      Close(index);
    }
    return std::move(result);
  }
  void Reap(int options) {
    int status = 0;
    if (exited || ::waitpid(pid, &status, options) != pid) return;
    exited = true;
    result.exit_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  }
};

// A pipe that no other child inherits by accident, and whose reader never waits.
void MakePipe(int ends[2]) {
  if (::pipe2(ends, O_CLOEXEC) != 0) ThrowErrno("make", "a pipe");
  ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
}

// Of a program that could not be started.
ErrorCode CodeOfStart(int failure) {
  switch (failure) {
    case ENOENT:
    case ENOTDIR:
      return ErrorCode::kNotFound;
    case EACCES:
    case EPERM:
    case ENOEXEC:
      return ErrorCode::kPermissionDenied;
    case E2BIG:
      return ErrorCode::kInvalidArgument;
    default:  // no memory, no more processes
      return ErrorCode::kUnavailable;
  }
}

Running Start(const std::vector<std::string>& command) {
  std::vector<std::string> words = command;
  const std::vector<char*> arguments = ExecPointers(words);
  int output[2], error[2];
  MakePipe(output);
  MakePipe(error);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, output[1], 1);
  posix_spawn_file_actions_adddup2(&actions, error[1], 2);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  // A server blocks and ignores signals of its own; the command starts as from a login.
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  Running running;
  const int failure =
      ::posix_spawnp(&running.pid, arguments[0], &actions, &attributes, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  ::close(output[1]);
  ::close(error[1]);
  running.ends[0] = output[0];
  running.ends[1] = error[0];
  if (failure != 0) {
    running.Close(0);
    running.Close(1);
    throw Error(CodeOfStart(failure), "cannot run " + command[0] + ": " + std::strerror(failure));
  }
  return running;
}

void WaitForAll(std::vector<Running>& commands, std::chrono::milliseconds time) {
  const auto end = std::chrono::steady_clock::now() + time;
  while (true) {
    std::vector<pollfd> polled;
    bool running = false;
    for (Running& one : commands) {
      if (one.pid < 0) continue;
      one.Reap(WNOHANG);
      running |= !one.exited;
      for (const int descriptor : one.ends) {
        if (descriptor >= 0) polled.push_back({descriptor, POLLIN, 0});
      }
    }
    // Only the commands are waited for: a child that one left behind may keep its output open.
    if (!running) return;
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        end - std::chrono::steady_clock::now());
    if (left.count() <= 0) return;
    // Woken often enough to see a command end whose child holds the pipe open.
    ::poll(polled.data(), polled.size(), static_cast<int>(std::min<int64_t>(left.count(), 20)));
    for (const pollfd& one : polled) {
      if (one.revents == 0) continue;
      for (Running& command : commands) {
        for (int index : {0, 1}) {
          if (command.ends[index] == one.fd) command.Read(index);
        }
      }
    }
  }
}

}  // namespace

std::optional<std::filesystem::path> FindProgram(const std::string& name) {
  auto is_program = [](const std::filesystem::path& path) {
    return std::filesystem::is_regular_file(path) && ::access(path.c_str(), X_OK) == 0;
  };
  std::vector<std::filesystem::path> places;
  if (name.find('/') != std::string::npos) {
    places.emplace_back(name);
  } else {
    const char* path = std::getenv("PATH");
    std::istringstream folders(path != nullptr ? path : "/bin:/usr/bin");
    for (std::string folder; std::getline(folders, folder, ':');)
      places.push_back(std::filesystem::path(folder.empty() ? "." : folder) / name);
  }
  const auto found = std::ranges::find_if(places, is_program);
  if (found == places.end()) return std::nullopt;
  return *found;
}

CommandResult RunCommand(const std::vector<std::string>& command, std::chrono::milliseconds time) {
  std::vector<Running> commands;
  commands.push_back(Start(command));
  WaitForAll(commands, time);
  return commands[0].Finish();
}

std::vector<CommandResult> RunCommands(const std::vector<std::vector<std::string>>& commands,
                                       std::chrono::milliseconds time, size_t most_output) {
  std::vector<Running> running(commands.size());
  for (size_t i = 0; i < commands.size(); ++i) {
    try {
      running[i] = Start(commands[i]);
      running[i].most_output = most_output;
    } catch (const Error& error) {
      running[i].exited = true;
      running[i].result = {.exit_code = 127, .error_output = error.message()};
    }
  }
  WaitForAll(running, time);
  std::vector<CommandResult> results;
  for (Running& one : running) results.push_back(one.Finish());
  return results;
}

}  // namespace syncbn::coordinator
