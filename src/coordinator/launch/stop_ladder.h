// The ladder by which an attempt is ended: each rung harsher than the one before, each with its
// deadline, so that it always ends. Pure: the time is passed in.
//
//   ask          nothing is sent: the workers hear of it in their heartbeats, agree on a step,
//   write a
//                checkpoint and leave
//   checkpoint   SIGUSR1 to the launcher, which passes it on: a checkpoint at the next step
//   terminate    SIGTERM to the ranks themselves: a checkpoint, then leave. Not through mpirun,
//   which
//                kills about a second after it passes a SIGTERM on
//   launcher     SIGTERM to the launcher: it ends what is left, on other hosts too
//   kill         SIGKILL to the launcher, then to everything that carries the attempt's marker
#pragma once

#include <optional>
#include <string_view>

#include "base/clock.h"
#include "coordinator/job/job_state.h"

namespace syncbn::coordinator {

class StopLadder {
 public:
  enum class Rung { kNone, kAsk, kCheckpoint, kTerminate, kLauncher, kKill };

  struct Times {
    std::chrono::microseconds ask = std::chrono::seconds(60);
    std::chrono::microseconds checkpoint = std::chrono::seconds(20);
    std::chrono::microseconds terminate = std::chrono::seconds(30);
    std::chrono::microseconds launcher = std::chrono::seconds(10);
  };

  explicit StopLadder(Times times) : times_(times) {}

  // Begins, or jumps to where a more severe level begins. A milder one changes nothing.
  void Order(StopLevel level, MonotonicTime now);

  // The rung that is due now and was not yet taken. Call until there is none.
  std::optional<Rung> Advance(MonotonicTime now);

  // The last rung that was taken.
  Rung rung() const { return rung_; }

 private:
  std::chrono::microseconds TimeOn(Rung rung) const;

  Times times_;
  Rung rung_ = Rung::kNone;
  Rung next_ = Rung::kNone;  // kNone: nothing was ordered, or the last was taken
  MonotonicTime due_;
};

// "ask", "checkpoint" and so on; "" for kNone.
std::string_view RungName(StopLadder::Rung rung);

}  // namespace syncbn::coordinator
