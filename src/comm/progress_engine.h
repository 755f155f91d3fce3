// The progress engine: replica threads that wait make the transport progress. At most one of them, the
// driver, does; the others sleep. When the driver has what it waited for, one that still waits becomes the
// driver.
//
// So no core is spent on a helper thread, and none at all where nothing comes from other processes.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <list>
#include <mutex>

namespace syncbn::comm {

// What the driver does.
class ProgressWork {
 public:
  virtual ~ProgressWork() = default;
  // Whether anything is expected from other processes; if not the driver sleeps like everybody.
  virtual bool NeedsProgress() const = 0;
  // Moves data and does what has become possible; returns whether anything happened.
  virtual bool MakeProgress() = 0;
  // Gives the core away for a moment, after the `polls`-th fruitless MakeProgress in a row.
  virtual void Idle(int polls) = 0;
};

// Thread-safe.
class ProgressEngine {
 public:
  // `others`: whether there are other processes at all.
  ProgressEngine(ProgressWork& work, bool others) : work_(work), others_(others) {}

  // Returns when `done` or `failed` is set. Calls check() now and then meanwhile: about every `period`, less
  // often where hundreds wait, since one of them is as good as all.
  void Wait(const std::atomic<bool>& done, const std::atomic<bool>& failed,
            std::chrono::nanoseconds period, const std::function<void()>& check);

  // To be called after the flag has been set.
  void WakeWaitersFor(const std::atomic<bool>& done);
  void WakeAll();
  // Called by a thread that has left something unfinished and goes on computing: wakes a sleeper to become
  // the driver, if there is none.
  void WakeDriver();

 private:
  struct Waiter {
    explicit Waiter(const std::atomic<bool>& done) : done(done) {}
    const std::atomic<bool>& done;
    std::condition_variable wake;
  };
  // Under mutex_: wakes one who still waits, if nobody drives and somebody should.
  void AppointDriver();
  void DriveUntil(const std::atomic<bool>& done, const std::atomic<bool>& failed,
                  std::chrono::nanoseconds period, const std::function<void()>& check);

  ProgressWork& work_;
  const bool others_;
  std::mutex mutex_;
  std::list<Waiter> waiters_;
  bool has_driver_ = false;
  std::atomic<int> sleepers_{0};
};

}  // namespace syncbn::comm
