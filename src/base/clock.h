// What a clock is, in one place; and time as an interface, so that what waits or stamps can be
// tested without waiting.
//
//   WallTime       calendar time (UTC), which somebody may set, by hours and both ways. It is for
//   people:
//                  nothing is measured or waited for by it but what people gave as a date.
//   MonotonicTime  nobody sets it, and it stands still while the machine is suspended, as the
//   processes
//                  do that are waited for. For what begins and ends in one process.
//   DurableTime    the same beyond the life of a process (DurableClock). For limits and used time
//   of
//                  what outlives it.
#pragma once

#include <chrono>
#include <mutex>
#include <optional>
#include <string>

namespace syncbn {

using WallTime = std::chrono::sys_time<std::chrono::microseconds>;
using MonotonicTime = std::chrono::steady_clock::time_point;

class DurableClock;
using DurableTime = std::chrono::time_point<DurableClock, std::chrono::microseconds>;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual WallTime Now() const = 0;
  virtual MonotonicTime Monotonic() const = 0;
  // Names the present start of the machine: monotonic times of another mean nothing in it.
  virtual std::string Boot() const = 0;

  // The clock of this machine.
  static Clock& System();
};

// A clock that stands still until it is told to move. Thread-safe.
class ManualClock : public Clock {
 public:
  explicit ManualClock(WallTime start = WallTime(std::chrono::hours(24 * 365 * 50)))
      : wall_(start), monotonic_(start.time_since_epoch()) {}
  WallTime Now() const override;
  MonotonicTime Monotonic() const override;
  std::string Boot() const override;
  void Advance(std::chrono::microseconds by);
  // Somebody sets the calendar time.
  void SetWall(WallTime time);
  // The machine is started anew: monotonic time begins at zero.
  void Reboot();

 private:
  mutable std::mutex mutex_;
  WallTime wall_;
  MonotonicTime monotonic_;
  int boots_ = 1;
};

// One moment, for people and for limits.
struct Moment {
  WallTime wall;
  DurableTime durable;

  // What the calendar says, by today's, at another time.
  WallTime WallAt(DurableTime time) const { return wall + (time - durable); }
  Moment& operator+=(std::chrono::microseconds time) {
    wall += time;
    durable += time;
    return *this;
  }
};

// Runs as MonotonicTime does, and from one process to the next. Thread-safe.
class DurableClock {
 public:
  using rep = std::chrono::microseconds::rep;
  using period = std::chrono::microseconds::period;
  using duration = std::chrono::microseconds;

  // Where it stood, to be kept where the next process finds it.
  struct Mark {
    DurableTime time;
    MonotonicTime monotonic;
    std::string boot;
  };

  // Goes on from the mark of an earlier process. The time between the two counts, unless the
  // machine was started anew meanwhile: nothing that has a limit lived through that. Without a mark
  // it begins at today's calendar time, in which stores kept their limits before there was this
  // clock. `clock` must outlive it.
  DurableClock(const Clock& clock, const std::optional<Mark>& mark);

  Moment Now() const;
  Mark MarkNow() const;

 private:
  const Clock& clock_;
  DurableTime start_;
  MonotonicTime since_;
};

// "2026-01-31T12:34:56.789012Z" (RFC 3339, UTC, microseconds).
std::string FormatTime(WallTime time);

}  // namespace syncbn
