#include "coordinator/service/follower_pool.h"

#include <algorithm>
#include <utility>

#include "coordinator/service/status.h"

namespace syncbn::coordinator {

FollowerPool::FollowerPool(const Options& options) : options_(options) {
  for (int i = 0; i < options.threads; ++i) threads_.emplace_back([this] { Loop(); });
}

FollowerPool::~FollowerPool() {
  Stop();
  {
    std::lock_guard lock(mutex_);
    closed_ = true;
  }
  work_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

FollowerPool::Id FollowerPool::Add(Follower* follower) {
  std::lock_guard lock(mutex_);
  const Id id = next_++;
  // A stream that has nothing to send begins with a bookmark: a client that comes back knows that it
  // is connected again.
  const Time long_ago = std::chrono::steady_clock::now() - options_.bookmark_every;
  Entry& entry =
      entries_.emplace(id, Entry{.follower = follower, .last_sent = long_ago}).first->second;
  Enqueue(id, entry);
  return id;
}

void FollowerPool::Wake(Id id) {
  std::lock_guard lock(mutex_);
  const auto found = entries_.find(id);
  if (found != entries_.end()) Enqueue(id, found->second);
}

void FollowerPool::Sent(Id id, bool ok) {
  std::lock_guard lock(mutex_);
  const auto found = entries_.find(id);
  if (found == entries_.end()) return;
  Entry& entry = found->second;
  entry.writing = false;
  entry.cancelled |= !ok;
  entry.last_sent = std::chrono::steady_clock::now();
  Enqueue(id, entry);
}

void FollowerPool::Cancel(Id id) {
  std::lock_guard lock(mutex_);
  const auto found = entries_.find(id);
  if (found == entries_.end()) return;
  found->second.cancelled = true;
  Enqueue(id, found->second);
}

void FollowerPool::Stop() {
  std::lock_guard lock(mutex_);
  stopping_ = true;
  for (auto& [id, entry] : entries_) Enqueue(id, entry);
}

int FollowerPool::size() const {
  std::lock_guard lock(mutex_);
  return static_cast<int>(entries_.size());
}

void FollowerPool::Enqueue(Id id, Entry& entry) {
  if (entry.queued) return;
  if (entry.running || entry.writing) {
    entry.due = true;
    return;
  }
  DropTimer(entry);
  entry.queued = true;
  ready_.push_back(id);
  work_.notify_one();
}

void FollowerPool::DropTimer(Entry& entry) {
  if (entry.timer) timers_.erase(*entry.timer);
  entry.timer.reset();
}

void FollowerPool::QueueDueTimers(Time now) {
  while (!timers_.empty() && timers_.begin()->first <= now) {
    const Id id = timers_.begin()->second;
    Enqueue(id, entries_.at(id));  // takes the timer away
  }
}

void FollowerPool::Loop() {
  std::unique_lock lock(mutex_);
  while (true) {
    QueueDueTimers(std::chrono::steady_clock::now());
    if (!ready_.empty()) {
      const Id id = ready_.front();
      ready_.pop_front();
      RunOne(lock, id);
    } else if (closed_) {
      return;
    } else if (timers_.empty()) {
      work_.wait(lock);
    } else {
      // A copy: the timer may be taken away while this one waits, and the time is looked at afterwards.
      const auto next = timers_.begin()->first;
      work_.wait_until(lock, next);
    }
  }
}

void FollowerPool::RunOne(std::unique_lock<std::mutex>& lock, Id id) {
  // Nobody else removes an entry that is queued or running, so the reference holds.
  Entry& entry = entries_.at(id);
  Follower& follower = *entry.follower;
  entry.queued = false;
  entry.running = true;
  entry.due = false;
  const bool quiet =
      std::chrono::steady_clock::now() - entry.last_sent >= options_.bookmark_every;
  const bool cancelled = entry.cancelled, stopping = stopping_;
  lock.unlock();
  Step step{.kind = Step::Kind::kEnd};
  if (cancelled) {
    step.status = grpc::Status(grpc::StatusCode::CANCELLED, "the client has left");
  } else if (stopping) {
    step.status = ToStatus(ApiError(ErrorCode::kUnavailable, "NOT_SERVING",
                                    "the coordinator is stopping: go on from the last cursor when "
                                    "it is back",
                                    {{"retry_after_ms", "1000"}}));
  } else {
    step = follower.Next(quiet);
  }
  lock.lock();
  entry.running = false;
  switch (step.kind) {
    case Step::Kind::kSend:
      entry.writing = true;
      lock.unlock();
      follower.Send();
      lock.lock();
      return;
    case Step::Kind::kEnd:
      entries_.erase(id);
      lock.unlock();
      follower.Finish(step.status);
      lock.lock();
      return;
    case Step::Kind::kWait:
      if (entry.due || entry.cancelled || stopping_) {
        Enqueue(id, entry);
        return;
      }
      Time next = entry.last_sent + options_.bookmark_every;
      if (step.poll) next = std::min(next, std::chrono::steady_clock::now() + *step.poll);
      entry.timer = timers_.emplace(next, id);
      // The other threads may sleep for longer than that.
      work_.notify_one();
      return;
  }
}

}  // namespace syncbn::coordinator
