// The gRPC server: listens, hands calls to the services, and says through the standard health
// service whether it serves. Standard reflection is on; neither asks for a token, and neither
// knows anything but the shape of the API. gRPC's own messages on standard error (handshakes that
// failed and the like) are left out unless GRPC_VERBOSITY is set in the environment.
//
// A server begins not serving: it listens, its health is NOT_SERVING and the gate (call_gate.h)
// answers UNAVAILABLE until SetServing(true).
#pragma once

#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/service/acceptor.h"
#include "coordinator/service/call_gate.h"
#include "coordinator/service/tls.h"
#include "coordinator/service/unknown_method.h"

namespace syncbn::coordinator {

class Server {
 public:
  struct Options {
    // Port 0: a free one.
    std::vector<std::string> addresses = {"127.0.0.1:7700"};
    std::optional<TlsFiles> tls;
    // Without TLS, tokens and metrics travel in the open: on loopback only, or where this says that
    // the network is trusted.
    bool allow_plaintext = false;
    // 0 each: as many as fit (acceptor.h).
    ConnectionLimits connections;
    // A client that has connected and then does not speak HTTP/2, or TLS, is left to itself; and
    // one that has no call under way for long.
    std::chrono::milliseconds handshake_limit = std::chrono::seconds(20);
    std::chrono::milliseconds idle_limit = std::chrono::minutes(15);
    int max_streams_per_connection = 1000;
    // Of the calls that run at the same time; beyond that gRPC answers RESOURCE_EXHAUSTED.
    int max_threads = 1000;
  };

  // Starts to listen. Lets "local" callers in without a token only when every address is loopback
  // (authenticator.h). Throws before anything listens: FAILED_PRECONDITION for plaintext beyond
  // loopback, and for an address beyond loopback while there are no tokens; INVALID_ARGUMENT for
  // files of TLS that cannot be used; UNAVAILABLE for an address that cannot be had.
  // Services and gate outlive the server.
  Server(const Options& options, CallGate& gate, const std::vector<grpc::Service*>& services);
  // Shuts down at once.
  ~Server();

  // With the ports that were chosen, in the order of the options.
  const std::vector<std::string>& addresses() const { return addresses_; }
  const std::vector<grpc::Service*>& services() const { return services_; }
  void SetServing(bool serving);
  // Why a client would not be served now: told so, or found out by connecting to each address and
  // waiting (2 s at most, and again after a second at the earliest) for the server's first words.
  // Empty: it serves.
  std::string WhyNotReady();

  // Takes no new calls, lets those that run end until the time is up, then cancels them. Streams
  // that watch do not end by themselves: stop them first (FollowerPool::Stop).
  void Shutdown(std::chrono::milliseconds grace);

  // A channel to this server inside the process: what it says of its caller is believed
  // (call_gate.cc).
  std::shared_ptr<grpc::Channel> InProcessChannel();

 private:
  CallGate& gate_;
  std::vector<grpc::Service*> services_;
  std::vector<std::string> addresses_;
  bool has_tls_;
  UnknownMethods unknown_;
  std::mutex probe_;
  std::string unreachable_;  // why, when it was last looked at
  std::optional<MonotonicTime> looked_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> door_;
  // Last: it hands connections to what stands above.
  std::unique_ptr<Acceptor> acceptor_;
};

}  // namespace syncbn::coordinator
