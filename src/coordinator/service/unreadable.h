// Requests whose bytes are no message of their method. gRPC answers them before any service of ours
// sees them, with INTERNAL or UNIMPLEMENTED and no words. This makes of it what every other refusal
// is: identified, counted, logged and kept in the audit table by the gate, and an error with a
// reason, MESSAGE_INVALID. Of streams from the client only their reader can tell (metric_intake.h).
#pragma once

#include <grpcpp/support/server_interceptor.h>

#include <string_view>

#include "coordinator/service/call_gate.h"

namespace syncbn::coordinator {

// INVALID_ARGUMENT (MESSAGE_INVALID).
[[noreturn]] void ThrowUnreadable(std::string_view method);

class UnreadableRequests final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  // The gate outlives the server.
  explicit UnreadableRequests(CallGate& gate) : gate_(gate) {}

  grpc::experimental::Interceptor* CreateServerInterceptor(
      grpc::experimental::ServerRpcInfo* info) override;

 private:
  CallGate& gate_;
};

}  // namespace syncbn::coordinator
