#include "coordinator/control/file_system_pool.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "base/text.h"
#include "coordinator/api_error.h"

namespace syncbn::coordinator {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;

constexpr const char* kWhy = ": its file system hangs or is overloaded. Try again when it answers";

[[noreturn]] void ThrowSlow(const std::string& what) {
  throw ApiError(ErrorCode::kUnavailable, "FILE_SYSTEM_SLOW", what);
}

std::string TimeText(std::chrono::milliseconds time) {
  return std::to_string(std::chrono::ceil<std::chrono::seconds>(time).count()) + " s";
}

}  // namespace

// One look; guarded by the state's mutex.
struct FileSystemPool::Entry {
  std::function<void()> task;
  std::string what;
  bool started = false;
  SteadyTime since = {};  // it is at `what`
  // Who waited for it has been told that `what` does not answer.
  bool called_slow = false;

  bool IsLate(std::chrono::milliseconds patience) const {
    return called_slow || std::chrono::steady_clock::now() - since > patience;
  }
};

// Shared with the threads, so that one that hangs may outlive the pool.
struct FileSystemPool::State {
  explicit State(std::chrono::milliseconds patience_of_all) : patience(patience_of_all) {}

  const std::chrono::milliseconds patience;
  std::mutex mutex;
  std::condition_variable work, idle;
  std::deque<std::shared_ptr<Entry>> waiting;
  std::vector<std::shared_ptr<Entry>> running;
  bool stop = false;

  // For error messages: what the running looks are at, each thing once.
  std::string Busy() const {
    std::vector<std::string> names;
    for (const auto& one : running) names.push_back(one->what);
    std::ranges::sort(names);
    names.erase(std::ranges::unique(names).begin(), names.end());
    constexpr size_t kMost = 3;
    const bool more = names.size() > kMost;
    names.resize(std::min(names.size(), kMost));
    return Join(names, ", ") + (more ? " and others" : "");
  }
  // An earlier look has hung at the same thing for too long.
  void CheckAnswers(const std::string& what, const Entry* own) const {
    for (const auto& one : running) {
      if (one.get() != own && one->what == what && one->IsLate(patience)) {
        ThrowSlow(what + " has not answered another look for more than " + TimeText(patience) +
                  kWhy);
      }
    }
  }

  // Of the look on this thread.
  static thread_local State* current;
  static thread_local Entry* entry;
};

thread_local FileSystemPool::State* FileSystemPool::State::current = nullptr;
thread_local FileSystemPool::Entry* FileSystemPool::State::entry = nullptr;

FileSystemPool::FileSystemPool(Options options)
    : options_(options), state_(std::make_shared<State>(options.patience)) {
  for (int i = 0; i < options_.threads; ++i) {
    std::thread([state = state_] { Loop(state); }).detach();
  }
}

FileSystemPool::~FileSystemPool() {
  std::unique_lock lock(state_->mutex);
  state_->stop = true;
  state_->waiting.clear();
  state_->work.notify_all();
  // What does not hang may use its owner's things: it is given the time that it is given anyway.
  state_->idle.wait_for(lock, options_.patience, [&] { return state_->running.empty(); });
}

void FileSystemPool::Loop(const std::shared_ptr<State>& state) {
  State::current = state.get();
  std::unique_lock lock(state->mutex);
  while (true) {
    state->work.wait(lock, [&] { return state->stop || !state->waiting.empty(); });
    if (state->stop) return;
    const std::shared_ptr<Entry> entry = std::move(state->waiting.front());
    state->waiting.pop_front();
    state->running.push_back(entry);
    entry->started = true;
    entry->since = std::chrono::steady_clock::now();
    State::entry = entry.get();
    lock.unlock();
    entry->task();
    entry->task = nullptr;
    lock.lock();
    State::entry = nullptr;
    std::erase(state->running, entry);
    state->idle.notify_all();
  }
}

std::shared_ptr<FileSystemPool::Entry> FileSystemPool::Post(std::function<void()> task,
                                                            const std::string& what) {
  auto entry = std::make_shared<Entry>(Entry{.task = std::move(task), .what = what});
  std::lock_guard lock(state_->mutex);
  state_->CheckAnswers(what, nullptr);
  const bool all_late = static_cast<int>(state_->running.size()) == options_.threads &&
                        std::ranges::all_of(state_->running, [&](const auto& one) {
                          return one->IsLate(options_.patience);
                        });
  if (all_late) {
    ThrowSlow(what + " cannot be looked at now: all looks wait for " + state_->Busy() + ", which " +
              "did not answer within " + TimeText(options_.patience) +
              ". Try again when that answers");
  }
  state_->waiting.push_back(entry);
  state_->work.notify_one();
  return entry;
}

void NowAccessing(const std::string& what) {
  using State = FileSystemPool::State;
  if (State::entry == nullptr) return;
  std::lock_guard lock(State::current->mutex);
  State::current->CheckAnswers(what, State::entry);
  State::entry->what = what;
  State::entry->since = std::chrono::steady_clock::now();
  State::entry->called_slow = false;
}

void FileSystemPool::ThrowCannotLook(const Entry& entry, const std::error_code& why) const {
  std::lock_guard lock(state_->mutex);
  throw Error(ErrorCode::kUnavailable, entry.what + " cannot be looked at: " + why.message());
}

void FileSystemPool::ThrowTooSlow(Entry& entry) const {
  std::lock_guard lock(state_->mutex);
  const std::string time = TimeText(options_.patience);
  if (entry.started) {
    entry.called_slow = true;
    ThrowSlow(entry.what + " did not answer within " + time + kWhy);
  }
  ThrowSlow(entry.what + " was not looked at within " + time + ": all looks wait for " +
            state_->Busy() + ". Try again when that answers");
}

}  // namespace syncbn::coordinator
