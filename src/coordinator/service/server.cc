#include "coordinator/service/server.h"

#include <grpc/support/log.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/server_builder.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <mutex>

#include "base/error.h"
#include "coordinator/service/address.h"

namespace syncbn::coordinator {
namespace {

bool IsUnix(const std::string& address) {
  return address.starts_with("unix:");
}

void CheckPolicy(const Server::Options& options, const CallGate& gate) {
  for (const std::string& address : options.addresses) {
    if (IsLoopback(address)) continue;
    if (!options.tls && !options.allow_plaintext) {
      throw Error(ErrorCode::kFailedPrecondition,
                  "refusing to listen on " + address +
                      " without TLS: tokens would travel in the open. Give --tls-cert and --tls-key, "
                      "listen on 127.0.0.1, or, in a network that you trust, --allow-plaintext");
    }
    if (!gate.options().authenticator->HasTokens()) {
      throw Error(ErrorCode::kFailedPrecondition,
                  "refusing to listen on " + address +
                      " without tokens: nobody could be told from anybody. Start with "
                      "--admin-token-file FILE, which writes an admin's token there");
    }
  }
}

// What gRPC has for the whole process only, before its first server.
void SetUpGrpc() {
  static std::once_flag once;
  std::call_once(once, [] {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    // Its lines are in no form of ours, and any stranger can cause hundreds a second.
    if (std::getenv("GRPC_VERBOSITY") == nullptr) gpr_set_log_function([](gpr_log_func_args*) {});
  });
}

}  // namespace

Server::Server(const Options& options, CallGate& gate, const std::vector<grpc::Service*>& services)
    : gate_(gate), services_(services) {
  CheckPolicy(options, gate);
  SetUpGrpc();
  const auto credentials =
      options.tls ? MakeTlsCredentials(*options.tls) : grpc::InsecureServerCredentials();
  bool all_loopback = true;
  for (const std::string& address : options.addresses) all_loopback &= IsLoopback(address);
  gate.options().authenticator->AllowLocal(all_loopback);

  grpc::ServerBuilder builder;
  std::vector<int> ports(options.addresses.size(), 0);
  for (size_t i = 0; i < options.addresses.size(); ++i) {
    builder.AddListeningPort(options.addresses[i], credentials, &ports[i]);
  }
  for (grpc::Service* service : services) builder.RegisterService(service);
  // The gate refuses what is too large with a reason; gRPC only what is far beyond.
  builder.SetMaxReceiveMessageSize(
      static_cast<int>(std::min<int64_t>(2 * gate.options().max_message_bytes + (1 << 20),
                                         std::numeric_limits<int>::max())));
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, options.max_streams_per_connection);
  // A call that waits for the store has a thread: a flood of them must find an end.
  builder.SetResourceQuota(grpc::ResourceQuota("server").SetMaxThreads(options.max_threads));
  // Two servers must not share a port by accident.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  // Clients ask every 30 s whether the connection lives; a quarter-hour of silence is not a fault.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 20'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 60'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  server_ = builder.BuildAndStart();
  for (size_t i = 0; i < options.addresses.size(); ++i) {
    const std::string& address = options.addresses[i];
    if (server_ == nullptr || ports[i] == 0) {
      // gRPC does not say which of them it could not have.
      throw Error(ErrorCode::kUnavailable,
                  "cannot listen on " + address +
                      ": the port is taken, or the address is not of this machine");
    }
    addresses_.push_back(IsUnix(address)
                             ? address
                             : SplitAddress(address).first + ":" + std::to_string(ports[i]));
  }
  SetServing(false);
}

Server::~Server() {
  if (server_) Shutdown(std::chrono::milliseconds(0));
}

void Server::SetServing(bool serving) {
  gate_.SetServing(serving);
  if (auto* health = server_->GetHealthCheckService()) health->SetServingStatus(serving);
}

void Server::Shutdown(std::chrono::milliseconds grace) {
  SetServing(false);
  server_->Shutdown(std::chrono::system_clock::now() + grace);
  server_->Wait();
}

std::shared_ptr<grpc::Channel> Server::InProcessChannel() {
  return server_->InProcessChannel({});
}

}  // namespace syncbn::coordinator
