// What every call goes through: who calls, may they, is there room; then the call itself; then what
// came of it, in the figures, the log and the audit table. A handler is one line around its body:
//
//   grpc::Status GetJob(grpc::ServerContext* context, const v1::GetJobRequest* request,
//                       v1::Job* response) override {
//     return gate_.Run(*context, "JobService/GetJob", request, [&](Call& call) {
//       *response = Find(request->name(), call.caller());   // throws Error for what goes wrong
//     });
//   }
//
// Thread-safe. The gate outlives the calls.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "coordinator/service/authenticator.h"
#include "coordinator/service/caller.h"
#include "coordinator/service/event_log.h"
#include "coordinator/service/method_table.h"
#include "coordinator/service/rate_limiter.h"
#include "coordinator/service/server_metrics.h"
#include "coordinator/store/store.h"

namespace syncbn::coordinator {

class CallGate {
 public:
  struct Options {
    Store* store = nullptr;
    Authenticator* authenticator = nullptr;
    ServerMetrics* metrics = nullptr;
    EventLog* log = nullptr;
    // Calls of each user's token; "local" has no limit. The workers of an attempt share one.
    RateLimit user_rate = {.per_second = 100, .burst = 200};
    RateLimit worker_rate = {.per_second = 2000, .burst = 4000};
    // Refused calls of one peer that the audit table and the log take in.
    RateLimit refusal_rate = {.per_second = 5, .burst = 50};
    // Streams of one user, and of all users.
    int streams_per_caller = 256;
    int streams = 2048;
    // The same for workers, of which each rank has one: of an attempt, and of all.
    int streams_per_attempt = 4096;
    int worker_streams = 16384;
    // Of a request. gRPC's own limit is above it (server.h), so that the answer can say so.
    int64_t max_message_bytes = int64_t{4} << 20;
    const Clock* clock = &Clock::System();
  };

  // What is pointed to outlives the gate.
  explicit CallGate(Options options);

  class Call;

  // One call from beginning to end; for a stream `request` may be null. `method` is as in
  // method_table.h.
  template <typename Body>
  grpc::Status Run(const grpc::ServerContextBase& context, std::string_view method,
                   const google::protobuf::Message* request, Body&& body);

  // Before that every call is UNAVAILABLE.
  void SetServing(bool serving) { serving_ = serving; }
  bool serving() const { return serving_; }
  // Is told the peer of each call whose caller is known. To be set while the gate does not serve.
  void SetOnKnown(std::function<void(const std::string& peer)> on_known) {
    on_known_ = std::move(on_known);
  }

  const Options& options() const { return options_; }

 private:
  void Audit(const AuditRecord& entry);
  void TakeStream(const Caller& caller);
  void ReturnStream(const Caller& caller);

  Options options_;
  std::atomic<bool> serving_ = false;
  std::function<void(const std::string& peer)> on_known_;
  RateLimiter user_rate_, worker_rate_, refusal_rate_;
  std::mutex mutex_;
  struct Streams {
    std::map<std::string, int> of;  // by the name of the caller
    int all = 0;
  };
  Streams user_streams_, worker_streams_;
};

// One call. Not thread-safe; the context outlives Admit only.
class CallGate::Call {
 public:
  Call(CallGate& gate, const grpc::ServerContextBase& context, std::string_view method);
  // A call that nobody ended was cancelled.
  ~Call();
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  // Throws what refuses the call. Looks up in the request which resource is meant.
  void Admit(const google::protobuf::Message* request);
  // For calls that last: throws UNAUTHENTICATED when the caller's token has been revoked or has expired.
  void CheckStillAllowed() const;
  const Caller& caller() const { return caller_; }
  // What the audit table says the call was about, where the request does not tell (a new job).
  void SetResource(std::string resource) { resource_ = std::move(resource); }
  // Throws PERMISSION_DENIED (ROLE_TOO_LOW) unless the caller is a worker of this attempt.
  void CheckAttempt(AttemptId id) const;

  // Counts and records what came of it; returns the status to answer with.
  grpc::Status End(const grpc::Status& status);
  grpc::Status End(const std::exception_ptr& thrown);
  // The same unless that was done.
  void EndOnce(const grpc::Status& status) {
    if (!ended_) End(status);
  }

 private:
  void CheckRole() const;
  void CheckRate();
  void Record(const grpc::Status& status, const std::string& detail, bool is_bug);

  CallGate& gate_;
  const grpc::ServerContextBase* context_;
  std::string_view method_;
  const MethodRule* rule_;
  MonotonicTime start_;
  std::optional<std::string> authorization_;
  Caller caller_;
  bool known_ = false;     // who calls
  bool admitted_ = false;
  bool in_stream_ = false;
  bool ended_ = false;
  std::string resource_;
  std::string fault_;   // the number under which a fault of the coordinator's own is in the log
  size_t max_details_;  // of an error
};

using Call = CallGate::Call;

template <typename Body>
grpc::Status CallGate::Run(const grpc::ServerContextBase& context, std::string_view method,
                           const google::protobuf::Message* request, Body&& body) {
  Call call(*this, context, method);
  try {
    call.Admit(request);
    body(call);
    return call.End(grpc::Status::OK);
  } catch (...) {
    return call.End(std::current_exception());
  }
}

}  // namespace syncbn::coordinator
