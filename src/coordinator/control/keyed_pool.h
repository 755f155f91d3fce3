// A few threads for calls that block: tasks of one key run one after another, in the order in which
// they were posted; tasks of different keys run side by side.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

namespace syncbn::coordinator {

class KeyedPool {
 public:
  explicit KeyedPool(int threads);
  // Waits for the tasks that run; those that wait are dropped.
  ~KeyedPool();

  // A task must not throw.
  void Post(int64_t key, std::function<void()> task);

  // Nothing of this key waits or runs.
  bool IsIdle(int64_t key) const;

 private:
  void Loop();

  mutable std::mutex mutex_;
  std::condition_variable work_;
  std::map<int64_t, std::deque<std::function<void()>>> waiting_;  // keys with tasks only
  std::set<int64_t> running_;
  std::deque<int64_t> ready_;  // keys with a task and none that runs
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace syncbn::coordinator
