// A process's reducer as its replicas see it: how long they wait is counted and, for a profile,
// recorded. In all else it is the one it wraps.
#pragma once

#include <optional>

#include "comm/reducer.h"
#include "train/profile/recorder.h"
#include "train/step_clock.h"

namespace syncbn::train {

class WatchedReducer : public comm::Reducer {
 public:
  enum class Of {
    kLayers,  // waits count as statistics
    kStep,    // who waits counts that itself
  };
  // Null: nobody records.
  WatchedReducer(comm::Reducer& reducer, Of of, StepClock& clock, Recorder* recorder)
      : reducer_(reducer), of_(of), clock_(clock), recorder_(recorder) {}

  int replicas() const override { return reducer_.replicas(); }
  Handle Start(int replica, const comm::Reduction& reduction) override {
    Handle handle = reducer_.Start(replica, reduction);
    if (recorder_ != nullptr) {
      recorder_->Started(replica, handle, reduction, of_ == Of::kLayers);
    }
    return handle;
  }
  backend::Event Wait(const Handle& handle) override {
    const Recorder::Wait recorded(recorder_, handle.replica, handle);
    std::optional<StepClock::Wait> counted;
    if (of_ == Of::kLayers) counted.emplace(clock_, Share::kStatistics);
    return reducer_.Wait(handle);
  }
  void Progress() override { reducer_.Progress(); }
  void Poison(int replica, std::string_view cause) override { reducer_.Poison(replica, cause); }
  void Report(int replica, int64_t step, std::string_view phase, std::string_view layer) override {
    if (recorder_ != nullptr) recorder_->Enter(replica, phase, layer);
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
  const Of of_;
  StepClock& clock_;
  Recorder* const recorder_;
};

}  // namespace syncbn::train
