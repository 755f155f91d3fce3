#include "app/exit_code.h"

#include "base/storage_error.h"
#include "coordinator/api_error.h"

namespace syncbn::app {
namespace {

int ExitCodeOf(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kNotFound:
    case ErrorCode::kAlreadyExists:
    case ErrorCode::kPermissionDenied:
    case ErrorCode::kFailedPrecondition:
    case ErrorCode::kOutOfRange:
    case ErrorCode::kUnimplemented: return kWrongInput;
    case ErrorCode::kResourceExhausted: return kResources;
    case ErrorCode::kDeadlineExceeded: return kStall;
    case ErrorCode::kAborted:
    case ErrorCode::kUnavailable: return kPeerFailed;
    case ErrorCode::kDataLoss: return kDamagedData;
    case ErrorCode::kCancelled: return kStopped;
    case ErrorCode::kInternal: return kFailure;
  }
  return kFailure;
}

}  // namespace

int ExitCodeOf(const Error& error) {
  if (dynamic_cast<const StorageError*>(&error) != nullptr) return kStorage;
  // What a coordinator finds too large it finds too large again; it is not memory that is missing.
  const auto* api = dynamic_cast<const coordinator::ApiError*>(&error);
  if (api != nullptr && api->reason() == "TOO_LARGE") return kWrongInput;
  return ExitCodeOf(error.code());
}

}  // namespace syncbn::app
