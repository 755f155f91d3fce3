// Judges waits by progress: a wait is hopeless when one it needs shows no sign of life although it could,
// when everybody waits for something that nobody will give, or when a process it needs has finished or
// fallen silent. A slow peer that still advances is never an error.
//
// What one could do follows from its activity (base/activity.h). Who computes is stalled after the stall
// timeout. Who waits for replicas, for its turn among them included, is forgiven as long as anybody moves: then
// those who keep all the others are named. Who waits for what is outside of the run, such as a disk, has
// kOutsidePatience times the stall timeout.
//
// Time is counted in observations: an interval longer than two of them counts as two, so that a process
// that was itself stopped (SIGSTOP, a suspended machine) does not blame the others on waking up.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "comm/progress_board.h"
#include "comm/replica_map.h"
#include "comm/stall.h"

namespace syncbn::comm {

// A wait to be judged.
struct WaitedFor {
  // "'layer1.bn1 forward' (33 doubles, moments), reduction 4 of replicas 0..3"
  std::string what;
  // "layer1.bn1 forward"
  std::string name;
  // Replicas whose part is not there.
  std::vector<int> missing;
  // Since when, in the watchdog's time.
  std::chrono::nanoseconds since{0};
  // All have given their part, and it is devices that wait for each other.
  bool on_devices = false;
};

// Thread-safe.
class Watchdog {
 public:
  Watchdog(const ReplicaMap& map, int rank, std::string host, std::chrono::nanoseconds stall_timeout,
           const Clock& clock);

  ProgressBoard& board() { return board_; }
  const ProgressBoard& board() const { return board_; }
  const std::string& host() const { return host_; }
  // How often Observe should be called while somebody waits.
  std::chrono::nanoseconds period() const { return period_; }

  // A message of this process has arrived.
  void Heard(int rank) { peers_[static_cast<size_t>(rank)].messages.fetch_add(1); }
  void SetHost(int rank, std::string host);
  // The process has ended in good order: it will send nothing more.
  void SetFinished(int rank) { peers_[static_cast<size_t>(rank)].finished.store(true); }
  bool finished(int rank) const { return peers_[static_cast<size_t>(rank)].finished.load(); }

  // Looks at the clock and at who has moved since the last time; returns the watchdog's time.
  std::chrono::nanoseconds Observe();
  std::chrono::nanoseconds Now() const;
  // How long nothing has been heard of a process.
  std::chrono::nanoseconds Silence(int rank) const;
  // What is known of these replicas, in one line: "rank 1 on host b: step 17, backward,
  // layer1.bn1".
  std::string Account(const std::vector<int>& replicas) const;
  // Why this wait will not end, naming who is to blame; nothing while there is hope.
  std::optional<Stall> Judge(const WaitedFor& wait) const;

 private:
  struct Peer {
    std::atomic<uint64_t> messages{0};
    std::atomic<bool> finished{false};
    // Under mutex_.
    std::string host;
    uint64_t seen = 0;
    std::chrono::nanoseconds heard{0};
  };
  struct Seen {
    uint64_t changes = 0;
    std::chrono::nanoseconds moved{0};

    void Look(uint64_t now_changes, std::chrono::nanoseconds now) {
      if (changes != now_changes) *this = {now_changes, now};
    }
  };
  enum class Standing {
    kHopeful,   // moves, or may still
    kWaiting,   // stands still because of other replicas
    kStalled,   // stands still, and nobody else can help
    kSilent,    // its process is not heard of
    kFinished,  // its process has left
  };

  // All under mutex_.
  std::string DescribeRank(int rank) const;
  // A line for each, or one for all of a process where the process tells more.
  std::string Describe(const std::vector<int>& replicas) const;
  Standing Judge(int replica) const;
  // How long a replica of this status, or what drives it, has stood still; and its whole process.
  std::chrono::nanoseconds StillFor(int replica, const ReplicaStatus& status,
                                    const ProcessStatus& process) const;
  std::chrono::nanoseconds ProcessStillFor(int rank) const;
  // No time for one that has moved since the last look.
  std::chrono::nanoseconds StillSince(const Seen& seen, uint64_t changes) const;
  // Of `replicas` those of this standing.
  std::vector<int> Those(const std::vector<int>& replicas, Standing standing) const;
  Stall MakeStall(const WaitedFor& wait, std::string text, const std::vector<int>& culprits) const;

  const ReplicaMap map_;
  const int rank_;
  const std::string host_;
  const std::chrono::nanoseconds stall_timeout_;
  const std::chrono::nanoseconds period_;
  const Clock& clock_;
  ProgressBoard board_;
  const std::unique_ptr<Peer[]> peers_;

  mutable std::mutex mutex_;
  MonotonicTime last_;
  std::chrono::nanoseconds now_{0};
  std::vector<Seen> seen_, seen_processes_;
};

}  // namespace syncbn::comm
