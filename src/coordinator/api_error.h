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

}  // namespace syncbn::coordinator
