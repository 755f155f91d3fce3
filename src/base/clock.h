// Time as an interface, so that what waits or stamps can be tested without waiting.
#pragma once

#include <chrono>
#include <mutex>
#include <string>

namespace syncbn {

using WallTime = std::chrono::sys_time<std::chrono::microseconds>;
using MonotonicTime = std::chrono::steady_clock::time_point;

class Clock {
 public:
  virtual ~Clock() = default;
  // Calendar time (UTC), for records.
  virtual WallTime Now() const = 0;
  // Never goes back, for durations.
  virtual MonotonicTime Monotonic() const = 0;

  // The clock of this machine.
  static Clock& System();
};

// A clock that stands still until it is told to move. Thread-safe.
class ManualClock : public Clock {
 public:
  explicit ManualClock(WallTime start = WallTime(std::chrono::hours(24 * 365 * 50))) : now_(start) {}
  WallTime Now() const override;
  MonotonicTime Monotonic() const override;
  void Advance(std::chrono::microseconds by);

 private:
  mutable std::mutex mutex_;
  WallTime now_;
};

// "2026-01-31T12:34:56.789012Z" (RFC 3339, UTC, microseconds).
std::string FormatTime(WallTime time);

}  // namespace syncbn
