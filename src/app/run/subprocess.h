// Runs another program to its end. Always by argv, never through a shell.
#pragma once

#include <filesystem>
#include <stop_token>
#include <string>
#include <vector>

namespace syncbn::app {

// Runs argv with standard output and error in `log` (replaced). Returns the exit code, or 128 +
// signal. The child has a process group of its own and dies with the thread that calls. Asked to
// stop, it ends it with SIGTERM and waits, for the processes that it has started as well. Throws
// NOT_FOUND when the program does not exist.
int RunLogged(const std::vector<std::string>& argv, const std::filesystem::path& log,
              const std::stop_token& stop = {});

// What a program printed on standard output and, where asked for, standard error, together.
struct Captured {
  int code = 0;     // exit code, or 128 + signal
  std::string why;  // why it could not be started; empty: it was
  std::string text;
};
// Runs argv[0], a path, to its end with the environment given; it reads nothing.
Captured RunCaptured(std::vector<std::string> argv, std::vector<std::string> environment,
                     bool with_errors);

// `mpirun -np P ARGV...` with what small machines need: no pinning, more processes than cores allowed, cores
// given away while waiting; as root, Open MPI's two confirmations in the environment.
std::vector<std::string> LocalMpirunCommand(int processes, const std::vector<std::string>& argv);

}  // namespace syncbn::app
