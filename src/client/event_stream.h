// A stream from the coordinator that goes on where it was after the coordinator has been away.
//
// A thread of its own reads the stream into a short queue. When the connection is lost it opens the
// stream again, with growing pauses, from where the last response left off; when nothing at all has
// come for long (the coordinator sends a bookmark every 15 s) it gives the connection up and opens a
// new one. A connection that was never had, or that stays lost beyond `patience`, is an error.
//
// Next and Stop are for one thread.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/support/sync_stream.h>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "client/connection.h"

namespace syncbn::client {

struct EventStreamOptions {
  // How long the coordinator may be away once it had answered.
  std::chrono::milliseconds patience = std::chrono::minutes(10);
  // Without any response for this long the connection counts as lost.
  std::chrono::milliseconds silence = std::chrono::seconds(45);
  std::chrono::milliseconds first_pause = std::chrono::milliseconds(100);
  std::chrono::milliseconds longest_pause = std::chrono::seconds(1);
  // Opening the stream is tried this often before the coordinator counts as not there.
  int first_tries = 4;
};

template <typename Response>
class EventStream {
 public:
  struct Source {
    // Opens the stream from where it is. Called by the reading thread, as are the next two.
    std::function<std::unique_ptr<grpc::ClientReader<Response>>(grpc::ClientContext*)> open;
    // Remembers where to go on after this response.
    std::function<void(const Response&)> advance;
    // The place to go on from is no longer kept: start anew. Absent: that is an error.
    std::function<void()> restart;
    // A stream that the server ends in good order is complete; otherwise it is opened again.
    bool ends = false;
  };

  // `connection` must outlive this.
  EventStream(Connection& connection, Source source, EventStreamOptions options = {})
      : connection_(connection), source_(std::move(source)), options_(options),
        thread_([this] { Read(); }) {}
  ~EventStream() {
    Stop();
    thread_.join();
  }
  EventStream(const EventStream&) = delete;
  EventStream& operator=(const EventStream&) = delete;

  // The next response; nothing when none has come within `timeout`, or at the end. Throws what ended
  // the stream, as ThrowStatus does.
  std::optional<Response> Next(std::chrono::milliseconds timeout) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, timeout, [&] { return !queue_.empty() || done_; });
    if (!queue_.empty()) {
      Response response = std::move(queue_.front());
      queue_.pop_front();
      changed_.notify_all();
      return response;
    }
    if (failure_) std::rethrow_exception(failure_);
    if (context_ && std::chrono::steady_clock::now() - last_ > options_.silence) context_->TryCancel();
    return std::nullopt;
  }
  // Everything was delivered and nothing will come.
  bool AtEnd() {
    std::lock_guard lock(mutex_);
    return done_ && queue_.empty() && !failure_;
  }
  // The coordinator is away and is being looked for.
  bool lost() {
    std::lock_guard lock(mutex_);
    return lost_;
  }
  void Stop() {
    std::lock_guard lock(mutex_);
    stop_ = true;
    if (context_) context_->TryCancel();
    changed_.notify_all();
  }

 private:
  static constexpr size_t kMostWaiting = 256;

  struct Presence {
    explicit Presence(EventStream& stream) : stream(stream) {}
    ~Presence() {
      std::lock_guard lock(stream.mutex_);
      stream.context_ = nullptr;
    }
    EventStream& stream;
  };

  void Read() {
    try {
      ReadUntilEnd();
    } catch (...) {
      std::lock_guard lock(mutex_);
      failure_ = std::current_exception();
    }
    std::lock_guard lock(mutex_);
    done_ = true;
    changed_.notify_all();
  }

  void ReadUntilEnd() {
    bool ever = false;
    int tries = 0;
    auto pause = options_.first_pause;
    auto lost_since = std::chrono::steady_clock::now();
    while (true) {
      grpc::ClientContext context;
      connection_.Prepare(context);
      // Before the context goes, also when something below throws, nobody may cancel it any more.
      const Presence presence(*this);
      if (!Enter(context)) return;
      std::unique_ptr<grpc::ClientReader<Response>> reader = source_.open(&context);
      Response response;
      bool any = false;
      while (reader->Read(&response)) {
        any = ever = true;
        source_.advance(response);
        if (!Deliver(std::move(response))) context.TryCancel();
        response.Clear();
      }
      const grpc::Status status = reader->Finish();
      if (Leave(ever)) return;
      if (status.ok() && source_.ends) return;
      if (!status.ok() && !IsLostConnection(status)) {
        if (status.error_code() != grpc::StatusCode::OUT_OF_RANGE || !source_.restart) {
          ThrowStatus(status, connection_.target());
        }
        source_.restart();
      }
      const auto now = std::chrono::steady_clock::now();
      if (any) {
        pause = options_.first_pause;
        lost_since = now;
      }
      ++tries;
      if (ever ? now - lost_since > options_.patience : tries >= options_.first_tries) {
        ThrowStatus(status.ok() ? grpc::Status(grpc::StatusCode::UNAVAILABLE, "it ends every stream")
                                : status,
                    connection_.target());
      }
      if (!Wait(pause)) return;
      pause = std::min(pause * 2, options_.longest_pause);
    }
  }

  bool Enter(grpc::ClientContext& context) {
    std::lock_guard lock(mutex_);
    if (stop_) return false;
    context_ = &context;
    last_ = std::chrono::steady_clock::now();
    return true;
  }
  // True when the reader is to end. What was never there cannot be lost.
  bool Leave(bool ever) {
    std::lock_guard lock(mutex_);
    context_ = nullptr;
    lost_ = ever;
    return stop_;
  }
  bool Wait(std::chrono::milliseconds pause) {
    // In pieces, so that it is stopped soon.
    constexpr std::chrono::milliseconds kPiece{100};
    const auto end = std::chrono::steady_clock::now() + pause;
    while (true) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
          end - std::chrono::steady_clock::now());
      {
        std::lock_guard lock(mutex_);
        if (stop_) return false;
      }
      if (left.count() <= 0 || connection_.Rest(std::min(left, kPiece))) return true;
    }
  }
  bool Deliver(Response response) {
    std::unique_lock lock(mutex_);
    lost_ = false;
    changed_.wait(lock, [&] { return queue_.size() < kMostWaiting || stop_; });
    last_ = std::chrono::steady_clock::now();
    queue_.push_back(std::move(response));
    changed_.notify_all();
    return !stop_;
  }

  Connection& connection_;
  const Source source_;
  const EventStreamOptions options_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Response> queue_;
  grpc::ClientContext* context_ = nullptr;
  std::chrono::steady_clock::time_point last_;
  std::exception_ptr failure_;
  bool done_ = false, lost_ = false, stop_ = false;
  std::thread thread_;  // last: it uses everything above
};

}  // namespace syncbn::client
