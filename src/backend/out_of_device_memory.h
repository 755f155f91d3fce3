// A device has not the memory that a tensor needs.
#pragma once

#include <string>
#include <utility>

#include "base/error.h"

namespace syncbn::backend {

class OutOfDeviceMemory : public Error {
 public:
  explicit OutOfDeviceMemory(std::string message)
      : Error(ErrorCode::kResourceExhausted, std::move(message)) {}
};

}  // namespace syncbn::backend
