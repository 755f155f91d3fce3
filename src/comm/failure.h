// The first failure of a run, as one process knows it: set once, then every wait ends with it.
#pragma once

#include <atomic>
#include <mutex>
#include <string>

#include "base/error.h"

namespace syncbn::comm {

// Thread-safe.
class Failure {
 public:
  // Remembers the first failure and forgets all later ones: they are its consequences. Returns whether
  // this was the first.
  bool Set(ErrorCode code, std::string message);

  const std::atomic<bool>& flag() const { return failed_; }
  bool failed() const { return failed_.load(std::memory_order_acquire); }
  // Precondition: failed().
  Error ToError() const;

 private:
  std::atomic<bool> failed_{false};
  mutable std::mutex mutex_;
  ErrorCode code_ = ErrorCode::kInternal;
  std::string message_;
};

}  // namespace syncbn::comm
