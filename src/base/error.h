// The one exception type of the program.
//
// An Error carries a code (what kind of failure: decides exit code, gRPC status and whether a retry
// makes sense), a message (what happened, and what to do), and frames (where: each layer of the
// program that knows something the thrower did not adds one line on the way up).
#pragma once

#include <exception>
#include <new>
#include <string>
#include <string_view>
#include <vector>

namespace syncbn {

// The codes are a subset of gRPC's, with the same meaning.
enum class ErrorCode {
  kCancelled,           // stopped on request
  kInvalidArgument,     // the caller gave something wrong; the same call fails again
  kDeadlineExceeded,    // a wait ended without progress
  kNotFound,            // a named thing does not exist
  kAlreadyExists,       // a thing to be created is there
  kPermissionDenied,    // not allowed
  kResourceExhausted,   // memory, disk, slots
  kFailedPrecondition,  // not in this state; fix the state first
  kAborted,             // a peer failed, or a conflict: retry from a higher level
  kOutOfRange,          // past the end of what exists
  kUnimplemented,       // not built in, or not supported
  kInternal,            // a bug in syncbn
  kUnavailable,         // may work later
  kDataLoss,            // damaged or truncated data
};

// "INVALID_ARGUMENT" and so on, as gRPC spells them.
std::string_view ErrorCodeName(ErrorCode code);

class Error : public std::exception {
 public:
  Error(ErrorCode code, std::string message);

  ErrorCode code() const { return code_; }
  const std::string& message() const { return message_; }
  // Innermost first.
  const std::vector<std::string>& frames() const { return frames_; }

  // Adds where this happened, e.g. "layer layer2.0.bn1, step 17, rank 3". Returns *this.
  Error& AddFrame(std::string frame);

  // The message, then every frame on an indented line of its own.
  const char* what() const noexcept override { return text_.c_str(); }

 private:
  ErrorCode code_;
  std::string message_;
  std::vector<std::string> frames_;
  std::string text_;
};

// Calls body(); an Error that leaves it gets the frame make_frame() (called only then); any other
// std::exception becomes an INTERNAL Error (std::bad_alloc: RESOURCE_EXHAUSTED) with that frame.
template <typename Body, typename MakeFrame>
decltype(auto) WithFrame(MakeFrame&& make_frame, Body&& body) {
  try {
    return body();
  } catch (Error& error) {
    error.AddFrame(make_frame());
    throw;
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::kResourceExhausted, "out of memory").AddFrame(make_frame());
  } catch (const std::exception& error) {
    throw Error(ErrorCode::kInternal, error.what()).AddFrame(make_frame());
  }
}

}  // namespace syncbn
