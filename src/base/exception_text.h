// Words for whatever was thrown.
#pragma once

#include <exception>
#include <string>

namespace syncbn {

// Of a thing that was thrown without being a std::exception.
inline constexpr const char* kUnknownException = "an exception that is no std::exception";

// what() of the exception, or kUnknownException.
inline std::string ExceptionText(const std::exception_ptr& exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const std::exception& error) {
    return error.what();
  } catch (...) {
    return kUnknownException;
  }
}

}  // namespace syncbn
