#include "comm/failure.h"

#include <utility>

namespace syncbn::comm {
namespace {

template <typename AnyError>
[[noreturn]] void ThrowWithFrame(AnyError error, std::string frame) {
  if (!frame.empty()) error.AddFrame(std::move(frame));
  throw error;
}

}  // namespace

void Failure::Set(FailureCause cause, Origin origin) {
  std::lock_guard lock(mutex_);
  if (failed()) return;
  cause_ = std::move(cause);
  untold_.store(origin == Origin::kHere);
  failed_.store(true, std::memory_order_release);
}

FailureCause Failure::cause() const {
  std::lock_guard lock(mutex_);
  return cause_;
}

void Failure::Throw(std::string frame) const {
  FailureCause known = cause();
  if (known.stall) ThrowWithFrame(StallError(*std::move(known.stall)), std::move(frame));
  ThrowWithFrame(Error(known.code, std::move(known.message)), std::move(frame));
}

}  // namespace syncbn::comm
