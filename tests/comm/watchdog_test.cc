#include "comm/watchdog.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace syncbn::comm {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Optional;

// Four replicas on two processes; this is rank 0 on host "a".
class WatchdogTest : public ::testing::Test {
 protected:
  // Time passes in steps that are observed; `alive` replicas advance, rank 1 is heard of if wanted.
  void Pass(std::chrono::seconds time, std::vector<int> alive, bool heard = true) {
    for (int i = 0; i < time.count(); ++i) {
      clock_.Advance(1s);
      for (int replica : alive) dog_.board().Touch(replica);
      if (heard) dog_.Heard(1);
      dog_.Observe();
    }
  }
  std::optional<std::string> Judge(std::vector<int> missing, std::chrono::nanoseconds since = 0s) {
    return dog_.Judge({.what = "'x' (3 doubles, sum)",
                       .group = {0, 4},
                       .sequence = 5,
                       .missing = std::move(missing),
                       .since = since});
  }

  ManualClock clock_;
  Watchdog dog_{ReplicaMap(4, 2), 0, "a", 10s, clock_};
};

TEST_F(WatchdogTest, HasHopeAsLongAsTheMissingReplicaAdvances) {
  Pass(60s, {3});
  EXPECT_EQ(Judge({3}), std::nullopt);
}

TEST_F(WatchdogTest, BlamesAReplicaThatHasNotMovedForTheTimeout) {
  dog_.SetHost(1, "b");
  dog_.board().Report(3, 17, "forward", "conv1");
  Pass(1s, {});
  Pass(9s, {0, 1, 2});
  EXPECT_EQ(Judge({3}, 1s), std::nullopt);
  Pass(1s, {0, 1, 2});
  EXPECT_THAT(Judge({3}, 1s),
              Optional(AllOf(HasSubstr("waited 10.0 s for 'x' (3 doubles, sum), reduction 5"),
                             HasSubstr("replica 3 (rank 1 on b): step 17, forward, conv1, no progress "
                                       "for 10.0 s"))));
}

TEST_F(WatchdogTest, GivesEveryWaitTheWholeTimeout) {
  Pass(30s, {});
  EXPECT_EQ(Judge({3}, 25s), std::nullopt);
  EXPECT_NE(Judge({3}, 20s), std::nullopt);
}

TEST_F(WatchdogTest, ForgivesAReplicaThatWaitsAsLongAsAnybodyMoves) {
  dog_.board().EnterWait(3, "y", {2, 4}, 7);
  Pass(20s, {2});
  EXPECT_EQ(Judge({3}), std::nullopt);
  Pass(20s, {});
  EXPECT_THAT(Judge({3}), Optional(AllOf(HasSubstr("nobody moves any more"),
                                         HasSubstr("waiting for 'y' (reduction 7 of replicas 2..3)"))));
}

TEST_F(WatchdogTest, NamesAProcessThatIsSilentEvenIfItsReplicaWasWaiting) {
  dog_.board().Report(3, 4, "backward", "fc");
  dog_.board().EnterWait(3, "y", {2, 4}, 7);
  Pass(12s, {0}, /*heard=*/false);
  EXPECT_THAT(Judge({2, 3}),
              Optional(AllOf(HasSubstr("rank 1 has not been heard of for 12.0 s; last seen: nothing"))));
  EXPECT_THAT(Judge({3}), Optional(HasSubstr("last seen: step 4, backward, fc, waiting for 'y'")));
}

TEST_F(WatchdogTest, NamesAProcessThatHasFinishedWithoutWaiting) {
  dog_.SetFinished(1);
  EXPECT_THAT(Judge({2}), Optional(HasSubstr("rank 1 has finished")));
  EXPECT_EQ(Judge({1}), std::nullopt);
}

TEST_F(WatchdogTest, DoesNotBlameOthersForTimeInWhichItWasItselfStopped) {
  dog_.Observe();
  clock_.Advance(std::chrono::hours(1));
  dog_.Observe();
  EXPECT_EQ(Judge({3}), std::nullopt);
}

TEST(ProgressBoard, KeepsWhatIsReportedCutToWhatFits) {
  ProgressBoard board(2);
  board.Report(1, 3, "a phase with a long name", std::string(100, 'x'));
  const ReplicaStatus status = board.Read(1);
  EXPECT_EQ(status.Describe(), "step 3, a phase with a , " + std::string(55, 'x'));
  EXPECT_EQ(board.Read(0).Describe(), "before its first step");
  board.EnterWait(1, "y", {0, 2}, 4);
  EXPECT_TRUE(board.Read(1).WaitsFor({0, 2}, 4));
  EXPECT_FALSE(board.Read(1).WaitsFor({0, 2}, 5));
  board.LeaveWait(1);
  EXPECT_FALSE(board.Read(1).WaitsFor({0, 2}, 4));
  EXPECT_EQ(board.Changes(1), 3u);
}

}  // namespace
}  // namespace syncbn::comm
