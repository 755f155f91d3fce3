#include "train/step_clock.h"

namespace syncbn::train {

void StepClock::Restart() {
  std::lock_guard lock(mutex_);
  shares_ = {};
  current_ = Activity::kCompute;
  since_ = std::chrono::steady_clock::now();
}

TimeShares StepClock::Read() {
  std::lock_guard lock(mutex_);
  CountUntil(std::chrono::steady_clock::now());
  return shares_;
}

void StepClock::Begin(Activity activity) {
  std::lock_guard lock(mutex_);
  if (++waiting_ == replicas_) {
    CountUntil(std::chrono::steady_clock::now());
    current_ = activity;
  }
}

void StepClock::End() {
  std::lock_guard lock(mutex_);
  if (waiting_-- == replicas_) {
    CountUntil(std::chrono::steady_clock::now());
    current_ = Activity::kCompute;
  }
}

void StepClock::CountUntil(Time now) {
  shares_.spent[static_cast<size_t>(current_)] += now - since_;
  since_ = now;
}

}  // namespace syncbn::train
