#include "comm/failure.h"

#include <utility>

namespace syncbn::comm {

bool Failure::Set(ErrorCode code, std::string message) {
  std::lock_guard lock(mutex_);
  if (failed()) return false;
  code_ = code;
  message_ = std::move(message);
  failed_.store(true, std::memory_order_release);
  return true;
}

Error Failure::ToError() const {
  std::lock_guard lock(mutex_);
  return Error(code_, message_);
}

}  // namespace syncbn::comm
