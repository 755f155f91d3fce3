#include "coordinator/launch/launcher_text.h"

#include <csignal>
#include <regex>
#include <vector>

#include "coordinator/job/classify.h"

namespace syncbn::coordinator {
namespace {

using Kind = LauncherVerdict::Kind;

// Open MPI wraps its messages at arbitrary places: blanks and line ends count as one blank.
std::string Unwrap(std::string_view text) {
  std::string result;
  for (char c : text) {
    const bool blank = c == '\n' || c == ' ' || c == '\t' || c == '\r';
    if (!blank) {
      result += c;
    } else if (!result.empty() && result.back() != ' ') {
      result += ' ';
    }
  }
  return result;
}

// A pattern and which of its groups hold what; 0: not said.
struct Pattern {
  Kind kind;
  const char* regex;
  int rank = 0, host = 0, signal = 0, exit_code = 0;
};

// In order of what tells most: a lost daemon also makes ranks die, and a rank that died also makes
// mpirun say that the job was aborted. Open MPI 4.1 exits, for comparison, with: a rank's exit N:
// N; a rank's signal S: 128 + S; MPI_Abort(N): N; no MPI_Finalize: 1; program not on PATH 134, at a
// path 132; too few slots 1; no such host 255; a daemon killed 205.
const std::vector<Pattern>& Patterns() {
  static const std::vector<Pattern> patterns = {
      {.kind = Kind::kRefusedRoot, .regex = "mpirun has detected an attempt to run as root"},
      {.kind = Kind::kProgramMissing,
       .regex = "(?:unable to find the specified executable file|could not access or execute an "
                "executable).*?Node: *([^ ]+)",
       .host = 1},
      {.kind = Kind::kProgramMissing,
       .regex = "was unable to launch the specified application as it could not.*?Node: *([^ ]+)",
       .host = 1},
      {.kind = Kind::kProgramMissing,
       .regex = "error: .*execve\\(\\).*: No such file or directory"},
      {.kind = Kind::kTooFewSlots, .regex = "not enough slots available in the system"},
      {.kind = Kind::kHostUnknown, .regex = "Could not resolve hostname ([^ :]+)", .host = 1},
      {.kind = Kind::kHostUnreachable,
       .regex = "ssh: connect to host ([^ ]+) port [0-9]+: [A-Za-z ]+",
       .host = 1},
      {.kind = Kind::kHostUnreachable,
       .regex = "([^ @]+@)?([^ @:]+): Permission denied \\(",
       .host = 2},
      {.kind = Kind::kHostUnreachable, .regex = "Host key verification failed"},
      {.kind = Kind::kDaemonLost,
       .regex = "lost communication with a remote daemon.*?Remote daemon: *[^ ]+ on node ([^ ]+)",
       .host = 1},
      {.kind = Kind::kDaemonLost, .regex = "unable to reliably start one or more daemons"},
      {.kind = Kind::kDaemonLost, .regex = "daemon \\(pid [0-9]+\\) died unexpectedly"},
      {.kind = Kind::kDaemonLost, .regex = "error: Node failure on ([^ ]+)", .host = 1},
      {.kind = Kind::kOutOfMemory, .regex = "oom[-_]kill|Out Of Memory|OUT_OF_MEMORY"},
      {.kind = Kind::kRankSignal,
       .regex = "process rank ([0-9]+) with PID [0-9]+ on node ([^ ]+) exited on signal ([0-9]+)",
       .rank = 1,
       .host = 2,
       .signal = 3},
      {.kind = Kind::kRankAbort,
       .regex =
           "MPI_ABORT was invoked on rank ([0-9]+) in communicator .*? with errorcode (-?[0-9]+)",
       .rank = 1,
       .exit_code = 2},
      {.kind = Kind::kRankExit,
       .regex = "Process name: \\[\\[[0-9]+,[0-9]+\\],([0-9]+)\\] Exit code: ([0-9]+)",
       .rank = 1,
       .exit_code = 2},
      {.kind = Kind::kRankImproper,
       .regex =
           "exited due to process rank ([0-9]+) with PID [0-9]+ on node ([^ ]+) exiting improperly",
       .rank = 1,
       .host = 2},
      // srun ends the other ranks with SIGTERM and tells of each how it went: the first is the cause.
      {.kind = Kind::kRankExit,
       .regex = "srun: error: ([^ :]+): tasks? ([0-9]+)[^:]*: (?:Exited with exit code ([0-9]+)|"
                "(Killed|Segmentation fault|Aborted|Bus error|Floating point exception|"
                "Illegal instruction|Terminated))",
       .rank = 2,
       .host = 1,
       .signal = 4,
       .exit_code = 3},
      {.kind = Kind::kBadOption,
       .regex = "mpirun: Error: (?:unknown|unrecognized) option|srun: unrecognized option"},
  };
  return patterns;
}

int SignalOf(const std::string& text) {
  const std::pair<const char*, int> names[] = {
      {"Killed", SIGKILL},
      {"Segmentation fault", SIGSEGV},
      {"Aborted", SIGABRT},
      {"Bus error", SIGBUS},
      {"Floating point exception", SIGFPE},
      {"Illegal instruction", SIGILL},
      {"Terminated", SIGTERM},
  };
  for (const auto& [name, signal] : names) {
    if (text == name) return signal;
  }
  return std::stoi(text);
}

}  // namespace

std::optional<LauncherVerdict> ReadLauncherText(std::string_view text) {
  const std::string unwrapped = Unwrap(text);
  for (const Pattern& pattern : Patterns()) {
    std::smatch match;
    if (!std::regex_search(unwrapped, match, std::regex(pattern.regex))) continue;
    LauncherVerdict verdict{.kind = pattern.kind, .line = match.str(0).substr(0, 300)};
    if (pattern.rank > 0) verdict.rank = std::stoi(match.str(static_cast<size_t>(pattern.rank)));
    if (pattern.host > 0) verdict.host = match.str(static_cast<size_t>(pattern.host));
    if (pattern.signal > 0 && match[static_cast<size_t>(pattern.signal)].matched) {
      verdict.kind = Kind::kRankSignal;
      verdict.signal = SignalOf(match.str(static_cast<size_t>(pattern.signal)));
    }
    if (pattern.exit_code > 0 && match[static_cast<size_t>(pattern.exit_code)].matched) {
      verdict.exit_code = std::stoi(match.str(static_cast<size_t>(pattern.exit_code)));
    }
    while (verdict.line.ends_with(' ')) verdict.line.pop_back();
    return verdict;
  }
  return std::nullopt;
}

bool StartedNothing(const LauncherVerdict& verdict) {
  return verdict.kind == Kind::kRefusedRoot || verdict.kind == Kind::kBadOption;
}

bool IsEcho(std::string_view box, const std::function<bool(int rank)>& spoke) {
  // It comes before the box that names the rank.
  static const std::regex first(
      "Primary job terminated normally, but [0-9]+ process(es)? returned a non-zero exit code");
  if (std::regex_search(Unwrap(box), first)) return true;
  const auto verdict = ReadLauncherText(box);
  if (!verdict || !verdict->rank) return false;
  if (verdict->kind != Kind::kRankExit && verdict->kind != Kind::kRankAbort) return false;
  return verdict->exit_code == kExitStopped || spoke(*verdict->rank);
}

FailureClass ClassOf(const LauncherVerdict& verdict) {
  switch (verdict.kind) {
    case Kind::kRankSignal:
      // Crashes are the program's own; SIGKILL, SIGTERM and the like come from outside.
      switch (verdict.signal) {
        case SIGSEGV:
        case SIGABRT:
        case SIGFPE:
        case SIGILL:
        case SIGBUS:
        case SIGTRAP:
        case SIGSYS:
          return FailureClass::kUser;
        default:
          return FailureClass::kInfra;
      }
    case Kind::kRankExit:
    case Kind::kRankAbort:
    case Kind::kRankImproper:
      return FailureClass::kUser;
    case Kind::kProgramMissing:
    case Kind::kTooFewSlots:
    case Kind::kBadOption:
    case Kind::kRefusedRoot:
      return FailureClass::kConfig;
    case Kind::kHostUnknown:
    case Kind::kHostUnreachable:
    case Kind::kDaemonLost:
      return FailureClass::kInfra;
    case Kind::kOutOfMemory:
      return FailureClass::kOom;
  }
  return FailureClass::kUser;
}

std::string MessageOf(const LauncherVerdict& verdict) {
  const std::string rank = verdict.rank ? "rank " + std::to_string(*verdict.rank) : "a rank";
  const std::string on_host = verdict.host.empty() ? "" : " on " + verdict.host;
  const std::string host = verdict.host.empty() ? "a host" : "host " + verdict.host;
  switch (verdict.kind) {
    case Kind::kRankSignal:
      return rank + on_host + " was ended by " + SignalName(verdict.signal);
    case Kind::kRankExit:
      return rank + on_host + " left with exit code " + std::to_string(*verdict.exit_code);
    case Kind::kRankAbort:
      return rank + " called MPI_Abort with code " + std::to_string(*verdict.exit_code);
    case Kind::kRankImproper:
      return rank + on_host + " left without MPI_Finalize";
    case Kind::kProgramMissing:
      return "the program is not there, or cannot be executed" + on_host +
             ": install the same syncbn on every host";
    case Kind::kTooFewSlots:
      return "mpirun refused the number of processes: " + verdict.line;
    case Kind::kBadOption:
      return "the launcher did not understand its options: " + verdict.line;
    case Kind::kHostUnknown:
      return host + " has no address: check its name in the hosts file";
    case Kind::kHostUnreachable:
      return host + " cannot be reached: " + verdict.line;
    case Kind::kDaemonLost:
      return "the daemon of mpirun on " + host + " could not be started or was lost";
    case Kind::kOutOfMemory:
      return "memory ran out" + on_host + ": " + verdict.line;
    case Kind::kRefusedRoot:
      return "mpirun does not run as root: run the coordinator as another user, or set "
             "OMPI_ALLOW_RUN_AS_ROOT=1 and OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 for it";
  }
  return verdict.line;
}

std::string SignalName(int signal) {
  switch (signal) {
    case SIGHUP:
      return "SIGHUP";
    case SIGINT:
      return "SIGINT";
    case SIGQUIT:
      return "SIGQUIT";
    case SIGILL:
      return "SIGILL";
    case SIGTRAP:
      return "SIGTRAP";
    case SIGABRT:
      return "SIGABRT";
    case SIGBUS:
      return "SIGBUS";
    case SIGFPE:
      return "SIGFPE";
    case SIGKILL:
      return "SIGKILL";
    case SIGUSR1:
      return "SIGUSR1";
    case SIGSEGV:
      return "SIGSEGV";
    case SIGUSR2:
      return "SIGUSR2";
    case SIGPIPE:
      return "SIGPIPE";
    case SIGALRM:
      return "SIGALRM";
    case SIGTERM:
      return "SIGTERM";
    case SIGXCPU:
      return "SIGXCPU";
    case SIGXFSZ:
      return "SIGXFSZ";
    default:
      return "signal " + std::to_string(signal);
  }
}

}  // namespace syncbn::coordinator
