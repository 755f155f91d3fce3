#include "tests/support/process.h"

#include <fcntl.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "base/environment.h"

namespace syncbn {
namespace {

std::string TemporaryFile() {
  std::string path = "/tmp/syncbn-process-XXXXXX";
  const int fd = ::mkstemp(path.data());
  if (fd < 0) throw std::runtime_error("mkstemp failed");
  ::close(fd);
  return path;
}

std::string Content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace

Process::Process(const ProcessOptions& options)
    : options_(options),
      out_path_(TemporaryFile()),
      err_path_(TemporaryFile()),
      start_(std::chrono::steady_clock::now()) {
  std::vector<std::string> environment = OwnEnvironment();
  for (const auto& [name, value] : options_.environment) SetVariable(environment, name, value);
  const std::vector<char*> argv = ExecPointers(options_.argv), variables = ExecPointers(environment);
  pid_ = ::fork();
  if (pid_ < 0) throw std::runtime_error("fork failed");
  if (pid_ == 0) {
    // Tests have threads: nothing that allocates.
    ::setpgid(0, 0);
    const int in = ::open("/dev/null", O_RDONLY);
    const int out = ::open(out_path_.c_str(), O_WRONLY | O_TRUNC);
    const int err = ::open(err_path_.c_str(), O_WRONLY | O_TRUNC);
    ::dup2(in, 0);
    ::dup2(out, 1);
    ::dup2(err, 2);
    if (!options_.working_folder.empty() && ::chdir(options_.working_folder.c_str()) != 0) ::_exit(126);
    ::execvpe(argv[0], argv.data(), variables.data());
    ::_exit(127);
  }
  ::setpgid(pid_, pid_);
}

Process::~Process() {
  if (pid_ > 0) {
    ::kill(-pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  ::unlink(out_path_.c_str());
  ::unlink(err_path_.c_str());
}

void Process::Signal(int number) const {
  if (pid_ > 0) ::kill(pid_, number);
}

ProcessResult Process::Wait() {
  ProcessResult result;
  const auto deadline = start_ + options_.timeout;
  int status = 0;
  while (true) {
    const pid_t done = ::waitpid(pid_, &status, WNOHANG);
    if (done == pid_) break;
    if (std::chrono::steady_clock::now() > deadline) {
      result.timed_out = true;
      ::kill(-pid_, SIGKILL);
      ::waitpid(pid_, &status, 0);
      break;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  pid_ = -1;
  result.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  result.out = Out();
  result.err = Err();
  result.seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  return result;
}

std::string Process::Out() const { return Content(out_path_); }
std::string Process::Err() const { return Content(err_path_); }

bool Process::WaitForText(const std::string& text, std::chrono::seconds timeout) const {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (std::chrono::steady_clock::now() < deadline) {
    // Wait() still finds it afterwards.
    siginfo_t info{};
    ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT);
    const bool ended = info.si_pid == pid_;
    if (Out().find(text) != std::string::npos || Err().find(text) != std::string::npos) return true;
    if (ended) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

ProcessResult RunProcess(const ProcessOptions& options) { return Process(options).Wait(); }

std::string OutputOnTerminal(const ProcessOptions& options) {
  std::vector<std::string> words = options.argv, environment = OwnEnvironment();
  std::erase_if(environment,
                [](const std::string& one) { return VariableName(one) == "NO_COLOR"; });
  for (const auto& [name, value] : options.environment) SetVariable(environment, name, value);
  SetVariable(environment, "TERM", "xterm");
  const std::vector<char*> argv = ExecPointers(words), variables = ExecPointers(environment);
  int master = -1;
  termios raw{};
  ::cfmakeraw(&raw);
  winsize size{};
  size.ws_row = 24;
  size.ws_col = 100;
  const pid_t child = ::forkpty(&master, nullptr, &raw, &size);
  if (child < 0) throw std::runtime_error("forkpty failed");
  if (child == 0) {
    ::alarm(100);
    if (!options.working_folder.empty() && ::chdir(options.working_folder.c_str()) != 0)
      ::_exit(126);
    ::execvpe(argv[0], argv.data(), variables.data());
    ::_exit(127);
  }
  std::string shown;
  char buffer[4096];
  ssize_t count = 0;
  while ((count = ::read(master, buffer, sizeof buffer)) > 0) {
    shown.append(buffer, static_cast<size_t>(count));
  }
  ::close(master);
  ::waitpid(child, nullptr, 0);
  return shown;
}

std::vector<pid_t> ProcessesNaming(const std::filesystem::path& folder, pid_t without) {
  std::vector<pid_t> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const pid_t pid = std::stoi(name);
    if (pid == without || pid == ::getpid()) continue;
    std::ifstream file(entry.path() / "cmdline");
    const std::string words{std::istreambuf_iterator<char>(file), {}};
    if (words.find(folder.string()) != std::string::npos) found.push_back(pid);
  }
  return found;
}

std::string SyncbnProgram() { return SYNCBN_PROGRAM; }

ProcessOptions UnderMpirun(int processes, std::vector<std::string> command) {
  ProcessOptions options;
  options.argv = {"mpirun", "--bind-to", "none", "--oversubscribe", "-np", std::to_string(processes)};
  options.argv.insert(options.argv.end(), command.begin(), command.end());
  options.environment = {{"OMPI_ALLOW_RUN_AS_ROOT", "1"},
                         {"OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"},
                         {"OMPI_MCA_mpi_yield_when_idle", "1"},
                         {"OMPI_MCA_rtc_hwloc_vmhole", "none"}};
  return options;
}

}  // namespace syncbn
