#include "train/executor_pool.h"

#include "base/check.h"

namespace syncbn::train {

ExecutorPool::ExecutorPool(const backend::Backend& backend, int first_replica, int replicas,
                           int executors)
    : first_(first_replica), main_(backend.MakeExecutor()), one_each_(executors >= replicas) {
  SYNCBN_CHECK_GE(executors, 1);
  for (int i = 0; i < (one_each_ ? replicas : executors); ++i) {
    executors_.push_back(backend.MakeExecutor());
    free_.push_back(i);
  }
}

ExecutorPool::Lease ExecutorPool::Acquire(int replica) {
  const int turn = replica - first_;
  // The same workspace each time: its pool already holds blocks of the right sizes.
  if (one_each_) return Lease(this, turn);
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return fail_ || (next_ == turn && !free_.empty()); });
  if (fail_) {
    fail_();
    SYNCBN_CHECK(false) << "a broken pool of executors lends none";
  }
  const int index = free_.back();
  free_.pop_back();
  ++next_;
  lock.unlock();
  changed_.notify_all();
  return Lease(this, index);
}

void ExecutorPool::Release(int index) {
  if (one_each_) return;
  {
    std::lock_guard lock(mutex_);
    free_.push_back(index);
  }
  changed_.notify_all();
}

void ExecutorPool::BeginRound() {
  if (one_each_) return;
  std::lock_guard lock(mutex_);
  SYNCBN_CHECK_EQ(free_.size(), executors_.size()) << "a lease is still held";
  next_ = 0;
}

size_t ExecutorPool::PeakBytes() const {
  size_t bytes = main_->Memory().peak;
  for (const auto& executor : executors_) bytes += executor->Memory().peak;
  return bytes;
}

void ExecutorPool::Break(std::function<void()> fail) {
  {
    std::lock_guard lock(mutex_);
    fail_ = std::move(fail);
  }
  changed_.notify_all();
}

}  // namespace syncbn::train
