// Tells watchers that something they look at has changed in the store. It carries no data: a
// watcher reads what is new after its own cursor, so a notice that comes twice or late does no
// harm.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <vector>

namespace syncbn::coordinator {

struct Change {
  enum class Kind { kJob, kMetrics };
  Kind kind;
  int64_t job;
};

// Thread-safe.
class ChangeFeed {
 public:
  using Listener = std::function<void()>;
  // Is told which job; once for every job that has changed.
  using JobListener = std::function<void(int64_t job)>;

  // Ends its subscription at the end of its life; the listener is not running and will not run
  // then.
  class Subscription {
   public:
    Subscription() = default;
    Subscription(ChangeFeed* feed, uint64_t id) : feed_(feed), id_(id) {}
    Subscription(Subscription&& other) noexcept { *this = std::move(other); }
    Subscription& operator=(Subscription&& other) noexcept;
    ~Subscription();

   private:
    ChangeFeed* feed_ = nullptr;
    uint64_t id_ = 0;
  };

  // Calls the listener after every durable change of that kind, of one job or of any. It runs on
  // the thread that writes: it must only wake somebody, and must not subscribe or unsubscribe.
  Subscription Subscribe(Change::Kind kind, std::optional<int64_t> job, Listener listener);
  Subscription SubscribeToJobs(Change::Kind kind, std::optional<int64_t> job,
                               JobListener listener);

  void Publish(const std::vector<Change>& changes);

 private:
  struct Entry {
    Change::Kind kind;
    std::optional<int64_t> job;
    Listener listener;         // one of them
    JobListener job_listener;
  };

  std::mutex mutex_;
  uint64_t next_ = 1;
  std::map<uint64_t, Entry> entries_;
};

}  // namespace syncbn::coordinator
