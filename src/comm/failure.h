// The first failure of a run, as one process knows it: set once, then every wait ends with it.
#pragma once

#include <atomic>
#include <mutex>
#include <optional>
#include <string>

#include "base/error.h"
#include "comm/stall.h"

namespace syncbn::comm {

// What a failure is made of, to be told to other processes.
struct FailureCause {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;
  // Of a wait that had no end.
  std::optional<Stall> stall;

  static FailureCause Of(Stall stall) {
    const std::string message = stall.message;
    return {ErrorCode::kDeadlineExceeded, message, std::move(stall)};
  }
};

// Thread-safe.
class Failure {
 public:
  // Whether this process has found it, or been told of it.
  enum class Origin { kHere, kElsewhere };
  // Remembers the first failure and forgets all later ones: they are its consequences.
  void Set(FailureCause cause, Origin origin = Origin::kHere);
  // True once: when it began here and the others do not know it yet.
  bool TakeUntold() { return untold_.exchange(false); }

  const std::atomic<bool>& flag() const { return failed_; }
  bool failed() const { return failed_.load(std::memory_order_acquire); }
  // Precondition of both: failed().
  FailureCause cause() const;
  // Throws it: a StallError where it is a stall, else an Error. `frame`, if any, says where.
  [[noreturn]] void Throw(std::string frame = "") const;

 private:
  std::atomic<bool> failed_{false}, untold_{false};
  mutable std::mutex mutex_;
  FailureCause cause_;
};

}  // namespace syncbn::comm
