// A device has not the memory that a tensor needs.
#pragma once

#include <cstddef>
#include <string>
#include <utility>

#include "base/error.h"

namespace syncbn::backend {

class OutOfDeviceMemory : public Error {
 public:
  OutOfDeviceMemory(std::string message, size_t available)
      : Error(ErrorCode::kResourceExhausted, std::move(message)), available_(available) {}

  // Bytes that the process could have had: what was free, and what it held.
  size_t available() const { return available_; }

 private:
  size_t available_;
};

}  // namespace syncbn::backend
