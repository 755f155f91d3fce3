// What mpirun's and srun's own words say about why a job ended. Pure text.
//
// Exit codes alone do not tell: 134 may be a program that is missing, 1 anything (SERVICE table of
// Open MPI 4.1 in launcher_text.cc); so the text is read first.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "coordinator/job/failure.h"

namespace syncbn::coordinator {

// What the launcher said of the first thing that went wrong.
struct LauncherVerdict {
  enum class Kind {
    kRankSignal,       // a rank was ended by `signal`
    kRankExit,         // a rank left with `exit_code`
    kRankAbort,        // a rank called MPI_Abort(`exit_code`)
    kRankImproper,     // a rank left without MPI_Finalize
    kProgramMissing,   // the program is not there, or not executable, on `host`
    kTooFewSlots,      // mpirun refused the number of processes
    kBadOption,        // mpirun or srun did not understand its arguments
    kHostUnknown,      // `host` has no address
    kHostUnreachable,  // the launch agent could not get to `host`
    kDaemonLost,       // the daemon on `host` is gone
    kOutOfMemory,      // the batch system or a process says so
    kRefusedRoot,      // mpirun does not run as root unless told to
  };
  Kind kind;
  std::optional<int> rank;
  std::string host;
  int signal = 0;
  std::optional<int> exit_code;
  std::string line;  // the words it was read from
};

// `text` is what the launcher itself printed. Nothing where it says nothing that is known.
std::optional<LauncherVerdict> ReadLauncherText(std::string_view text);

// The launcher refused before it had started anything on any host.
bool StartedNothing(const LauncherVerdict& verdict);

// A box of mpirun's ("-----" lines and what stands between them) that only repeats that a rank has
// left with an error of its own, or as it was asked to. `spoke(rank)`: the rank has said something
// on its standard error.
bool IsEcho(std::string_view box, const std::function<bool(int rank)>& spoke);

// The class and the message of what the launcher said.
FailureClass ClassOf(const LauncherVerdict& verdict);
std::string MessageOf(const LauncherVerdict& verdict);

// "SIGKILL" and so on; "signal 42" for the rest.
std::string SignalName(int signal);

}  // namespace syncbn::coordinator
