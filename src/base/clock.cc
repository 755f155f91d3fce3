#include "base/clock.h"

#include <algorithm>
#include <cstdio>
#include <ctime>

#include "base/host.h"

namespace syncbn {
namespace {

class SystemClock : public Clock {
 public:
  WallTime Now() const override {
    return std::chrono::time_point_cast<std::chrono::microseconds>(std::chrono::system_clock::now());
  }
  MonotonicTime Monotonic() const override { return std::chrono::steady_clock::now(); }
  std::string Boot() const override { return BootId(); }
};

}  // namespace

Clock& Clock::System() {
  static SystemClock clock;
  return clock;
}

WallTime ManualClock::Now() const {
  std::lock_guard lock(mutex_);
  return wall_;
}

MonotonicTime ManualClock::Monotonic() const {
  std::lock_guard lock(mutex_);
  return monotonic_;
}

std::string ManualClock::Boot() const {
  std::lock_guard lock(mutex_);
  return "boot " + std::to_string(boots_);
}

void ManualClock::Advance(std::chrono::microseconds by) {
  std::lock_guard lock(mutex_);
  wall_ += by;
  monotonic_ += by;
}

void ManualClock::SetWall(WallTime time) {
  std::lock_guard lock(mutex_);
  wall_ = time;
}

void ManualClock::Reboot() {
  std::lock_guard lock(mutex_);
  monotonic_ = MonotonicTime();
  ++boots_;
}

DurableClock::DurableClock(const Clock& clock, const std::optional<Mark>& mark)
    : clock_(clock), start_(clock.Now().time_since_epoch()), since_(clock.Monotonic()) {
  if (!mark) return;
  start_ = mark->time;
  // A container may show another monotonic time of the same boot: then it is as after another.
  if (mark->boot == clock.Boot()) since_ = std::min(since_, mark->monotonic);
}

Moment DurableClock::Now() const {
  const MonotonicTime now = clock_.Monotonic();
  return {clock_.Now(), start_ + std::chrono::duration_cast<duration>(now - since_)};
}

DurableClock::Mark DurableClock::MarkNow() const {
  const MonotonicTime now = clock_.Monotonic();
  return {start_ + std::chrono::duration_cast<duration>(now - since_), now, clock_.Boot()};
}

std::string FormatTime(WallTime time) {
  // Rounded down, so that the fraction of a time before 1970 is one of its second, too.
  const auto whole = std::chrono::floor<std::chrono::seconds>(time);
  const std::time_t seconds = whole.time_since_epoch().count();
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[80];
  std::snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%06ldZ", parts.tm_year + 1900,
                parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                static_cast<long>((time - whole) / std::chrono::microseconds(1)));
  return text;
}

}  // namespace syncbn
