// What goes wrong again and again is said once, and then now and then: a warning every half second
// hides all others. Thread-safe.
#pragma once

#include <chrono>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "base/clock.h"

namespace syncbn::coordinator {

class WarningThrottle {
 public:
  explicit WarningThrottle(MonotonicTime::duration again = std::chrono::minutes(5))
      : again_(again) {}

  // The line to log for what goes wrong with `doing`; nothing where the same was said a short while
  // ago.
  std::optional<std::string> Warn(const std::string& doing, const std::string& what,
                                  MonotonicTime now);
  // It went well: the next warning is a new one.
  void Reset(const std::string& doing);

 private:
  struct Said {
    std::string what;
    MonotonicTime time;
    int silenced = 0;
  };

  const MonotonicTime::duration again_;
  std::mutex mutex_;
  std::map<std::string, Said> said_;
};

}  // namespace syncbn::coordinator
