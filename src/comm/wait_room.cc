#include "comm/wait_room.h"

#include <algorithm>

namespace syncbn::comm {
namespace {

using Clock = std::chrono::steady_clock;

// A sleeper looks after the wheel this often, in case the thread that should have offered it does not.
constexpr std::chrono::milliseconds kLookAround{20};

}  // namespace

void WaitRoom::Wait(const std::atomic<bool>& done, const std::atomic<bool>& failed,
                    std::chrono::nanoseconds period, const std::function<void()>& check) {
  const auto ready = [&] {
    return done.load(std::memory_order_acquire) || failed.load(std::memory_order_acquire);
  };
  Clock::time_point next_check = Clock::now() + period;
  std::unique_lock lock(mutex_);
  while (!ready()) {
    if (others_ && !driven_ && drivable_.NeedsDriving()) {
      driven_ = true;
      lock.unlock();
      DriveUntil(done, failed, period, check);
      lock.lock();
      driven_ = false;
      continue;
    }
    Waiter waiter{.done = &done, .wake = {}};
    waiters_.push_back(&waiter);
    sleepers_.store(static_cast<int>(waiters_.size()), std::memory_order_relaxed);
    const Clock::time_point look_around = Clock::now() + kLookAround;
    waiter.wake.wait_until(lock, others_ ? std::min(next_check, look_around) : next_check);
    waiters_.erase(std::find(waiters_.begin(), waiters_.end(), &waiter));
    sleepers_.store(static_cast<int>(waiters_.size()), std::memory_order_relaxed);
    if (Clock::now() >= next_check && !ready()) {
      lock.unlock();
      check();
      lock.lock();
      next_check = Clock::now() + period;
    }
  }
  PassWheel();
}

void WaitRoom::PassWheel() {
  if (!others_ || driven_ || !drivable_.NeedsDriving()) return;
  for (Waiter* waiter : waiters_) {
    // Who has what it wants is about to leave and would not drive.
    if (!waiter->done->load(std::memory_order_acquire)) return waiter->wake.notify_one();
  }
}

void WaitRoom::DriveUntil(const std::atomic<bool>& done, const std::atomic<bool>& failed,
                          std::chrono::nanoseconds period, const std::function<void()>& check) {
  Clock::time_point next_check = Clock::now() + period;
  int polls = 0;
  unsigned rounds = 0;
  while (!done.load(std::memory_order_acquire) && !failed.load(std::memory_order_acquire)) {
    if (!drivable_.NeedsDriving()) return;
    if (drivable_.Drive()) {
      polls = 0;
    } else {
      drivable_.Idle(++polls);
    }
    if (++rounds % 64 == 0 && Clock::now() >= next_check) {
      check();
      next_check = Clock::now() + period;
    }
  }
}

void WaitRoom::WakeWaitersFor(const std::atomic<bool>& done) {
  std::lock_guard lock(mutex_);
  for (Waiter* waiter : waiters_) {
    if (waiter->done == &done) waiter->wake.notify_one();
  }
}

void WaitRoom::WakeAll() {
  std::lock_guard lock(mutex_);
  for (Waiter* waiter : waiters_) waiter->wake.notify_one();
}

void WaitRoom::OfferWheel() {
  if (!others_ || sleepers_.load(std::memory_order_relaxed) == 0) return;
  std::lock_guard lock(mutex_);
  PassWheel();
}

}  // namespace syncbn::comm
