// Where the wall time of a process goes: every moment is counted once, as computing while at least one
// of its replicas computes, else under what the last of them began to wait for.
//
// So with several replicas on a core, a replica that waits while another computes costs nothing, and
// the shares add up to the wall time. Thread-safe.
#pragma once

#include <array>
#include <chrono>
#include <mutex>

#include "comm/reducer.h"

namespace syncbn::train {

enum class Activity { kCompute, kStatistics, kGradients, kData };
constexpr int kActivities = 4;

struct TimeShares {
  std::array<std::chrono::nanoseconds, kActivities> spent{};
  std::chrono::nanoseconds operator[](Activity activity) const {
    return spent[static_cast<size_t>(activity)];
  }
  double Milliseconds(Activity activity) const {
    return std::chrono::duration<double, std::milli>((*this)[activity]).count();
  }
};

class StepClock {
 public:
  explicit StepClock(int replicas) : replicas_(replicas) {}

  // Everybody computes from here on; what was counted is forgotten.
  void Restart();
  // What was counted since Restart.
  TimeShares Read();

  // While it lives, one replica waits.
  class Wait {
   public:
    Wait(StepClock& clock, Activity activity) : clock_(clock) { clock_.Begin(activity); }
    ~Wait() { clock_.End(); }
    Wait(const Wait&) = delete;
    Wait& operator=(const Wait&) = delete;

   private:
    StepClock& clock_;
  };

 private:
  using Time = std::chrono::steady_clock::time_point;
  void Begin(Activity activity);
  void End();
  void CountUntil(Time now);

  const int replicas_;
  std::mutex mutex_;
  int waiting_ = 0;
  Activity current_ = Activity::kCompute;
  Time since_{};
  TimeShares shares_;
};

// A reducer whose waits are counted as statistics: what the layers of a replica get.
class TimedReducer : public comm::Reducer {
 public:
  TimedReducer(comm::Reducer& reducer, StepClock& clock) : reducer_(reducer), clock_(clock) {}

  int replicas() const override { return reducer_.replicas(); }
  Handle Start(int replica, const comm::Reduction& reduction) override {
    return reducer_.Start(replica, reduction);
  }
  void Wait(const Handle& handle) override {
    StepClock::Wait wait(clock_, Activity::kStatistics);
    reducer_.Wait(handle);
  }
  void Progress() override { reducer_.Progress(); }
  void Poison(int replica, std::string_view cause) override { reducer_.Poison(replica, cause); }
  void Report(int replica, int64_t step, std::string_view phase, std::string_view layer) override {
    reducer_.Report(replica, step, phase, layer);
  }

 private:
  comm::Reducer& reducer_;
  StepClock& clock_;
};

}  // namespace syncbn::train
