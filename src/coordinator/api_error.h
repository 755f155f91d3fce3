// An Error with the machine-readable reason that goes with it in the API (syncbn.v1.ErrorInfo).
#pragma once

#include <map>
#include <string>
#include <utility>

#include "base/error.h"

namespace syncbn::coordinator {

class ApiError : public Error {
 public:
  // `reason` is one of those that error.proto lists.
  ApiError(ErrorCode code, std::string reason, std::string message,
           std::map<std::string, std::string> metadata = {})
      : Error(code, std::move(message)),
        reason_(std::move(reason)),
        metadata_(std::move(metadata)) {}

  const std::string& reason() const { return reason_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  std::string reason_;
  std::map<std::string, std::string> metadata_;
};

// FIELD_INVALID, of which programs learn the field's name: the only place that makes one. `more` is
// further metadata.
[[noreturn]] inline void ThrowFieldInvalid(const std::string& field, const std::string& message,
                                           ErrorCode code = ErrorCode::kInvalidArgument,
                                           std::map<std::string, std::string> more = {}) {
  more["field"] = field;
  throw ApiError(code, "FIELD_INVALID", message, std::move(more));
}

}  // namespace syncbn::coordinator
