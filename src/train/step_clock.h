// Where the wall time of a process goes: every moment is counted once, as computing while at least one
// of its replicas computes, else under what the last of them began to wait for.
//
// So with several replicas on a core, a replica that waits while another computes costs nothing, and
// the shares add up to the wall time. Thread-safe.
#pragma once

#include <array>
#include <chrono>
#include <mutex>

#include "base/clock.h"

namespace syncbn::train {

enum class Share { kCompute, kStatistics, kGradients, kData };
constexpr int kShares = 4;

struct TimeShares {
  std::array<std::chrono::nanoseconds, kShares> spent{};
  std::chrono::nanoseconds operator[](Share share) const {
    return spent[static_cast<size_t>(share)];
  }
  TimeShares& operator+=(const TimeShares& more) {
    for (size_t i = 0; i < spent.size(); ++i) spent[i] += more.spent[i];
    return *this;
  }
  TimeShares& operator-=(const TimeShares& less) {
    for (size_t i = 0; i < spent.size(); ++i) spent[i] -= less.spent[i];
    return *this;
  }
  double Milliseconds(Share share) const {
    return std::chrono::duration<double, std::milli>((*this)[share]).count();
  }
};

class StepClock {
 public:
  explicit StepClock(int replicas, const Clock& clock = Clock::System())
      : replicas_(replicas), clock_(clock), since_(clock.Monotonic()) {}

  // Everybody computes from here on; what was counted is forgotten.
  void Restart();
  // What was counted since Restart.
  TimeShares Read();

  // While it lives, one replica waits.
  class Wait {
   public:
    Wait(StepClock& clock, Share share) : clock_(clock) { clock_.Begin(share); }
    ~Wait() { clock_.End(); }
    Wait(const Wait&) = delete;
    Wait& operator=(const Wait&) = delete;

   private:
    StepClock& clock_;
  };

 private:
  void Begin(Share share);
  void End();
  // Under mutex_.
  void CountUntilNow();

  const int replicas_;
  const Clock& clock_;
  std::mutex mutex_;
  int waiting_ = 0;
  Share current_ = Share::kCompute;
  MonotonicTime since_;
  TimeShares shares_;
};

}  // namespace syncbn::train
