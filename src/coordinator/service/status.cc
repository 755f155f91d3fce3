#include "coordinator/service/status.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/utf8.h"

namespace syncbn::coordinator {
namespace {

constexpr const char* kDomain = "syncbn";
// The message is a header of its own, in which every byte that is not plain ASCII takes three.
constexpr size_t kMostMessage = 1024;

grpc::Status MakeStatus(grpc::StatusCode code, const std::string& message, std::string reason,
                        const std::map<std::string, std::string>& metadata,
                        const v1::RunFileErrors* run_file_errors, size_t max_details) {
  const std::string text = Utf8Beginning(message, kMostMessage);
  v1::ErrorStatus status;
  status.set_code(code);
  status.set_message(text);
  v1::ErrorInfo info;
  info.set_reason(std::move(reason));
  info.set_domain(kDomain);
  // They may quote what a client has sent, cut somewhere.
  for (const auto& [key, value] : metadata)
    (*info.mutable_metadata())[key] = Utf8Beginning(value, kMostMessage);
  status.add_details()->PackFrom(info);
  if (run_file_errors != nullptr) {
    // As many faults as fit; the reader sees from the message how many there are.
    v1::RunFileErrors fitting = *run_file_errors;
    while (fitting.errors_size() > 1 &&
           status.ByteSizeLong() + fitting.ByteSizeLong() > max_details) {
      fitting.mutable_errors()->RemoveLast();
    }
    status.add_details()->PackFrom(fitting);
  }
  return grpc::Status(code, text, status.SerializeAsString());
}

}  // namespace

RunFileError::RunFileError(const config::Diagnostics& diagnostics, const std::string& name,
                           const std::string& reason)
    : ApiError(ErrorCode::kInvalidArgument, reason, diagnostics.Format(name),
               {{"errors", std::to_string(diagnostics.all().size())}}) {
  for (const config::Diagnostic& fault : diagnostics.all()) {
    v1::RunFileError& error = *errors_.add_errors();
    // An override is a source of its own, named after its text.
    error.set_file(fault.source.starts_with("--set ") ? "--set" : fault.source);
    error.set_line(fault.line);
    error.set_column(fault.column);
    error.set_path(fault.path);
    error.set_message(fault.message);
    error.set_text(config::FormatDiagnostic(fault));
  }
}

grpc::StatusCode ToStatusCode(ErrorCode code) {
  switch (code) {
    case ErrorCode::kCancelled:
      return grpc::StatusCode::CANCELLED;
    case ErrorCode::kInvalidArgument:
      return grpc::StatusCode::INVALID_ARGUMENT;
    case ErrorCode::kDeadlineExceeded:
      return grpc::StatusCode::DEADLINE_EXCEEDED;
    case ErrorCode::kNotFound:
      return grpc::StatusCode::NOT_FOUND;
    case ErrorCode::kAlreadyExists:
      return grpc::StatusCode::ALREADY_EXISTS;
    case ErrorCode::kPermissionDenied:
      return grpc::StatusCode::PERMISSION_DENIED;
    case ErrorCode::kResourceExhausted:
      return grpc::StatusCode::RESOURCE_EXHAUSTED;
    case ErrorCode::kFailedPrecondition:
      return grpc::StatusCode::FAILED_PRECONDITION;
    case ErrorCode::kAborted:
      return grpc::StatusCode::ABORTED;
    case ErrorCode::kOutOfRange:
      return grpc::StatusCode::OUT_OF_RANGE;
    case ErrorCode::kUnimplemented:
      return grpc::StatusCode::UNIMPLEMENTED;
    case ErrorCode::kInternal:
      return grpc::StatusCode::INTERNAL;
    case ErrorCode::kUnavailable:
      return grpc::StatusCode::UNAVAILABLE;
    case ErrorCode::kDataLoss:
      return grpc::StatusCode::DATA_LOSS;
  }
  return grpc::StatusCode::UNKNOWN;
}

std::string ReasonOf(const Error& error) {
  if (const auto* api = dynamic_cast<const ApiError*>(&error)) return api->reason();
  if (error.code() == ErrorCode::kResourceExhausted &&
      (error.message().find("disk is full") != std::string::npos ||
       error.message().find("No space left") != std::string::npos)) {
    return "STORE_FULL";
  }
  return std::string(ErrorCodeName(error.code()));
}

grpc::Status ToStatus(const Error& error, size_t max_details) {
  std::map<std::string, std::string> metadata;
  if (const auto* api = dynamic_cast<const ApiError*>(&error)) metadata = api->metadata();
  const auto* run_file = dynamic_cast<const RunFileError*>(&error);
  const std::string reason = ReasonOf(error);
  // The one code of gRPC's that ours have no name for: only a server's door knows it.
  const grpc::StatusCode code = reason == "UNAUTHENTICATED" ? grpc::StatusCode::UNAUTHENTICATED
                                                            : ToStatusCode(error.code());
  return MakeStatus(code, error.what(), reason, metadata,
                    run_file == nullptr ? nullptr : &run_file->errors(), max_details);
}

grpc::Status ToStatus(const std::exception_ptr& thrown, size_t max_details,
                      const std::string& where) {
  try {
    std::rethrow_exception(thrown);
  } catch (const Error& error) {
    return ToStatus(error, max_details);
  } catch (const std::bad_alloc&) {
    return ToStatus(Error(ErrorCode::kResourceExhausted, "the coordinator is out of memory"));
  } catch (...) {
    return ToStatus(
        Error(ErrorCode::kInternal, "the coordinator met a fault of its own; " + where));
  }
}

}  // namespace syncbn::coordinator
