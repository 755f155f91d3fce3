#include "coordinator/service/server.h"

#include <grpc/support/log.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <limits>
#include <mutex>

#include "base/error.h"
#include "coordinator/service/address.h"
#include "coordinator/service/listening.h"
#include "coordinator/service/port_probe.h"
#include "coordinator/service/unreadable.h"

namespace syncbn::coordinator {
namespace {

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
    : gate_(gate), services_(services), has_tls_(options.tls.has_value()) {
  CheckPolicy(options, gate);
  SetUpGrpc();
  const auto credentials =
      options.tls ? MakeTlsCredentials(*options.tls) : grpc::InsecureServerCredentials();
  bool all_loopback = true;
  for (const std::string& address : options.addresses) all_loopback &= IsLoopback(address);
  gate.options().authenticator->AllowLocal(all_loopback);

  std::vector<ListeningSocket> sockets;
  for (const std::string& address : options.addresses) {
    std::vector<ListeningSocket> own = ListenOn(address);
    addresses_.push_back(own.front().address);
    std::move(own.begin(), own.end(), std::back_inserter(sockets));
  }
  grpc::ServerBuilder builder;
  // gRPC's own listener ends for good where the process has no descriptor left.
  door_ = builder.experimental().AddExternalConnectionAcceptor(
      grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD, credentials);
  std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> interceptors;
  interceptors.push_back(std::make_unique<UnreadableRequests>(gate));
  builder.experimental().SetInterceptorCreators(std::move(interceptors));
  for (grpc::Service* service : services) builder.RegisterService(service);
  builder.RegisterCallbackGenericService(&unknown_);
  // The gate refuses what is too large with a reason; gRPC only what is far beyond.
  builder.SetMaxReceiveMessageSize(
      static_cast<int>(std::min<int64_t>(2 * gate.options().max_message_bytes + (1 << 20),
                                         std::numeric_limits<int>::max())));
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, options.max_streams_per_connection);
  // A call that waits for the store has a thread: a flood of them must find an end.
  builder.SetResourceQuota(grpc::ResourceQuota("server").SetMaxThreads(options.max_threads));
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS,
                             static_cast<int>(options.handshake_limit.count()));
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS,
                             static_cast<int>(options.idle_limit.count()));
  // Clients ask every 30 s whether the connection lives; a quarter-hour of silence is not a fault.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 20'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 60'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  server_ = builder.BuildAndStart();
  if (server_ == nullptr) {
    throw Error(ErrorCode::kInternal,
                "the gRPC server could not be started; gRPC does not say why");
  }
  SetServing(false);
  acceptor_ = std::make_unique<Acceptor>(
      std::move(sockets),
      Acceptor::Options{
          .port = "grpc",
          .limits = ConnectionsThatFit(options.connections),
          .metrics = gate.options().metrics,
          .take = [this](int connection) {
            grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters one;
            one.fd = connection;
            door_->HandleNewConnection(&one);
          }});
  gate.SetOnKnown([this](const std::string& peer) { acceptor_->Vouch(peer); });
}

Server::~Server() {
  if (server_) Shutdown(std::chrono::milliseconds(0));
}

void Server::SetServing(bool serving) {
  gate_.SetServing(serving);
  if (auto* health = server_->GetHealthCheckService()) health->SetServingStatus(serving);
}

std::string Server::WhyNotReady() {
  if (!gate_.serving()) return "it is starting or stopping";
  std::lock_guard lock(probe_);
  const MonotonicTime now = Clock::System().Monotonic();
  if (looked_ && now - *looked_ < std::chrono::seconds(1)) return unreachable_;
  unreachable_.clear();
  for (const std::string& address : addresses_) {
    if (unreachable_.empty() && !Answers(address, has_tls_))
      unreachable_ = "a connection to " + address + " was not answered";
  }
  looked_ = Clock::System().Monotonic();
  return unreachable_;
}

void Server::Shutdown(std::chrono::milliseconds grace) {
  SetServing(false);
  acceptor_->Stop();
  server_->Shutdown(std::chrono::system_clock::now() + grace);
  server_->Wait();
  gate_.SetOnKnown(nullptr);
}

std::shared_ptr<grpc::Channel> Server::InProcessChannel() {
  return server_->InProcessChannel({});
}

}  // namespace syncbn::coordinator
