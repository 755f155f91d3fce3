// How the program ends: what a script, mpirun or the coordinator can tell from the exit code.
#pragma once

#include "base/error.h"

namespace syncbn::app {

enum ExitCode {
  kSuccess = 0,
  kFailure = 1,        // anything not listed
  kWrongInput = 2,     // command line, run file or data: the same call fails again
  kResources = 4,      // memory, disk
  kStall = 5,          // a wait ended without progress
  kPeerFailed = 6,     // another process or replica failed
  kDamagedData = 7,    // a file is damaged
  kNotIdentical = 8,   // verify or replay found a difference
  kStopped = 75,       // stopped on request before its end, checkpoint written: run again with --resume
  kGivenUp = 76,       // a later attempt has taken over, or the job was killed: no checkpoint written
};

int ExitCodeOf(ErrorCode code);

}  // namespace syncbn::app
