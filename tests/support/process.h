// Runs a program from a test: argv in, exit status and output out, always within a deadline.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace syncbn {

struct ProcessOptions {
  std::vector<std::string> argv;
  // Added to the environment of the test.
  std::map<std::string, std::string> environment;
  // Killed with its process group after this: what hangs, not what is slow on a busy machine.
  std::chrono::seconds timeout{300};
  std::string working_folder;
};

struct ProcessResult {
  // The exit code, or 128 + signal when a signal ended it.
  int status = -1;
  bool timed_out = false;
  // Standard output and standard error, each complete.
  std::string out;
  std::string err;
  double seconds = 0;
};

// Starts a program in a process group of its own; its output goes to temporary files.
class Process {
 public:
  explicit Process(const ProcessOptions& options);
  // Kills the group if it is still there.
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  void Signal(int number) const;
  // Waits for the end, at most until the deadline of the options.
  ProcessResult Wait();
  // What it has written so far.
  std::string Out() const;
  std::string Err() const;
  // Sleeps until `text` has been written to either output; false at the deadline or at its end.
  bool WaitForText(const std::string& text, std::chrono::seconds timeout) const;

 private:
  ProcessOptions options_;
  pid_t pid_ = -1;
  std::string out_path_, err_path_;
  std::chrono::steady_clock::time_point start_;
};

ProcessResult RunProcess(const ProcessOptions& options);

// What it prints on a terminal of its own, of 100 columns and with colours. Ended after 100
// seconds.
std::string OutputOnTerminal(const ProcessOptions& options);

// Processes whose command line names something in the folder, but for one of them.
std::vector<pid_t> ProcessesNaming(const std::filesystem::path& folder, pid_t without = 0);

// The built program.
std::string SyncbnProgram();
// `mpirun -np P` with what makes small machines work, before the given command.
ProcessOptions UnderMpirun(int processes, std::vector<std::string> command);

}  // namespace syncbn
