// The workspaces of one process, and the gate through which replicas come to them.
//
// Where replicas need each other's statistics inside a pass, all must be in flight at once: there are
// as many executors as replicas and nobody waits. Where they do not, a few run at a time in workspaces
// that are used again, so that memory does not grow with the number of replicas; they are admitted in
// the order of their numbers, so that neighbours finish together and their gradients merge early.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "backend/backend.h"

namespace syncbn::train {

class ExecutorPool {
 public:
  // `executors` workspaces for the `replicas` replicas starting at `first_replica`.
  ExecutorPool(const backend::Backend& backend, int first_replica, int replicas, int executors);

  // A workspace held by one replica; given back at the end of its life.
  class Lease {
   public:
    Lease(Lease&& other) noexcept : pool_(std::exchange(other.pool_, nullptr)), index_(other.index_) {}
    Lease& operator=(Lease&&) = delete;
    ~Lease() {
      if (pool_ != nullptr) pool_->Release(index_);
    }
    backend::Executor& executor() const { return *pool_->executors_[static_cast<size_t>(index_)]; }

   private:
    friend class ExecutorPool;
    Lease(ExecutorPool* pool, int index) : pool_(pool), index_(index) {}
    ExecutorPool* pool_;
    int index_;
  };

  // To be called once by every replica in each round (a step, an evaluation batch). Sleeps until all
  // replicas with a smaller number have been admitted in this round and a workspace is free.
  Lease Acquire(int replica);
  // Starts a round. Nobody may hold or wait for a lease.
  void BeginRound();
  // Wakes everybody who waits; for them and all who come later `fail` is called, which throws.
  void Break(std::function<void()> fail);

  // For work outside a pass, on the thread that drives the replicas.
  backend::Executor& main() { return *main_; }
  // The sum of the peaks of all of them, the main one included (backend::MemoryUse).
  size_t PeakBytes() const;
  int size() const { return static_cast<int>(executors_.size()); }
  // The replicas' workspaces, for figures about their memory. Only between rounds.
  const std::vector<std::unique_ptr<backend::Executor>>& executors() const { return executors_; }

 private:
  void Release(int index);

  const int first_;
  std::vector<std::unique_ptr<backend::Executor>> executors_;
  std::unique_ptr<backend::Executor> main_;
  const bool one_each_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<int> free_;
  int next_ = 0;  // the next replica to be admitted, counted from first_
  std::function<void()> fail_;  // set: broken
};

}  // namespace syncbn::train
