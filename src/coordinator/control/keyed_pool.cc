#include "coordinator/control/keyed_pool.h"

#include <utility>

namespace syncbn::coordinator {

KeyedPool::KeyedPool(int threads) {
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { Loop(); });
}

KeyedPool::~KeyedPool() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  work_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void KeyedPool::Post(int64_t key, std::function<void()> task) {
  std::lock_guard lock(mutex_);
  std::deque<std::function<void()>>& tasks = waiting_[key];
  tasks.push_back(std::move(task));
  if (tasks.size() > 1 || running_.count(key) > 0) return;
  ready_.push_back(key);
  work_.notify_one();
}

bool KeyedPool::IsIdle(int64_t key) const {
  std::lock_guard lock(mutex_);
  return waiting_.count(key) == 0 && running_.count(key) == 0;
}

void KeyedPool::Loop() {
  std::unique_lock lock(mutex_);
  while (true) {
    work_.wait(lock, [&] { return stop_ || !ready_.empty(); });
    if (stop_) return;
    const int64_t key = ready_.front();
    ready_.pop_front();
    const auto found = waiting_.find(key);
    std::function<void()> task = std::move(found->second.front());
    found->second.pop_front();
    if (found->second.empty()) waiting_.erase(found);
    running_.insert(key);
    lock.unlock();
    task();
    // What the task holds must not outlive its turn.
    task = nullptr;
    lock.lock();
    running_.erase(key);
    if (waiting_.count(key) > 0) {
      ready_.push_back(key);
      work_.notify_one();
    }
  }
}

}  // namespace syncbn::coordinator
