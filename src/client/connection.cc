#include "client/connection.h"

#include <grpc/support/log.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include <cstdlib>
#include <cstring>
#include <mutex>
#include <thread>

#include "base/certificate.h"
#include "base/file.h"
#include "base/file_limit.h"

namespace syncbn::client {
namespace {

constexpr int kMaxAnswerBytes = 64 << 20;
constexpr uint64_t kLeastFiles = 16;

// What gRPC has for the whole process only. What went wrong with a connection is told once, in our
// words; its own lines come on top of a live line and are for its developers.
void SilenceGrpc() {
  static std::once_flag once;
  std::call_once(once, [] {
    if (std::getenv("GRPC_VERBOSITY") != nullptr) return;
    gpr_set_log_function([](gpr_log_func_args* line) {
      // It ends the program after this one.
      if (std::strncmp(line->message, "assertion failed", 16) == 0) {
        std::fprintf(stderr, "%s:%d: %s\n", line->file, line->line, line->message);
      }
    });
  });
}

void CheckAddress(const std::string& address) {
  constexpr std::string_view kSocket = "unix:/";
  if (address.starts_with(kSocket) && address.size() > kSocket.size()) return;
  const size_t colon = address.rfind(':');
  const std::string port = colon == std::string::npos ? "" : address.substr(colon + 1);
  const bool good = colon != 0 && !port.empty() && port.size() <= 5 &&
                    port.find_first_not_of("0123456789") == std::string::npos &&
                    std::stoi(port) >= 1 && std::stoi(port) <= 65535 &&
                    address.find_first_of(" \t/") == std::string::npos;
  if (good) return;
  throw Error(ErrorCode::kInvalidArgument, "the coordinator's address \"" + address +
                                               "\" is not HOST:PORT, e.g. 127.0.0.1:7700, nor "
                                               "unix:/PATH");
}

std::shared_ptr<grpc::ChannelCredentials> CredentialsOf(const Connection::Options& options) {
  if (options.tls_ca.empty()) {
    if (!options.tls_cert.empty() || !options.tls_key.empty()) {
      throw Error(ErrorCode::kInvalidArgument, "--tls-cert and --tls-key need --tls-ca as well");
    }
    return grpc::InsecureChannelCredentials();
  }
  if (options.tls_cert.empty() != options.tls_key.empty()) {
    throw Error(ErrorCode::kInvalidArgument, "--tls-cert and --tls-key go together: one is missing");
  }
  // gRPC would only say that it has no address to connect to.
  CheckCertificate(options.tls_ca);
  if (!options.tls_cert.empty()) {
    CheckKeyOf(options.tls_cert, options.tls_key);
    CheckNotExpired(options.tls_cert, Clock::System().Now());
  }
  grpc::SslCredentialsOptions ssl;
  ssl.pem_root_certs = ReadFile(options.tls_ca);
  if (!options.tls_cert.empty()) {
    ssl.pem_cert_chain = ReadFile(options.tls_cert);
    ssl.pem_private_key = ReadFile(options.tls_key);
  }
  return grpc::SslCredentials(ssl);
}

grpc::ChannelArguments Arguments() {
  grpc::ChannelArguments arguments;
  // A peer that has silently gone is noticed; the server allows a ping every 20 s.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // A coordinator that is being restarted is found again soon.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2'000);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 5'000);
  // Every mistake of a long run file comes in the trailers, which gRPC cuts at 8 KiB otherwise.
  arguments.SetInt(GRPC_ARG_MAX_METADATA_SIZE, 4 << 20);
  arguments.SetMaxReceiveMessageSize(kMaxAnswerBytes);
  // Proxies are for the web; a coordinator is reached directly.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return arguments;
}

}  // namespace

Connection::Connection(Options options) : options_(std::move(options)) {
  SilenceGrpc();
  RequireFiles(kLeastFiles, "this program");
  CheckAddress(options_.address);
  if (options_.token.find_first_of("\r\n") != std::string::npos) {
    throw Error(ErrorCode::kInvalidArgument, "the token has a line break in it");
  }
  channel_ = grpc::CreateCustomChannel(options_.address, CredentialsOf(options_), Arguments());
  stubs_ = {v1::JobService::NewStub(channel_),     v1::LogService::NewStub(channel_),
            v1::MetricsService::NewStub(channel_), v1::ClusterService::NewStub(channel_),
            v1::AdminService::NewStub(channel_),   v1::StudyService::NewStub(channel_)};
}

void Connection::Prepare(grpc::ClientContext& context) const {
  // As the metadata size above: the server then leaves nothing out.
  context.AddMetadata("syncbn-max-details", "1000000");
  if (!options_.token.empty()) context.AddMetadata("authorization", "Bearer " + options_.token);
}

bool Connection::Rest(std::chrono::milliseconds time) {
  if (channel_->GetState(false) == GRPC_CHANNEL_READY) {
    std::this_thread::sleep_for(time);
    return false;
  }
  return channel_->WaitForConnected(std::chrono::system_clock::now() + time);
}

CallTarget Connection::target() const {
  return {.address = options_.address,
          .tls = !options_.tls_ca.empty(),
          .shows_certificate = !options_.tls_cert.empty(),
          .deadline_seconds = std::chrono::duration<double>(options_.call_deadline).count(),
          .max_answer_bytes = kMaxAnswerBytes};
}

int64_t Connection::MaxRequestBytes() {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + options_.call_deadline);
  Prepare(context);
  v1::Server server;
  const grpc::Status status =
      stub<v1::ClusterService::Stub>().GetServer(&context, v1::GetServerRequest(), &server);
  return status.ok() ? server.max_message_bytes() : 0;
}

void Connection::Retry(const std::function<grpc::Status(grpc::ClientContext&)>& call) {
  std::chrono::milliseconds pause = options_.first_pause;
  for (int left = options_.tries;; --left) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + options_.call_deadline);
    Prepare(context);
    const grpc::Status status = call(context);
    if (status.ok()) return;
    if (left <= 1 || status.error_code() != grpc::StatusCode::UNAVAILABLE) {
      CallTarget whom = target();
      if (IsRefusedForSize(status)) whom.max_request_bytes = MaxRequestBytes();
      ThrowStatus(status, whom);
    }
    Rest(pause);
    pause *= 2;
  }
}

}  // namespace syncbn::client
