#include "coordinator/launch/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <map>
#include <set>
#include <sstream>
#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "base/host.h"
#include "coordinator/launch/rank_relay.h"

namespace syncbn::coordinator {
namespace {

struct Stat {
  char state = 0;
  int64_t parent = 0;
  int64_t group = 0;
  int64_t session = 0;
  int64_t start_ticks = 0;
  int64_t processor_ticks = 0;
};

std::string ProcFile(int64_t pid, const char* name) {
  return "/proc/" + std::to_string(pid) + "/" + name;
}

// Empty where the process is gone or may not be looked at.
std::string ReadProc(int64_t pid, const char* name) {
  try {
    return ReadFile(ProcFile(pid, name));
  } catch (const Error&) {
    return "";
  }
}

std::optional<Stat> ReadStat(int64_t pid) {
  const std::string text = ReadProc(pid, "stat");
  // The command in parentheses may hold anything, so fields are counted from its end.
  const size_t end = text.rfind(')');
  if (end == std::string::npos) return std::nullopt;
  std::vector<std::string_view> fields;
  std::string_view rest = std::string_view(text).substr(end + 1);
  while (!rest.empty()) {
    const size_t start = rest.find_first_not_of(" \n");
    if (start == std::string_view::npos) break;
    rest.remove_prefix(start);
    const size_t length = std::min(rest.find_first_of(" \n"), rest.size());
    fields.push_back(rest.substr(0, length));
    rest.remove_prefix(length);
  }
  // Field 3 of the manual is the first here, so the start (22) is at 19, the times in the program
  // and in the kernel (14, 15) at 11 and 12.
  if (fields.size() < 20 || fields[0].size() != 1) return std::nullopt;
  auto number = [](std::string_view field) {
    int64_t value = 0;
    std::from_chars(field.data(), field.data() + field.size(), value);
    return value;
  };
  return Stat{.state = fields[0][0],
              .parent = number(fields[1]),
              .group = number(fields[2]),
              .session = number(fields[3]),
              .start_ticks = number(fields[19]),
              .processor_ticks = number(fields[11]) + number(fields[12])};
}

bool IsDead(const Stat& stat) {
  return stat.state == 'Z' || stat.state == 'X';
}

// `entry` is one whole "NAME=value" of the environment.
bool HasEntry(std::string_view environment, std::string_view entry) {
  size_t at = 0;
  while (at < environment.size()) {
    const size_t end = std::min(environment.find('\0', at), environment.size());
    if (environment.substr(at, end - at) == entry) return true;
    at = end + 1;
  }
  return false;
}

bool HasVariable(std::string_view environment, std::string_view name) {
  const std::string start = std::string(name) + "=";
  return environment.starts_with(start) ||
         environment.find(std::string(1, '\0') + start) != std::string_view::npos;
}

std::string MarkerEntry(std::string_view marker) {
  return std::string(kMarkerVariable) + "=" + std::string(marker);
}

std::vector<int64_t> AllProcesses() {
  std::vector<int64_t> pids;
  DIR* folder = ::opendir("/proc");
  if (folder == nullptr) ThrowErrno("open", "/proc");
  while (const dirent* entry = ::readdir(folder)) {
    int64_t pid = 0;
    const std::string_view name = entry->d_name;
    const auto [end, code] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (code == std::errc() && end == name.data() + name.size()) pids.push_back(pid);
  }
  ::closedir(folder);
  return pids;
}

std::string CommandOf(int64_t pid) {
  std::string command = ReadProc(pid, "cmdline");
  if (!command.empty() && command.back() == '\0') command.pop_back();
  std::replace(command.begin(), command.end(), '\0', ' ');
  return command.substr(0, 200);
}

}  // namespace

ProcessIdentity SelfIdentity() {
  const std::optional<Stat> stat = ReadStat(::getpid());
  return {::getpid(), stat ? stat->start_ticks : 0, BootId()};
}

bool IsAlive(const ProcessIdentity& identity) {
  if (identity.boot_id != BootId()) return false;
  const std::optional<Stat> stat = ReadStat(identity.pid);
  return stat && !IsDead(*stat) && stat->start_ticks == identity.start_ticks;
}

std::vector<MarkedProcess> FindMarked(std::string_view marker) {
  const std::string entry = MarkerEntry(marker);
  std::vector<MarkedProcess> found;
  for (const int64_t pid : AllProcesses()) {
    if (pid == ::getpid()) continue;
    const std::string environment = ReadProc(pid, "environ");
    if (!HasEntry(environment, entry)) continue;
    const std::optional<Stat> stat = ReadStat(pid);
    if (!stat || IsDead(*stat)) continue;
    // Not by SLURM_PROCID: everything in a batch job has one, srun and mpirun too, and srun ends its
    // ranks at once when it gets a SIGTERM.
    const bool is_rank = (HasVariable(environment, "OMPI_COMM_WORLD_RANK") ||
                          HasVariable(environment, "PMIX_RANK")) &&
                         ReadProc(pid, "comm") != std::string(kRankRelayName) + "\n";
    found.push_back({pid, stat->parent, CommandOf(pid), is_rank});
  }
  return found;
}

std::vector<MarkedProcess> ChildrenOfSelf() {
  std::vector<MarkedProcess> children;
  for (const int64_t pid : AllProcesses()) {
    const std::optional<Stat> stat = ReadStat(pid);
    if (!stat || IsDead(*stat) || stat->parent != ::getpid()) continue;
    children.push_back({.pid = pid, .parent = stat->parent, .command = CommandOf(pid)});
  }
  return children;
}

void AdoptOrphans() { ::prctl(PR_SET_CHILD_SUBREAPER, 1); }

int ReapStrays() {
  int reaped = 0;
  while (true) {
    // Looked at first, and left as it is.
    siginfo_t ended{};
    if (::waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT) != 0 || ended.si_pid == 0)
      return reaped;
    const std::optional<Stat> stat = ReadStat(ended.si_pid);
    // RunCommand starts leaders of process groups in this session, and nobody else does. It takes
    // their ends within moments; what stands behind them is for the next time.
    const bool awaited = !stat || (stat->session == ::getsid(0) && stat->group == ended.si_pid);
    if (awaited || ::waitpid(ended.si_pid, nullptr, WNOHANG) != ended.si_pid) return reaped;
    ++reaped;
  }
}

