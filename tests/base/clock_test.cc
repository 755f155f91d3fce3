// What a clock that survives its process does when others are set, and when the machine starts
// anew.
#include "base/clock.h"

#include <gtest/gtest.h>

#include "base/host.h"

namespace syncbn {
namespace {

using std::chrono::hours;
using std::chrono::minutes;

TEST(DurableClock, BeginsAtTodaysCalendarAndRunsByAClockThatNobodySets) {
  ManualClock clock;
  const DurableClock durable(clock, std::nullopt);
  EXPECT_EQ(durable.Now().durable.time_since_epoch(), clock.Now().time_since_epoch());
  const Moment before = durable.Now();
  clock.SetWall(clock.Now() + hours(12));
  EXPECT_EQ(durable.Now().durable, before.durable);
  EXPECT_EQ(durable.Now().wall, before.wall + hours(12));
  clock.SetWall(clock.Now() - hours(100));
  clock.Advance(minutes(3));
  EXPECT_EQ(durable.Now().durable, before.durable + minutes(3));
}

TEST(DurableClock, TheTimeBetweenTwoProcessesCountsAndThatOfAMachineThatWasOffDoesNot) {
  ManualClock clock;
  const DurableClock first(clock, std::nullopt);
  clock.Advance(minutes(10));
  const DurableClock::Mark mark = first.MarkNow();
  clock.Advance(minutes(7));
  clock.SetWall(clock.Now() + hours(12));
  const DurableClock second(clock, mark);
  EXPECT_EQ(second.Now().durable, mark.time + minutes(7));
  EXPECT_EQ(second.Now().durable, first.Now().durable);
  clock.Reboot();
  clock.Advance(minutes(2));
  const DurableClock third(clock, mark);
  EXPECT_EQ(third.Now().durable, mark.time);
  clock.Advance(minutes(1));
  EXPECT_EQ(third.Now().durable, mark.time + minutes(1));
}

TEST(DurableClock, SaysWhatTheCalendarWillSayByTodays) {
  ManualClock clock;
  const DurableClock durable(clock, std::nullopt);
  const DurableTime due = durable.Now().durable + minutes(5);
  clock.SetWall(clock.Now() + hours(1));
  clock.Advance(minutes(2));
  EXPECT_EQ(durable.Now().WallAt(due), clock.Now() + minutes(3));
}

TEST(SystemClock, NamesTheStartOfTheMachine) {
  EXPECT_EQ(Clock::System().Boot(), BootId());
  EXPECT_EQ(BootId().size(), 36u) << "as the kernel writes it";
}

}  // namespace
}  // namespace syncbn
