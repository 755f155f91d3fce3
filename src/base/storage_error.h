// The error of a disk that is full.
#pragma once

#include <string>
#include <utility>

#include "base/error.h"

namespace syncbn {

// RESOURCE_EXHAUSTED: a disk or a quota is full, or a file would be too long. Told apart from memory, slots
// and limits, since what is to be done about it is something else. What base/file.h throws then.
class StorageError : public Error {
 public:
  explicit StorageError(std::string message)
      : Error(ErrorCode::kResourceExhausted, std::move(message)) {}
};

}  // namespace syncbn
