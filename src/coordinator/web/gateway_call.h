// What the calls of the gateway have in common.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/support/status.h>

#include <condition_variable>
#include <memory>
#include <mutex>

#include "coordinator/service/http_message.h"

namespace syncbn::coordinator {

// Calls that are under way. Whoever ends the channel waits for them: gRPC ends the process where a
// thread of its own lets go of a channel last. Thread-safe.
class OpenCalls {
 public:
  // Of a call, to be let go of after its context.
  std::shared_ptr<void> Begin() {
    std::lock_guard lock(mutex_);
    ++open_;
    return {this, [](OpenCalls* calls) { calls->End(); }};
  }
  void WaitForAll() {
    std::unique_lock lock(mutex_);
    none_.wait(lock, [this] { return open_ == 0; });
  }

 private:
  void End() {
    std::lock_guard lock(mutex_);
    if (--open_ == 0) none_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable none_;
  int open_ = 0;
};

// Says who calls and from where (inside_key.h). Throws UNAUTHENTICATED for a token that cannot be one.
void SetCaller(grpc::ClientContext& context, const HttpRequest& request);

HttpAnswer JsonAnswer(int status, std::string json);
HttpAnswer StatusAnswer(const grpc::Status& status);

}  // namespace syncbn::coordinator
