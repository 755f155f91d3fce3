// How the program ends: what a script, mpirun or the coordinator can tell from the exit code.
#pragma once

#include "base/error.h"

namespace syncbn::app {

enum ExitCode {
  kSuccess = 0,
  kFailure = 1,        // anything not listed
  kWrongInput = 2,     // command line, run file or data: the same call fails again
  kResources = 4,      // memory
  kStall = 5,          // a wait ended without progress
  kPeerFailed = 6,     // another process or replica failed
  kDamagedData = 7,    // a file is damaged
  kNotIdentical = 8,   // verify or replay found a difference
  kUnreachable = 9,    // no coordinator answers
  kJobFailed = 10,     // the job that was followed ended as FAILED
  kJobCancelled = 11,  // the job that was followed ended as CANCELLED
  kDiverged = 12,      // the run diverged: it went on, or ended, in what is not finite
  kStorage = 13,       // a disk is full, or what was to be left on it could not be written
  kStopped = 75,  // stopped on request before its end, checkpoint written: run again with --resume
  kGivenUp = 76,  // a later attempt has taken over, or the job was killed: no checkpoint written
  kInterrupted = 130,  // left by Ctrl-C while following; the job goes on
};

int ExitCodeOf(const Error& error);

}  // namespace syncbn::app
