// What a supervisor does between its start and its end: starts the launcher, passes its output into
// the log, follows orders to stop, clears up, and writes exit.json. One per process, one thread.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/launch/attempt_folder.h"
#include "coordinator/launch/cgroup_memory.h"
#include "coordinator/launch/kernel_log.h"
#include "coordinator/launch/output_log.h"
#include "coordinator/launch/stop_ladder.h"

namespace syncbn::coordinator {

class SupervisedAttempt {
 public:
  // Reads the attempt. The caller holds the folder's lock.
  explicit SupervisedAttempt(AttemptFolder folder);
  ~SupervisedAttempt();

  // Writes supervisor.json.
  void WriteIdentity();

  // Until nothing of the attempt is left. Does not throw: what goes wrong is in exit.json, or,
  // where even that cannot be written, in supervisor.log.
  void Run();

 private:
  // Waits for the names of other hosts, where it is to. False when it is told to end meanwhile, or
  // was before; that is in exit_ then.
  bool MayBegin();
  bool IsToldToEnd();
  // Starts the launcher; false when it cannot be, with the reason in exit_.
  bool StartLauncher();
  void WatchLauncher();
  // Now and then: who is there. A launcher that has lost all its ranks and does not end is killed.
  void LookAtRanks();
  void ReadOrders();
  void ReadSignals();
  void TakeRung(StopLadder::Rung rung);
  void Reap();
  // Passes on what the launcher's outputs hold now.
  void Pump();
  void ClearUp();
  // Kills what has lost its marker and its parents and is now a child of this process.
  void KillAdopted();
  void SweepRemoteHosts();
  // From the hosts that answer; the others are named in the exit record.
  void FetchRemoteSpools();
  // What the kernel says of the end of the ranks here.
  void ReadKernelsWord();
  void WriteExit();
  // A line with the time in supervisor.log.
  void Note(const std::string& text);
  // The same, and in the job's log, for its owner.
  void Warn(const std::string& text);

  AttemptFolder folder_;
  v1::AttemptSpec spec_;
  v1::ExitRecord exit_;
  StopLadder ladder_;
  std::optional<OutputLog> log_;
  ScratchFolders scratch_;
  const MonotonicTime start_ = Clock::System().Monotonic();
  KernelLog kernel_log_;
  CgroupMemory cgroup_;
  std::map<int64_t, MarkedProcess> ranks_;  // of this host, by number, all that were seen
  int note_file_ = -1;
  int signals_ = -1;
  int outputs_[2] = {-1, -1};
  pid_t launcher_ = -1;
  bool launcher_ended_ = false;
  bool host_shutdown_ = false;
  int ordered_level_ = 0;
  std::string damaged_order_;  // what was last said of a stop.json that cannot be read
  std::optional<MonotonicTime> alone_since_;
  MonotonicTime next_look_{};
};

}  // namespace syncbn::coordinator
