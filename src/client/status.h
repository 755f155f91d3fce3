// What a coordinator answered, as errors of this program.
#pragma once

#include <grpcpp/support/status.h>

#include <cstdint>
#include <string>

#include "base/error.h"

namespace syncbn::client {

// No coordinator answers at the address, or it does not answer in time.
class Unreachable : public Error {
 public:
  explicit Unreachable(std::string message) : Error(ErrorCode::kUnavailable, std::move(message)) {}
};

// Where a call went, for messages.
struct CallTarget {
  // host:port
  std::string address;
  // The client side of the connection is encrypted, and shows a certificate of its own.
  bool tls = false, shows_certificate = false;
  // How long the call was given, in seconds.
  double deadline_seconds = 0;
  // The largest answer that this side takes, and the largest request that the server takes, in bytes;
  // 0 where that is not known.
  int64_t max_answer_bytes = 0, max_request_bytes = 0;
};

// Throws the error that fits `status`, which is not OK: coordinator::ApiError with the server's own
// message, reason and metadata where the server gave a reason; Unreachable, with what to do, where
// none answered; otherwise an Error that names the address. A faulty run file gives the text that
// `syncbn check` prints for it, as far as the server has sent it (metadata "errors": how many). A
// message that gRPC itself found too large is an ApiError TOO_LARGE, too, as error.proto describes.
[[noreturn]] void ThrowStatus(const grpc::Status& status, const CallTarget& target);

// Whether gRPC itself, not the coordinator, refused the request for its size.
bool IsRefusedForSize(const grpc::Status& status);

// Whether the connection failed, not the request: the same call may work a moment later.
bool IsLostConnection(const grpc::Status& status);

}  // namespace syncbn::client