bool SignalMarked(int64_t pid, std::string_view marker, int signal) {
  // With a descriptor the signal goes to the process that is looked at now, or to none.
  const int descriptor = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  if (descriptor < 0) return false;
  const bool marked = HasEntry(ReadProc(pid, "environ"), MarkerEntry(marker));
  const bool sent = marked && ::syscall(SYS_pidfd_send_signal, descriptor, signal, nullptr, 0) == 0;
  ::close(descriptor);
  return sent;
}

std::vector<MarkedProcess> RanksOf(const std::vector<MarkedProcess>& processes) {
  std::set<int64_t> ranks;
  for (const MarkedProcess& process : processes) {
    if (process.is_rank) ranks.insert(process.pid);
  }
  std::vector<MarkedProcess> result;
  for (const MarkedProcess& process : processes) {
    if (process.is_rank && ranks.count(process.parent) == 0) result.push_back(process);
  }
  return result;
}

RankActivity ActivityOf(std::string_view marker) {
  const int64_t ticks_a_second = ::sysconf(_SC_CLK_TCK);
  RankActivity activity;
  for (const MarkedProcess& rank : RanksOf(FindMarked(marker))) {
    const std::optional<Stat> stat = ReadStat(rank.pid);
    if (!stat) continue;
    ++activity.ranks;
    activity.processor_time +=
        std::chrono::microseconds(stat->processor_ticks * 1'000'000 / ticks_a_second);
  }
  return activity;
}

std::string ActivityText(const RankActivity& activity) {
  return "activity " + std::to_string(activity.ranks) + " " +
         std::to_string(activity.processor_time.count()) + "\n";
}

std::optional<RankActivity> ParseActivity(std::string_view output) {
  // A login may print words of its own before.
  const size_t at = output.rfind("activity ");
  if (at == std::string_view::npos) return std::nullopt;
  std::istringstream words{std::string(output.substr(at))};
  std::string word;
  int64_t time = 0;
  RankActivity activity;
  if (!(words >> word >> activity.ranks >> time)) return std::nullopt;
  activity.processor_time = std::chrono::microseconds(time);
  return activity;
}

SweepResult Sweep(std::string_view marker, std::chrono::milliseconds time) {
  SweepResult result;
  std::map<int64_t, MarkedProcess> killed;
  const auto end = std::chrono::steady_clock::now() + time;
  while (true) {
    // A process may fork while it is being killed, so it is looked for until there is none.
    result.survivors = FindMarked(marker);
    for (const MarkedProcess& process : result.survivors) {
      if (SignalMarked(process.pid, marker, SIGKILL)) killed.emplace(process.pid, process);
    }
    if (result.survivors.empty() || std::chrono::steady_clock::now() >= end) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  for (const MarkedProcess& survivor : result.survivors) killed.erase(survivor.pid);
  for (auto& [pid, process] : killed) result.killed.push_back(std::move(process));
  return result;
}

}  // namespace syncbn::coordinator
