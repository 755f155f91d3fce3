#include "report/connection.h"

#include <grpc/grpc.h>

#include <algorithm>

#include "base/file.h"
#include "base/file_limit.h"
#include "rpc/status.h"

namespace syncbn::report {

using std::chrono::milliseconds;

// Of the connection, and of what else a run opens.
constexpr uint64_t kLeastFiles = 32;

bool IsSuperseded(const grpc::Status& status) {
  if (status.error_code() != grpc::StatusCode::ABORTED) return false;
  const auto info = rpc::DetailOf<v1::ErrorInfo>(status);
  return info && info->reason() == "ATTEMPT_SUPERSEDED";
}

std::string Describe(const grpc::Status& status) {
  return std::string(rpc::StatusCodeName(status.error_code())) +
         (status.error_message().empty() ? "" : ": " + status.error_message());
}

Connection::Connection(const ReportSettings& settings)
    : authorization_(settings.token.empty() ? "" : "Bearer " + settings.token) {
  RequireFiles(kLeastFiles, "a process that reports to a coordinator");
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS,
                   static_cast<int>(settings.first_backoff.count()));
  // In spite of its name: the time that one try may take, with the handshake of TLS on a busy machine.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS,
                   static_cast<int>(settings.connect_time.count()));
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS,
                   static_cast<int>(settings.last_backoff.count()));
  // The server allows one ping in 20 s.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // A proxy for the web, set in somebody's environment, does not lead to a coordinator.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  std::shared_ptr<grpc::ChannelCredentials> credentials;
  if (settings.tls_ca.empty()) {
    credentials = grpc::InsecureChannelCredentials();
  } else {
    grpc::SslCredentialsOptions options;
    options.pem_root_certs = ReadFile(settings.tls_ca);
    if (!settings.tls_certificate.empty()) {
      options.pem_cert_chain = ReadFile(settings.tls_certificate);
      options.pem_private_key = ReadFile(settings.tls_key);
    }
    credentials = grpc::SslCredentials(options);
  }
  channel_ = grpc::CreateCustomChannel(settings.coordinator, credentials, arguments);
  stub_ = v1::WorkerService::NewStub(channel_);
}

void Connection::Prepare(grpc::ClientContext& context) const {
  if (!authorization_.empty()) context.AddMetadata("authorization", authorization_);
}

void Connection::Prepare(grpc::ClientContext& context, milliseconds time, bool waits) const {
  Prepare(context);
  context.set_wait_for_ready(waits);
  context.set_deadline(std::chrono::system_clock::now() + time);
}

bool Connection::IsAbsence(const grpc::Status& status) {
  const grpc::StatusCode code = status.error_code();
  return code == grpc::StatusCode::UNAVAILABLE || code == grpc::StatusCode::CANCELLED ||
         (code == grpc::StatusCode::DEADLINE_EXCEEDED && !IsUp());
}

void Connection::ResetBackoff() {
  grpc::experimental::ChannelResetConnectionBackoff(channel_.get());
}

Backoff::Backoff(const ReportSettings& settings)
    : first_(settings.first_backoff),
      last_(settings.last_backoff),
      next_(first_),
      state_(static_cast<uint64_t>(settings.rank) + 1) {}

milliseconds Backoff::Next() {
  // Between a half and the whole.
  state_ = state_ * 6364136223846793005u + 1442695040888963407u;
  const double part = 0.5 + static_cast<double>(state_ >> 33) / (1ull << 32);
  const milliseconds delay(static_cast<int64_t>(part * static_cast<double>(next_.count())));
  next_ = std::min(next_ * 2, last_);
  return std::max(delay, milliseconds(1));
}

}  // namespace syncbn::report
