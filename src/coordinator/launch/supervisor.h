// The supervisor of an attempt: a small process of its own between the coordinator and the launcher
// (mpirun, srun), so that the coordinator can be stopped, upgraded or killed while jobs run.
//
// It has a session of its own, adopts what the launcher leaves behind, keeps the output in files,
// climbs the ladder of stop_ladder.h when told to, sweeps the host for processes that carry the
// attempt's marker, and writes what became of the attempt. It knows no gRPC, no store and no
// tensors, and runs on one thread.
//
//   kill -TERM the supervisor      the host is going down: ends the attempt from SIGTERM on
//   kill -KILL the supervisor      the launcher gets SIGTERM from the kernel; the coordinator
//   sweeps
#pragma once

#include <filesystem>
#include <string>

namespace syncbn::coordinator {

struct SupervisorOptions {
  std::filesystem::path folder;  // with attempt.json in it
  // Return as soon as the supervisor has written who it is, and let it go on in a session of its
  // own. Otherwise it runs in this process until the attempt is over.
  bool detach = true;
};

// Returns the exit code of the program: 0 when the supervisor is up (detached) or the attempt is
// over and its exit.json written (not detached). Throws, or says on standard error and returns 1,
// when it cannot supervise: no attempt there, another supervisor has it, or it is over already.
int RunSupervisor(const SupervisorOptions& options);

struct SweepOptions {
  std::string marker;
  // Only asks the ranks to leave (SIGTERM) and does not wait.
  bool terminate = false;
  // Only prints what they have had of the processors (ActivityText).
  bool look = false;
  double seconds = 5;
  // Instead of all that (spool_transfer.h): send the files of this spool folder, or remove them. A
  // folder with the file `home` in it is the coordinator's own, and left alone.
  std::filesystem::path send_spool, drop_spool;
  std::string home;
};

// What a supervisor runs on other hosts through the launch agent: kills what carries the marker and
// prints one line for each process. Returns 0 when none is left, 3 when some are; 1 when a spool could
// not be sent.
int RunSweep(const SweepOptions& options);

}  // namespace syncbn::coordinator
