// Connects a stream of the callback API with the pool that serves it.
//
//   grpc::ServerWriteReactor<v1::FollowLogResponse>* FollowLog(
//       grpc::CallbackServerContext* context, const v1::FollowLogRequest* request) override {
//     return Follow<v1::FollowLogResponse>(pool_, gate_, *context, "LogService/FollowLog", *request,
//                                          [=, this](const Caller&, Waker waker) {
//       return std::make_unique<LogSource>(store_, *request, waker);
//     });
//   }
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "coordinator/service/call_gate.h"
#include "coordinator/service/follower_pool.h"
#include "coordinator/service/status.h"

namespace syncbn::coordinator {

// Wakes one stream; may be called by anybody at any time while the pool lives.
class Waker {
 public:
  Waker(FollowerPool* pool, FollowerPool::Id id) : pool_(pool), id_(id) {}
  void operator()() const { pool_->Wake(id_); }

 private:
  FollowerPool* pool_;
  FollowerPool::Id id_;
};

// What a stream sends, from a cursor of its own. Called by one thread at a time.
template <typename Response>
class StreamSource {
 public:
  enum class Next { kSend, kWait, kEnd };

  virtual ~StreamSource() = default;
  // Fills in the next message (kSend); says that there is none now, or never will be. May read the
  // store. Throws what ends the stream.
  virtual Next Fill(Response& response) = 0;
  // Nothing was sent for long.
  virtual void FillBookmark(Response& response) = 0;
  // How soon to ask again after kWait although nobody wakes it.
  virtual std::optional<std::chrono::milliseconds> poll() const { return std::nullopt; }
};

template <typename Response>
using MakeSource =
    std::function<std::unique_ptr<StreamSource<Response>>(const Caller& caller, Waker waker)>;

// Deletes itself when gRPC is done with it.
template <typename Response>
class FollowerReactor final : public grpc::ServerWriteReactor<Response>,
                              public FollowerPool::Follower {
 public:
  FollowerReactor(FollowerPool& pool, CallGate& gate, grpc::CallbackServerContext& context,
                  std::string_view method, const google::protobuf::Message& request,
                  MakeSource<Response> make)
      : pool_(pool), call_(gate, context, method), make_(std::move(make)) {
    try {
      call_.Admit(&request);
    } catch (...) {
      this->Finish(std::current_exception());
      return;
    }
    id_ = pool_.Add(this);
    id_.notify_all();
  }

  // --- From the pool.

  FollowerPool::Step Next(bool quiet) override {
    using Step = FollowerPool::Step;
    try {
      // Here and not in the constructor: it may read the store, for which gRPC's threads are few.
      if (!source_) source_ = make_(call_.caller(), Waker(&pool_, OwnId()));
      call_.CheckStillAllowed();
      response_.Clear();
      switch (source_->Fill(response_)) {
        case StreamSource<Response>::Next::kSend:
          return {.kind = Step::Kind::kSend};
        case StreamSource<Response>::Next::kEnd:
          return {.kind = Step::Kind::kEnd};
        case StreamSource<Response>::Next::kWait:
          break;
      }
      if (!quiet) return {.kind = Step::Kind::kWait, .poll = source_->poll()};
      response_.Clear();
      source_->FillBookmark(response_);
      return {.kind = Step::Kind::kSend};
    } catch (...) {
      return {.kind = Step::Kind::kEnd, .status = call_.End(std::current_exception())};
    }
  }
  void Send() override { this->StartWrite(&response_); }
  void Finish(const grpc::Status& status) override {
    // Subscriptions end here and not in OnDone, which runs on gRPC's threads.
    source_.reset();
    call_.EndOnce(status);
    grpc::ServerWriteReactor<Response>::Finish(status);
  }

  // --- From gRPC.

  void OnWriteDone(bool ok) override { pool_.Sent(OwnId(), ok); }
  void OnCancel() override {
    if (const FollowerPool::Id id = id_) pool_.Cancel(id);
  }
  void OnDone() override { delete this; }

 private:
  void Finish(const std::exception_ptr& thrown) {
    grpc::ServerWriteReactor<Response>::Finish(call_.End(thrown));
  }
  // Add may hand the follower to a thread before its number has arrived here.
  FollowerPool::Id OwnId() const {
    id_.wait(0);
    return id_;
  }

  FollowerPool& pool_;
  Call call_;
  MakeSource<Response> make_;
  std::atomic<FollowerPool::Id> id_ = 0;
  std::unique_ptr<StreamSource<Response>> source_;
  Response response_;
};

// What a handler returns. The request lives as long as the stream.
template <typename Response>
grpc::ServerWriteReactor<Response>* Follow(FollowerPool& pool, CallGate& gate,
                                           grpc::CallbackServerContext& context,
                                           std::string_view method,
                                           const google::protobuf::Message& request,
                                           MakeSource<Response> make) {
  return new FollowerReactor<Response>(pool, gate, context, method, request, std::move(make));
}

}  // namespace syncbn::coordinator
