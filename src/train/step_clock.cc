#include "train/step_clock.h"

namespace syncbn::train {

void StepClock::Restart() {
  std::lock_guard lock(mutex_);
  shares_ = {};
  current_ = Share::kCompute;
  since_ = clock_.Monotonic();
}

TimeShares StepClock::Read() {
  std::lock_guard lock(mutex_);
  CountUntilNow();
  return shares_;
}

void StepClock::Begin(Share share) {
  std::lock_guard lock(mutex_);
  if (++waiting_ == replicas_) {
    CountUntilNow();
    current_ = share;
  }
}

void StepClock::End() {
  std::lock_guard lock(mutex_);
  if (waiting_-- == replicas_) {
    CountUntilNow();
    current_ = Share::kCompute;
  }
}

void StepClock::CountUntilNow() {
  const MonotonicTime now = clock_.Monotonic();
  shares_.spent[static_cast<size_t>(current_)] += now - since_;
  since_ = now;
}

}  // namespace syncbn::train
