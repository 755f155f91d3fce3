#include "train/replica_team.h"

#include <string>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/exception_text.h"

namespace syncbn::train {

ReplicaTeam::ReplicaTeam(Options options) : options_(std::move(options)) {
  if (count() == 1) return;
  threads_.reserve(static_cast<size_t>(count()));
  try {
    for (int i = 0; i < count(); ++i) threads_.emplace_back([this, i] { Loop(first() + i); });
  } catch (const std::system_error& error) {
    const size_t started = threads_.size();
    Stop();
    throw Error(ErrorCode::kResourceExhausted,
                "only " + std::to_string(started) + " of " + std::to_string(count()) +
                    " replica threads could be started (" + error.what() +
                    "): use more processes, fewer replicas, or a higher limit of threads (ulimit -u)");
  }
}

ReplicaTeam::~ReplicaTeam() { Stop(); }

void ReplicaTeam::Stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  start_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ReplicaTeam::Run(const std::function<void(int)>& body) {
  if (count() == 1) {
    RunOne(first(), body);
  } else {
    std::unique_lock lock(mutex_);
    body_ = &body;
    running_ = count();
    ++generation_;
    start_.notify_all();
    while (!done_.wait_for(lock, options_.look_every, [&] { return running_ == 0; })) {
      if (!options_.on_look) continue;
      const std::exception_ptr failure = failure_;
      lock.unlock();
      options_.on_look(failure);
      lock.lock();
    }
    body_ = nullptr;
  }
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

void ReplicaTeam::Loop(int replica) {
  uint64_t seen = 0;
  while (true) {
    const std::function<void(int)>* body;
    {
      std::unique_lock lock(mutex_);
      start_.wait(lock, [&] { return stopping_ || generation_ != seen; });
      if (stopping_) return;
      seen = generation_;
      body = body_;
    }
    RunOne(replica, *body);
    std::lock_guard lock(mutex_);
    if (--running_ == 0) done_.notify_one();
  }
}

void ReplicaTeam::RunOne(int replica, const std::function<void(int)>& body) {
  try {
    WithFrame([&] { return "replica " + std::to_string(replica); },
              [&] {
                try {
                  body(replica);
                } catch (const std::exception&) {
                  throw;
                } catch (...) {  // it would end the program
                  throw Error(ErrorCode::kInternal, kUnknownException);
                }
              });
  } catch (const Error& error) {
    bool first = false;
    {
      std::lock_guard lock(mutex_);
      if (!failure_) {
        failure_ = std::current_exception();
        first = true;
      }
    }
    if (first && options_.on_failure) options_.on_failure(replica, error);
  }
}

}  // namespace syncbn::train
