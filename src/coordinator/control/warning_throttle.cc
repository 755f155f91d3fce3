#include "coordinator/control/warning_throttle.h"

#include "base/text.h"

namespace syncbn::coordinator {

std::optional<std::string> WarningThrottle::Warn(const std::string& doing, const std::string& what,
                                                 MonotonicTime now) {
  std::lock_guard lock(mutex_);
  const auto found = said_.find(doing);
  const bool same = found != said_.end() && found->second.what == what;
  if (same && now - found->second.time < again_) {
    ++found->second.silenced;
    return std::nullopt;
  }
  std::string line = doing + ": " + what;
  if (same && found->second.silenced > 0)
    line += " (" + Plural(found->second.silenced + 1, "time") + " since this was last said)";
  // What never went well since is forgotten some day.
  constexpr size_t kMost = 10'000;
  if (said_.size() >= kMost) said_.clear();
  said_[doing] = {.what = what, .time = now};
  return line;
}

void WarningThrottle::Reset(const std::string& doing) {
  std::lock_guard lock(mutex_);
  said_.erase(doing);
}

}  // namespace syncbn::coordinator
