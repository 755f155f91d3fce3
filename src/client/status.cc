#include "client/status.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <optional>

#include "base/text.h"
#include "coordinator/api_error.h"
#include "syncbn/v1/error.pb.h"

namespace syncbn::client {
namespace {

struct Details {
  std::optional<v1::ErrorInfo> info;
  v1::RunFileErrors run_file;
};

// Detail messages may carry the type URLs of google.rpc: the fields are the same.
bool Holds(const google::protobuf::Any& any, std::string_view name) {
  const std::string_view url = any.type_url();
  return url.substr(url.rfind('/') + 1).ends_with(name);
}

Details DetailsOf(const grpc::Status& status) {
  Details details;
  v1::ErrorStatus parsed;
  if (status.error_details().empty() || !parsed.ParseFromString(status.error_details())) {
    return details;
  }
  for (const google::protobuf::Any& any : parsed.details()) {
    v1::ErrorInfo info;
    if (Holds(any, ".ErrorInfo") && info.ParseFromString(any.value())) details.info = info;
    if (Holds(any, ".RunFileErrors")) (void)details.run_file.ParseFromString(any.value());
  }
  return details;
}

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
  for (const std::string_view lead : {"to remote host: ", "last error: ", "UNKNOWN: "}) {
    const size_t at = message.rfind(lead);
    if (at != std::string::npos) return message.substr(at + lead.size());
  }
  return message.empty() ? "no reason given" : message;
}

bool Mentions(const std::string& text, std::string_view word) {
  return text.find(word) != std::string::npos;
}

std::string AdviceOn(const std::string& message, const CallTarget& target) {
  if (target.tls && Mentions(message, "WRONG_VERSION_NUMBER")) {
    return "the server does not use TLS: leave out --tls-ca";
  }
  if (target.tls && (Mentions(message, "CERTIFICATE_VERIFY_FAILED") || Mentions(message, "Peer name"))) {
    return "the server's certificate is not signed by the authority in --tls-ca, or is for another name";
  }
  if (target.tls && Mentions(message, "andshake")) {
    return "the TLS handshake failed: compare --tls-ca, --tls-cert and --tls-key with the server's";
  }
  // Which of them depends on who hangs up in the middle of whose words.
  if (!target.tls && (Mentions(message, "ocket closed") || Mentions(message, "onnection reset") ||
                      Mentions(message, "roken pipe"))) {
    return "something listens there and hangs up: if the server uses TLS, give --tls-ca FILE";
  }
  return "start one with 'syncbn serve --data DIR', or name another with --coordinator HOST:PORT "
         "or SYNCBN_SERVER";
}

// The faults as `syncbn check` prints them. A server sends as many as fit into gRPC's headers.
std::string RunFileText(const std::string& message, const Details& details) {
  std::string text;
  for (const v1::RunFileError& error : details.run_file.errors()) text += error.text();
  if (message.starts_with(text)) return message;
  const auto counted = details.info->metadata().find("errors");
  const int shown = details.run_file.errors_size();
  const int all = counted == details.info->metadata().end() ? shown : std::atoi(counted->second.c_str());
  text += Plural(std::max(all, shown), "error") + " in " + details.run_file.errors(0).file();
  if (all > shown) text += "; the first " + std::to_string(shown) + " are shown";
  return text;
}

}  // namespace

void ThrowStatus(const grpc::Status& status, const CallTarget& target) {
  const Details details = DetailsOf(status);
  std::string message = status.error_message();
  if (details.info) {
    const std::map<std::string, std::string> metadata(details.info->metadata().begin(),
                                                      details.info->metadata().end());
    if (details.run_file.errors_size() > 0) message = RunFileText(message, details);
    if (status.error_code() == grpc::StatusCode::UNAUTHENTICATED) {
      message += "\n  give your token with --token-file FILE or SYNCBN_USER_TOKEN";
    }
    throw coordinator::ApiError(CodeOf(status.error_code()), details.info->reason(), message, metadata);
  }
  switch (status.error_code()) {
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      throw Unreachable("the coordinator at " + target.address + " did not answer within " +
                        FormatDouble(target.deadline_seconds) +
                        " s; it may be overloaded, or the network in between drops packets");
    case grpc::StatusCode::UNIMPLEMENTED:
      throw Error(ErrorCode::kUnimplemented,
                  "what answers at " + target.address + " does not know this request (" + message +
                      "): no coordinator of syncbn, or one of another version");
    default: break;
  }
  if (IsLostConnection(status)) {
    throw Unreachable("no coordinator answers at " + target.address + ": " + CauseOf(message) + "\n  " +
                      AdviceOn(message, target));
  }
  throw Error(CodeOf(status.error_code()), message).AddFrame("asking the coordinator at " + target.address);
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

std::string ReasonOf(const grpc::Status& status) {
  const Details details = DetailsOf(status);
  return details.info ? details.info->reason() : std::string();
}

}  // namespace syncbn::client
