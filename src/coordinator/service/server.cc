#include "coordinator/service/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/server_builder.h>

#include <algorithm>
#include <limits>
#include <mutex>

#include "base/error.h"

namespace syncbn::coordinator {
namespace {

// Port and host of "host:port"; a name without a port is refused.
std::pair<std::string, int> SplitAddress(const std::string& address) {
  const size_t colon = address.rfind(':');
  int port = -1;
  if (colon != std::string::npos && colon + 1 < address.size() && address.size() - colon <= 6 &&
      address.find_first_not_of("0123456789", colon + 1) == std::string::npos) {
    port = std::stoi(address.substr(colon + 1));
  }
  const std::string host = address.substr(0, colon == std::string::npos ? 0 : colon);
  const bool bare_ipv6 = host.find(':') != std::string::npos && host.front() != '[';
  if (port < 0 || port > 65535 || host.empty() || bare_ipv6) {
    throw Error(ErrorCode::kInvalidArgument,
                "'" + address +
                    "' is not an address: write HOST:PORT (127.0.0.1:7700, [::1]:7700, port 0 for a "
                    "free one) or unix:/PATH");
  }
  return {host, port};
}

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
                      "--first-admin-token FILE, which writes an admin's token there");
    }
  }
}

// gRPC turns both on for all servers of the process made later.
void UseHealthAndReflection() {
  static std::once_flag once;
  std::call_once(once, [] {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  });
}

}  // namespace

bool IsLoopback(const std::string& address) {
  if (IsUnix(address)) return true;
  const std::string host = SplitAddress(address).first;
  return host == "localhost" || host == "[::1]" ||
         (host.starts_with("127.") && host.find_first_not_of("0123456789.") == std::string::npos);
}

Server::Server(const Options& options, CallGate& gate, const std::vector<grpc::Service*>& services)
    : gate_(gate), services_(services) {
  CheckPolicy(options, gate);
  UseHealthAndReflection();
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
