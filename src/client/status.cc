#include "client/status.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <map>

#include "base/text.h"
#include "coordinator/api_error.h"
#include "rpc/status.h"

namespace syncbn::client {
namespace {

ErrorCode CodeOf(grpc::StatusCode code) {
  switch (code) {
    case grpc::StatusCode::CANCELLED: return ErrorCode::kCancelled;
    case grpc::StatusCode::INVALID_ARGUMENT: return ErrorCode::kInvalidArgument;
    case grpc::StatusCode::DEADLINE_EXCEEDED: return ErrorCode::kDeadlineExceeded;
    case grpc::StatusCode::NOT_FOUND: return ErrorCode::kNotFound;
    case grpc::StatusCode::ALREADY_EXISTS: return ErrorCode::kAlreadyExists;
    case grpc::StatusCode::UNAUTHENTICATED:
    case grpc::StatusCode::PERMISSION_DENIED: return ErrorCode::kPermissionDenied;
    case grpc::StatusCode::RESOURCE_EXHAUSTED: return ErrorCode::kResourceExhausted;
    case grpc::StatusCode::FAILED_PRECONDITION: return ErrorCode::kFailedPrecondition;
    case grpc::StatusCode::ABORTED: return ErrorCode::kAborted;
    case grpc::StatusCode::OUT_OF_RANGE: return ErrorCode::kOutOfRange;
    case grpc::StatusCode::UNIMPLEMENTED: return ErrorCode::kUnimplemented;
    case grpc::StatusCode::UNAVAILABLE: return ErrorCode::kUnavailable;
    case grpc::StatusCode::DATA_LOSS: return ErrorCode::kDataLoss;
    default: return ErrorCode::kInternal;
  }
}

// What gRPC says of a connection is a chain of reasons; the last one is the cause.
std::string CauseOf(const std::string& message) {
  size_t begin = 0;
  for (const std::string_view lead : {"to remote host: ", "last error: ", "UNKNOWN: ", "UNAVAILABLE: "}) {
    const size_t at = message.rfind(lead);
    if (at != std::string::npos) begin = std::max(begin, at + lead.size());
  }
  return begin == message.size() ? "no reason given" : message.substr(begin);
}

bool Mentions(const std::string& text, std::string_view word) {
  return text.find(word) != std::string::npos;
}

// What is wrong between a server and a client of which at least one speaks TLS, and what to do. gRPC
// tells it in words of its library; what the server has against a client's certificate it does not
// tell at all, but hangs up.
std::optional<std::string> TlsFault(const std::string& message, const CallTarget& target) {
  const std::string& at = target.address;
  // Which of them depends on who hangs up in the middle of whose words.
  const bool hung_up = Mentions(message, "ocket closed") || Mentions(message, "onnection reset") ||
                       Mentions(message, "roken pipe") || Mentions(message, "nwrap failed");
  if (!target.tls) {
    if (!hung_up) return std::nullopt;
    return "what listens at " + at + " hung up\n  if it uses TLS, give --tls-ca FILE or SYNCBN_TLS_CA; "
           "if not, it is just ending, has too many connections (of this machine, or in all), or is no "
           "coordinator";
  }
  if (Mentions(message, "wrong version number") || Mentions(message, "WRONG_VERSION_NUMBER")) {
    return "what listens at " + at + " does not use TLS\n  leave out --tls-ca and SYNCBN_TLS_CA";
  }
  if (Mentions(message, "Peer name")) {
    return "the certificate of the server at " + at + " is for another name than " +
           at.substr(0, at.rfind(':')) + "\n  give --coordinator a name that is in it: 'openssl s_client "
           "-connect " + at + " | openssl x509 -noout -ext subjectAltName' shows them";
  }
  if (Mentions(message, "certificate verify failed") || Mentions(message, "CERTIFICATE_VERIFY_FAILED")) {
    return "the certificate of the server at " + at + " is not signed by the authority in --tls-ca, or "
           "has expired\n  give the file of the right authority with --tls-ca or SYNCBN_TLS_CA, or have "
           "the server's certificate renewed";
  }
  if (Mentions(message, "andshake")) {
    return "the server at " + at + " and this program cannot agree on TLS: " + CauseOf(message) +
           "\n  compare --tls-ca, --tls-cert and --tls-key with what the server was started with";
  }
  if (!hung_up) return std::nullopt;
  return "the server at " + at + " hung up after the TLS handshake\n  " +
         (target.shows_certificate
              ? "it does not take the certificate in --tls-cert, which the authority that the server "
                "trusts (its --tls-client-ca) must have signed; or it is just ending, or has too many connections"
              : "if it asks for certificates of its clients, give --tls-cert and --tls-key; if not, "
                "it is just ending, or has too many connections");
}

// gRPC's own limits, of which it tells in its message only: "... larger than max (SIZE vs. LIMIT)".
struct SizeRefusal {
  int64_t bytes = 0, limit = 0;
};
std::optional<SizeRefusal> SizeRefusalOf(const grpc::Status& status) {
  if (status.error_code() != grpc::StatusCode::RESOURCE_EXHAUSTED || !status.error_details().empty()) {
    return std::nullopt;
  }
  constexpr std::string_view kLead = "message larger than max (";
  const size_t at = status.error_message().find(kLead);
  if (at == std::string::npos) return std::nullopt;
  SizeRefusal refusal;
  const int read = std::sscanf(status.error_message().c_str() + at + kLead.size(),
                               "%" SCNd64 " vs. %" SCNd64, &refusal.bytes, &refusal.limit);
  return read == 2 ? std::optional(refusal) : std::nullopt;
}

[[noreturn]] void ThrowTooLarge(const SizeRefusal& refusal, const CallTarget& target) {
  const bool answer = refusal.limit == target.max_answer_bytes;
  const int64_t limit =
      answer || target.max_request_bytes == 0 ? refusal.limit : target.max_request_bytes;
  throw coordinator::ApiError(
      ErrorCode::kResourceExhausted, "TOO_LARGE",
      (answer ? "the answer of the coordinator at " + target.address + " has "
              : "the request has ") +
          std::to_string(refusal.bytes) + " bytes; " + (answer ? "this program" : "this server") +
          " takes at most " + std::to_string(limit) +
          (answer ? ": ask for less at once" : ": send less, e.g. a shorter run file"),
      {{"bytes", std::to_string(refusal.bytes)}, {"limit", std::to_string(limit)}});
}

// The faults as `syncbn check` prints them. A server sends as many as fit into gRPC's headers.
std::string RunFileText(const std::string& message, const v1::ErrorInfo& info,
                        const v1::RunFileErrors& errors) {
  std::string text;
  for (const v1::RunFileError& error : errors.errors()) text += error.text();
  if (message.starts_with(text)) return message;
  const auto counted = info.metadata().find("errors");
  const int shown = errors.errors_size();
  const int all = counted == info.metadata().end() ? shown : std::atoi(counted->second.c_str());
  text += Plural(std::max(all, shown), "error") + " in " + errors.errors(0).file();
  if (all > shown) text += "; the first " + std::to_string(shown) + " are shown";
  return text;
}

}  // namespace

void ThrowStatus(const grpc::Status& status, const CallTarget& target) {
  std::string message = status.error_message();
  if (const auto info = rpc::DetailOf<v1::ErrorInfo>(status)) {
    const std::map<std::string, std::string> metadata(info->metadata().begin(),
                                                      info->metadata().end());
    const auto errors = rpc::DetailOf<v1::RunFileErrors>(status);
    if (errors && errors->errors_size() > 0) message = RunFileText(message, *info, *errors);
    if (status.error_code() == grpc::StatusCode::UNAUTHENTICATED) {
      message += "\n  give your token with --token-file FILE or SYNCBN_USER_TOKEN";
    }
    throw coordinator::ApiError(CodeOf(status.error_code()), info->reason(), message, metadata);
  }
  if (const auto refusal = SizeRefusalOf(status)) ThrowTooLarge(*refusal, target);
  switch (status.error_code()) {
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      throw Unreachable("the coordinator at " + target.address + " did not answer within " +
                        FormatDouble(target.deadline_seconds) +
                        " s; it may be overloaded, or the network in between drops packets");
    case grpc::StatusCode::UNIMPLEMENTED:
      throw Error(ErrorCode::kUnimplemented,
                  "what answers at " + target.address + " does not know this request (" + message +
                      "): no coordinator of syncbn, or one of another version");
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      throw Error(ErrorCode::kResourceExhausted, "the coordinator at " + target.address +
                                                     " takes no more calls at the moment (" +
                                                     message + "): try again later");
    default: break;
  }
  if (IsLostConnection(status)) {
    if (const auto fault = TlsFault(message, target)) throw Unreachable(*fault);
    throw Unreachable("no coordinator answers at " + target.address + ": " + CauseOf(message) +
                      "\n  start one with 'syncbn serve --data DIR', or name another with --coordinator "
                      "HOST:PORT or SYNCBN_SERVER");
  }
  throw Error(CodeOf(status.error_code()), message).AddFrame("asking the coordinator at " + target.address);
}

bool IsRefusedForSize(const grpc::Status& status) {
  return SizeRefusalOf(status).has_value();
}

bool IsLostConnection(const grpc::Status& status) {
  switch (status.error_code()) {
    case grpc::StatusCode::UNAVAILABLE: return true;
    // How streams end when the server goes away, as gRPC sees it; a server's own answer has a reason.
    case grpc::StatusCode::UNKNOWN:
    case grpc::StatusCode::INTERNAL:
    case grpc::StatusCode::CANCELLED: return status.error_details().empty();
    default: return false;
  }
}

}  // namespace syncbn::client
