#include "coordinator/launch/supervisor.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>

#include "base/error.h"
#include "base/file.h"
#include "coordinator/launch/attempt_folder.h"
#include "coordinator/launch/spool_transfer.h"
#include "coordinator/launch/supervised_attempt.h"

namespace syncbn::coordinator {
namespace {

void WriteAll(int file, const std::string& text) {
  [[maybe_unused]] const ssize_t count = ::write(file, text.data(), text.size());
}

// In the process that supervises: `ready` gets "ok" or the reason why not.
int Supervise(const AttemptFolder& folder, int ready) {
  std::optional<FolderLock> lock;
  std::optional<SupervisedAttempt> attempt;
  try {
    lock = folder.TryLock();
    if (!lock) {
      throw Error(ErrorCode::kFailedPrecondition,
                  folder.path().string() + " has a supervisor already (" +
                      FolderLock::Owner(folder.path() / "lock") + ")");
    }
    if (folder.Exit()) {
      throw Error(ErrorCode::kFailedPrecondition,
                  "the attempt in " + folder.path().string() + " is over");
    }
    // A cluster may start a pod a second time, where the first is gone without a word.
    std::string damage;
    const auto former = ReadOrNote([&] { return folder.Supervisor(); }, damage);
    if (former || !damage.empty()) {
      throw Error(
          ErrorCode::kFailedPrecondition,
          "the attempt in " + folder.path().string() + " was started before" +
              (former ? ", by process " + std::to_string(former->pid()) + " on " + former->host()
                      : " (" + damage + ")") +
              ": no attempt is started twice");
    }
    attempt.emplace(folder);
    attempt->WriteIdentity();
  } catch (const std::exception& error) {
    if (ready >= 0) {
      WriteAll(ready, error.what());
    } else {
      std::fprintf(stderr, "syncbn supervise: %s\n", error.what());
    }
    return 1;
  }
  if (ready >= 0) {
    WriteAll(ready, "ok");
    ::close(ready);
  }
  attempt->Run();
  return 0;
}

// From here on nothing ties the process to who started it.
void Detach(const AttemptFolder& folder) {
  ::setsid();
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  const int log =
      ::open(folder.supervisor_log().c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (null >= 0) {
    ::dup2(null, 0);
    ::dup2(log >= 0 ? log : null, 1);
    ::dup2(log >= 0 ? log : null, 2);
  }
  // A data folder must be able to be unmounted, and the caller's folder may go away.
  [[maybe_unused]] const int changed = ::chdir("/");
}

}  // namespace

int RunSupervisor(const SupervisorOptions& options) {
  // Made absolute before the working folder changes.
  const AttemptFolder folder(std::filesystem::absolute(options.folder));
  if (!options.detach) return Supervise(folder, -1);

  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) ThrowErrno("make", "a pipe");
  const pid_t child = ::fork();
  if (child < 0) ThrowErrno("fork for", folder.path());
  if (child == 0) {
    ::close(ends[0]);
    Detach(folder);
    ::_exit(Supervise(folder, ends[1]));
  }
  ::close(ends[1]);
  std::string answer;
  char buffer[512];
  ssize_t count;
  while ((count = ::read(ends[0], buffer, sizeof buffer)) > 0 || (count < 0 && errno == EINTR)) {
    if (count > 0) answer.append(buffer, static_cast<size_t>(count));
  }
  ::close(ends[0]);
  if (answer == "ok") return 0;
  std::fprintf(stderr, "syncbn supervise: %s\n",
               answer.empty() ? "the supervisor died at its start" : answer.c_str());
  ::waitpid(child, nullptr, 0);
  return 1;
}

int RunSweep(const SweepOptions& options) {
  if (!options.send_spool.empty()) {
    return SendSpool(options.send_spool, options.home, STDOUT_FILENO) ? 0 : 1;
  }
  if (!options.drop_spool.empty()) {
    if (!std::filesystem::exists(options.drop_spool / options.home)) DropSpool(options.drop_spool);
    return 0;
  }
  if (options.look) {
    std::printf("%s", ActivityText(ActivityOf(options.marker)).c_str());
    return 0;
  }
  if (options.terminate) {
    for (const MarkedProcess& rank : RanksOf(FindMarked(options.marker))) {
      if (SignalMarked(rank.pid, options.marker, SIGTERM)) {
        std::printf("SIGTERM %lld %s\n", static_cast<long long>(rank.pid), rank.command.c_str());
      }
    }
    return 0;
  }
  const SweepResult result = Sweep(
      options.marker, std::chrono::milliseconds(static_cast<int64_t>(options.seconds * 1000)));
  for (const MarkedProcess& process : result.killed) {
    std::printf("killed %lld %s\n", static_cast<long long>(process.pid), process.command.c_str());
  }
  for (const MarkedProcess& process : result.survivors) {
    std::printf("alive %lld %s\n", static_cast<long long>(process.pid), process.command.c_str());
  }
  return result.survivors.empty() ? 0 : 3;
}

}  // namespace syncbn::coordinator
