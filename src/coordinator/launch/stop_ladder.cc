#include "coordinator/launch/stop_ladder.h"

namespace syncbn::coordinator {

void StopLadder::Order(StopLevel level, MonotonicTime now) {
  const Rung first = level == StopLevel::kGraceful    ? Rung::kAsk
                     : level == StopLevel::kTerminate ? Rung::kTerminate
                                                      : Rung::kKill;
  if (first <= rung_ || (next_ != Rung::kNone && first <= next_ && due_ <= now)) return;
  next_ = first;
  due_ = now;
}

std::optional<StopLadder::Rung> StopLadder::Advance(MonotonicTime now) {
  if (next_ == Rung::kNone || now < due_) return std::nullopt;
  rung_ = next_;
  if (rung_ == Rung::kKill) {
    next_ = Rung::kNone;
  } else {
    next_ = static_cast<Rung>(static_cast<int>(rung_) + 1);
    due_ = now + TimeOn(rung_);
  }
  return rung_;
}

std::chrono::microseconds StopLadder::TimeOn(Rung rung) const {
  switch (rung) {
    case Rung::kAsk:
      return times_.ask;
    case Rung::kCheckpoint:
      return times_.checkpoint;
    case Rung::kTerminate:
      return times_.terminate;
    case Rung::kLauncher:
      return times_.launcher;
    default:
      return std::chrono::microseconds(0);
  }
}

std::string_view RungName(StopLadder::Rung rung) {
  switch (rung) {
    case StopLadder::Rung::kNone:
      return "";
    case StopLadder::Rung::kAsk:
      return "ask";
    case StopLadder::Rung::kCheckpoint:
      return "checkpoint";
    case StopLadder::Rung::kTerminate:
      return "terminate";
    case StopLadder::Rung::kLauncher:
      return "launcher";
    case StopLadder::Rung::kKill:
      return "kill";
  }
  return "";
}

}  // namespace syncbn::coordinator
