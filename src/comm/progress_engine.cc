#include "comm/progress_engine.h"

#include <algorithm>

namespace syncbn::comm {
namespace {

using Clock = std::chrono::steady_clock;

// The first sleepers look whether there is a driver this often, in case the thread that should have woken
// one does not.
constexpr std::chrono::milliseconds kLookAround{20};
constexpr size_t kLookers = 2;
// Up to so many sleepers check in every period.
constexpr size_t kCheckers = 128;

}  // namespace

void ProgressEngine::Wait(const std::atomic<bool>& done, const std::atomic<bool>& failed,
                          std::chrono::nanoseconds period, const std::function<void()>& check) {
  const auto ready = [&] {
    return done.load(std::memory_order_acquire) || failed.load(std::memory_order_acquire);
  };
  std::unique_lock lock(mutex_);
  const auto after_period = [&] {
    return Clock::now() + period * static_cast<int64_t>(1 + waiters_.size() / kCheckers);
  };
  Clock::time_point next_check = after_period();
  while (!ready()) {
    if (others_ && !has_driver_ && work_.NeedsProgress()) {
      has_driver_ = true;
      lock.unlock();
      DriveUntil(done, failed, period, check);
      lock.lock();
      has_driver_ = false;
      continue;
    }
    const bool looks_around = others_ && waiters_.size() < kLookers;
    const auto self = waiters_.emplace(waiters_.end(), done);
    sleepers_.store(static_cast<int>(waiters_.size()), std::memory_order_relaxed);
    self->wake.wait_until(
        lock, looks_around ? std::min(next_check, Clock::now() + kLookAround) : next_check);
    waiters_.erase(self);
    sleepers_.store(static_cast<int>(waiters_.size()), std::memory_order_relaxed);
    if (Clock::now() >= next_check && !ready()) {
      lock.unlock();
      check();
      lock.lock();
      next_check = after_period();
    }
  }
  AppointDriver();
}

void ProgressEngine::AppointDriver() {
  if (!others_ || has_driver_ || !work_.NeedsProgress()) return;
  for (Waiter& waiter : waiters_) {
    // Who has what it wants is about to leave and would not drive.
    if (!waiter.done.load(std::memory_order_acquire)) return waiter.wake.notify_one();
  }
}

void ProgressEngine::DriveUntil(const std::atomic<bool>& done, const std::atomic<bool>& failed,
                                std::chrono::nanoseconds period,
                                const std::function<void()>& check) {
  Clock::time_point next_check = Clock::now() + period;
  int polls = 0;
  unsigned rounds = 0;
  while (!done.load(std::memory_order_acquire) && !failed.load(std::memory_order_acquire)) {
    if (!work_.NeedsProgress()) return;
    if (work_.MakeProgress()) {
      polls = 0;
    } else {
      work_.Idle(++polls);
    }
    if (++rounds % 64 == 0 && Clock::now() >= next_check) {
      check();
      next_check = Clock::now() + period;
    }
  }
}

void ProgressEngine::WakeWaitersFor(const std::atomic<bool>& done) {
  std::lock_guard lock(mutex_);
  for (Waiter& waiter : waiters_) {
    if (&waiter.done == &done) waiter.wake.notify_one();
  }
}

void ProgressEngine::WakeAll() {
  std::lock_guard lock(mutex_);
  for (Waiter& waiter : waiters_) waiter.wake.notify_one();
}

void ProgressEngine::WakeDriver() {
  if (!others_ || sleepers_.load(std::memory_order_relaxed) == 0) return;
  std::lock_guard lock(mutex_);
  AppointDriver();
}

}  // namespace syncbn::comm
