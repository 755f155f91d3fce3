// The ladder: its rungs, their times, and that it always reaches the last.
#include "coordinator/launch/stop_ladder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace syncbn::coordinator {
namespace {

using Rung = StopLadder::Rung;
using std::chrono::seconds;
using ::testing::ElementsAre;

const MonotonicTime kStart{};

std::vector<std::pair<int, Rung>> Climb(StopLadder& ladder, int from, int to) {
  std::vector<std::pair<int, Rung>> taken;
  for (int second = from; second <= to; ++second) {
    while (const auto rung = ladder.Advance(kStart + seconds(second)))
      taken.emplace_back(second, *rung);
  }
  return taken;
}

StopLadder::Times Times() {
  return {.ask = seconds(10),
          .checkpoint = seconds(5),
          .terminate = seconds(3),
          .launcher = seconds(2)};
}

TEST(StopLadder, AGracefulOrderTakesEveryRungInItsTime) {
  StopLadder ladder(Times());
  EXPECT_TRUE(Climb(ladder, 0, 100).empty()) << "nothing was ordered";
  ladder.Order(StopLevel::kGraceful, kStart + seconds(100));
  EXPECT_THAT(Climb(ladder, 100, 200),
              ElementsAre(std::pair(100, Rung::kAsk), std::pair(110, Rung::kCheckpoint),
                          std::pair(115, Rung::kTerminate), std::pair(118, Rung::kLauncher),
                          std::pair(120, Rung::kKill)));
}

TEST(StopLadder, HarsherOrdersJumpAheadAndMilderOnesChangeNothing) {
  StopLadder ladder(Times());
  ladder.Order(StopLevel::kGraceful, kStart);
  EXPECT_THAT(Climb(ladder, 0, 2), ElementsAre(std::pair(0, Rung::kAsk)));
  ladder.Order(StopLevel::kTerminate, kStart + seconds(2));
  ladder.Order(StopLevel::kGraceful, kStart + seconds(2));
  EXPECT_THAT(Climb(ladder, 2, 3), ElementsAre(std::pair(2, Rung::kTerminate)));
  ladder.Order(StopLevel::kTerminate, kStart + seconds(4));
  EXPECT_THAT(Climb(ladder, 4, 6), ElementsAre(std::pair(5, Rung::kLauncher)));
  ladder.Order(StopLevel::kKill, kStart + seconds(6));
  EXPECT_THAT(Climb(ladder, 6, 100), ElementsAre(std::pair(6, Rung::kKill)));
  ladder.Order(StopLevel::kKill, kStart + seconds(101));
  ladder.Order(StopLevel::kGraceful, kStart + seconds(101));
  EXPECT_TRUE(Climb(ladder, 101, 200).empty());
  EXPECT_EQ(ladder.rung(), Rung::kKill);
}

TEST(StopLadder, AKillBeforeTheFirstRungTakesOnlyTheLast) {
  StopLadder ladder(Times());
  ladder.Order(StopLevel::kGraceful, kStart);
  ladder.Order(StopLevel::kKill, kStart);
  EXPECT_THAT(Climb(ladder, 0, 50), ElementsAre(std::pair(0, Rung::kKill)));
}

}  // namespace
}  // namespace syncbn::coordinator
