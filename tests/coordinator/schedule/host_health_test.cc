// When a host is left out, and for how long.
#include "coordinator/schedule/host_health.h"

#include <gtest/gtest.h>

namespace syncbn::coordinator {
namespace {

using std::chrono::hours;
using std::chrono::minutes;

const DurableTime kNow = DurableTime(hours(24 * 365 * 50));

// Where the calendar says what the durable clock says.
Moment At(DurableTime time) {
  return {WallTime(time.time_since_epoch()), time};
}

HostFailure At(DurableTime time, int job) {
  return {time, "jobs/" + std::to_string(job) + "/attempts/1", "daemon lost"};
}

TEST(HostHealth, ThreeAttemptsThatFailWithinAnHourExcludeAHostForHalfAnHour) {
  HostHealth health{.name = "node1"};
  health = AfterFailure(health, At(kNow, 1), {});
  health = AfterFailure(health, At(kNow + minutes(20), 2), {});
  EXPECT_TRUE(IsUsable(health, kNow + minutes(20)));
  health = AfterFailure(health, At(kNow + minutes(40), 3), {});
  EXPECT_FALSE(IsUsable(health, kNow + minutes(69)));
  EXPECT_TRUE(IsUsable(health, kNow + minutes(70)));
  EXPECT_EQ(
      WhyUnusable(health, At(kNow + minutes(41))),
      "excluded until 2019-12-20T01:10:00.000000Z: 3 attempts failed there; the last: daemon lost");
  EXPECT_EQ(WhyUnusable(health, At(kNow + minutes(70))), "");
}

TEST(HostHealth, SeveralReportsOfOneAttemptCountOnce) {
  HostHealth health{.name = "node1"};
  for (int i = 0; i < 5; ++i) health = AfterFailure(health, At(kNow, 1), {});
  EXPECT_TRUE(IsUsable(health, kNow));
  EXPECT_EQ(health.failures.size(), 1u);
}

TEST(HostHealth, FailuresOlderThanTheWindowDoNotCount) {
  HostHealth health{.name = "node1"};
  health = AfterFailure(health, At(kNow, 1), {});
  health = AfterFailure(health, At(kNow + minutes(10), 2), {});
  health = AfterFailure(health, At(kNow + minutes(61), 3), {});
  EXPECT_TRUE(IsUsable(health, kNow + minutes(61)));
}

TEST(HostHealth, EveryExclusionInARowIsTwiceAsLongUpToADay) {
  HostHealth health{.name = "node1"};
  DurableTime now = kNow;
  std::vector<int64_t> lengths;
  for (int i = 0; i < 8; ++i) {
    for (int job = 0; job < 3; ++job) health = AfterFailure(health, At(now, 10 * i + job), {});
    ASSERT_FALSE(IsUsable(health, now));
    lengths.push_back(std::chrono::duration_cast<minutes>(*health.excluded_until - now).count());
    now = *health.excluded_until;
  }
  EXPECT_EQ(lengths, (std::vector<int64_t>{30, 60, 120, 240, 480, 960, 1440, 1440}));
  health = AfterSuccess(health);
  for (int job = 0; job < 3; ++job) health = AfterFailure(health, At(now, job), {});
  EXPECT_EQ(*health.excluded_until - now, minutes(30)) << "after a success it begins anew";
}

TEST(HostHealth, ADrainedHostIsNotUsableUntilItIsRestored) {
  HostHealth health{.name = "node1", .drained = true, .reason = "disk swap"};
  EXPECT_FALSE(IsUsable(health, kNow + hours(1000)));
  EXPECT_EQ(WhyUnusable(health, At(kNow)), "drained: disk swap");
}

}  // namespace
}  // namespace syncbn::coordinator
