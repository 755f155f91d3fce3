// The end of a switch over an enum: a value that nobody has taught it is an error, and never the
// arithmetic of another one. A switch over an `enum class` has no `default`, so that the compiler, too, names
// what is missing; one over an enum of protobuf, which is open, has this as its `default`.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"

namespace syncbn {

// Throws UNIMPLEMENTED: "activation: 7 is not built into this program". `what` names the setting or the
// operation.
[[noreturn]] inline void ThrowUnknownValue(std::string_view what, const std::string& value) {
  throw Error(ErrorCode::kUnimplemented,
              std::string(what) + ": " + value + " is not built into this program");
}
[[noreturn]] inline void ThrowUnknownValue(std::string_view what, int value) {
  ThrowUnknownValue(what, std::to_string(value));
}

}  // namespace syncbn
