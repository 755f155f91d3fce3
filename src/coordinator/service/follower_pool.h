// Streams that go on for hours and are quiet most of the time, served by two threads.
//
// A follower is one stream to one client. It has at most one message under way: the next is made
// when the client has taken the last, from where the stream's own cursor stands. So a slow client
// holds one message and a cursor, a fast one waits for nobody, and a quiet one costs no thread.
// Whoever changes something wakes those who follow it.
//
// Thread-safe. The pool outlives the server whose streams it serves.
#pragma once

#include <grpcpp/support/status.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

namespace syncbn::coordinator {

class FollowerPool {
 public:
  using Id = uint64_t;

  struct Options {
    int threads = 2;
    // A stream on which nothing was sent for so long gets a sign of life.
    std::chrono::milliseconds bookmark_every = std::chrono::seconds(15);
  };

  // What became of a step.
  struct Step {
    enum class Kind {
      kSend,  // a message is ready: Send() is called next
      kWait,  // nothing to send until somebody wakes it, or `poll` has passed
      kEnd,   // the stream is over, with `status`: Finish() is called next, and nothing after it
    };
    Kind kind = Kind::kWait;
    grpc::Status status = grpc::Status::OK;
    std::optional<std::chrono::milliseconds> poll = std::nullopt;
  };

  // Called by one thread at a time.
  class Follower {
   public:
    virtual ~Follower() = default;
    // Prepares the next message. `quiet`: nothing was sent for long, send a bookmark at least.
    virtual Step Next(bool quiet) = 0;
    // Starts to send what Next prepared; Sent() must follow.
    virtual void Send() = 0;
    virtual void Finish(const grpc::Status& status) = 0;
  };

  explicit FollowerPool(const Options& options);
  ~FollowerPool();

  // The follower is asked at once, and lives until Finish was called.
  Id Add(Follower* follower);
  // There may be something new for it. Without effect when it is gone.
  void Wake(Id id);
  // The message has left, or (not ok) never will.
  void Sent(Id id, bool ok);
  // The client has left.
  void Cancel(Id id);

  // Ends all streams with UNAVAILABLE, also those that come later: before the server shuts down.
  void Stop();
  int size() const;

 private:
  using Time = std::chrono::steady_clock::time_point;
  using Timers = std::multimap<Time, Id>;

  struct Entry {
    Follower* follower;
    bool queued = false;
    bool running = false;
    bool writing = false;
    bool due = false;  // woken while it ran or wrote
    bool cancelled = false;
    Time last_sent;
    std::optional<Timers::iterator> timer = std::nullopt;
  };

  void Loop();
  void RunOne(std::unique_lock<std::mutex>& lock, Id id);
  void Enqueue(Id id, Entry& entry);
  void QueueDueTimers(Time now);
  void DropTimer(Entry& entry);

  Options options_;
  mutable std::mutex mutex_;
  std::condition_variable work_;
  Id next_ = 1;
  std::map<Id, Entry> entries_;
  std::deque<Id> ready_;
  Timers timers_;
  bool stopping_ = false;  // streams are ended
  bool closed_ = false;    // threads leave
  std::vector<std::thread> threads_;
};

}  // namespace syncbn::coordinator
