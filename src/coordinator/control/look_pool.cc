#include "coordinator/control/look_pool.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <set>
#include <thread>

#include "coordinator/api_error.h"

namespace syncbn::coordinator {

using SteadyTime = std::chrono::steady_clock::time_point;

// Shared with the threads, so that one that hangs may outlive the pool.
struct LookPool::State {
  std::mutex mutex;
  std::condition_variable work, idle;
  std::deque<std::function<void()>> waiting;
  std::multiset<SteadyTime> running;  // since when
  bool stop = false;
};

LookPool::LookPool(Options options) : options_(options), state_(std::make_shared<State>()) {
  for (int i = 0; i < options_.threads; ++i) {
    std::thread([state = state_] { Loop(state); }).detach();
  }
}

LookPool::~LookPool() {
  std::unique_lock lock(state_->mutex);
  state_->stop = true;
  state_->waiting.clear();
  state_->work.notify_all();
  // What does not hang may use its owner's things: it is given the time that it is given anyway.
  state_->idle.wait_for(lock, options_.patience, [&] { return state_->running.empty(); });
}

void LookPool::Loop(const std::shared_ptr<State>& state) {
  std::unique_lock lock(state->mutex);
  while (true) {
    state->work.wait(lock, [&] { return state->stop || !state->waiting.empty(); });
    if (state->stop) return;
    std::function<void()> task = std::move(state->waiting.front());
    state->waiting.pop_front();
    const auto mine = state->running.insert(std::chrono::steady_clock::now());
    lock.unlock();
    task();
    task = nullptr;
    lock.lock();
    state->running.erase(mine);
    state->idle.notify_all();
  }
}

void LookPool::Post(std::function<void()> task, const std::string& what) {
  std::lock_guard lock(state_->mutex);
  const SteadyTime late = std::chrono::steady_clock::now() - options_.patience;
  // The youngest of them is overdue: all are.
  if (static_cast<int>(state_->running.size()) == options_.threads &&
      *state_->running.rbegin() < late) {
    ThrowTooSlow(what);
  }
  state_->waiting.push_back(std::move(task));
  state_->work.notify_one();
}

void LookPool::ThrowCannotLook(const std::string& what, const std::error_code& why) {
  throw Error(ErrorCode::kUnavailable, what + " cannot be looked at: " + why.message());
}

void LookPool::ThrowTooSlow(const std::string& what) const {
  throw ApiError(
      ErrorCode::kUnavailable, "FILE_SYSTEM_SLOW",
      what + " did not answer within " +
          std::to_string(std::chrono::ceil<std::chrono::seconds>(options_.patience).count()) +
          " s: its file system hangs or is overloaded. Try again when it answers");
}

}  // namespace syncbn::coordinator
