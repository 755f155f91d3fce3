// Operations that this back end does not have yet.
#pragma once

#include <string>

#include "base/error.h"

namespace syncbn::backend::cuda {

[[noreturn]] inline void NotYet(const char* operation) {
  throw Error(ErrorCode::kUnimplemented, std::string(operation) + " is not there yet on a GPU");
}

}  // namespace syncbn::backend::cuda
