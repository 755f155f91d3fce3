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
#include "comm/reducer.h"

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

// A reducer whose waits are counted as statistics: what the layers of a replica get. In all else it is the one
// it wraps.
class TimedReducer : public comm::Reducer {
 public:
  TimedReducer(comm::Reducer& reducer, StepClock& clock) : reducer_(reducer), clock_(clock) {}

  int replicas() const override { return reducer_.replicas(); }
  Handle Start(int replica, const comm::Reduction& reduction) override {
    return reducer_.Start(replica, reduction);
  }
  backend::Event Wait(const Handle& handle) override {
    StepClock::Wait wait(clock_, Share::kStatistics);
    return reducer_.Wait(handle);
  }
  void Progress() override { reducer_.Progress(); }
  void Poison(int replica, std::string_view cause) override { reducer_.Poison(replica, cause); }
  void Report(int replica, int64_t step, std::string_view phase, std::string_view layer) override {
    reducer_.Report(replica, step, phase, layer);
  }
  comm::ProgressBoard& board() override { return reducer_.board(); }
  bool CheckWaits() override { return reducer_.CheckWaits(); }
  bool failed() const override { return reducer_.failed(); }
  void Confirm() override { reducer_.Confirm(); }
  void ThrowFailure() const override { reducer_.ThrowFailure(); }
  comm::ReducerCounters counters() const override { return reducer_.counters(); }

 private:
  comm::Reducer& reducer_;
  StepClock& clock_;
};

}  // namespace syncbn::train
