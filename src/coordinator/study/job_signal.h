// Wakes a thread that waits for changes of jobs.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <stop_token>

#include "coordinator/store/store.h"

namespace syncbn::coordinator {

class JobSignal {
 public:
  // Of one job, or of any.
  JobSignal(Store& store, std::optional<int64_t> job)
      : subscription_(store.changes().Subscribe(Change::Kind::kJob, job, [this] { Set(); })) {}

  // Until something has changed since the last wait (at the first: since the signal was made), or a
  // stop is requested.
  void Wait(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, stop, [&] { return set_; });
    set_ = false;
  }

 private:
  void Set() {
    std::lock_guard lock(mutex_);
    set_ = true;
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable_any changed_;
  bool set_ = false;
  // Last: its listener uses what stands above.
  ChangeFeed::Subscription subscription_;
};

// Rests for so long, or until a stop is requested.
inline void RestUnlessStopped(std::chrono::milliseconds time, const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any changed;
  std::unique_lock lock(mutex);
  changed.wait_for(lock, stop, time, [] { return false; });
}

}  // namespace syncbn::coordinator
