#include "comm/watchdog.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace syncbn::comm {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Optional;

auto Says(const std::string& text) { return Field(&Stall::message, HasSubstr(text)); }

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
  std::optional<Stall> Judge(std::vector<int> missing, std::chrono::nanoseconds since = 0s) {
    return dog_.Judge({.what = "'x' (3 doubles, sum), reduction 5 of replicas 0..3",
                       .name = "x",
                       .missing = std::move(missing),
                       .since = since});
  }
  // As a heartbeat of the process brings it.
  void SetProcess(int rank, Activity activity, int64_t steps = 12, bool in_round = false) {
    ProcessStatus status = dog_.board().ReadProcess(rank);
    status.activity = activity;
    status.steps = steps;
    status.in_round = in_round;
    ++status.changes;
    dog_.board().WriteProcess(status);
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
              Optional(AllOf(Says("waited 10.0 s for 'x' (3 doubles, sum), reduction 5"),
                             Says("replica 3 (rank 1 on b): step 17, forward, conv1, no progress "
                                  "for 10.0 s"))));
}

TEST_F(WatchdogTest, WhoBeginsToComputeAfterALongWaitIsNotStalled) {
  dog_.board().Enter(1, 17, Activity::kTurn);
  Pass(60s, {0});
  EXPECT_EQ(Judge({1}), std::nullopt);
  dog_.board().Report(1, 17, "forward", "conv1");  // since the last look
  EXPECT_EQ(Judge({1}), std::nullopt);
  Pass(9s, {0});
  EXPECT_EQ(Judge({1}), std::nullopt);
  Pass(2s, {0});
  EXPECT_THAT(Judge({1}), Optional(Says("replica 1 (rank 0 on a): step 17, forward, conv1")));
}

TEST_F(WatchdogTest, AProcessThatMovesOnAfterALongWaitIsNotStalled) {
  SetProcess(1, Activity::kCheckpoint);
  Pass(60s, {0});
  EXPECT_EQ(Judge({3}), std::nullopt);
  SetProcess(1, Activity::kTrain);
  EXPECT_EQ(Judge({3}), std::nullopt);
  Pass(11s, {0});
  EXPECT_THAT(Judge({3}), Optional(Says("rank 1: train, after 12 steps")));
}

TEST_F(WatchdogTest, TellsAsDataWhatWasWaitedForAndWhoIsMissing) {
  for (const int replica : {1, 2, 3}) dog_.board().Report(replica, 17, "forward", "conv1");
  Pass(11s, {0});
  const std::optional<Stall> stall = Judge({1, 2, 3});
  ASSERT_TRUE(stall.has_value());
  EXPECT_EQ(stall->waited_for, "x");
  EXPECT_THAT(stall->missing_ranks, ElementsAre(0, 1));
  EXPECT_EQ(stall->activity, "compute");
  EXPECT_EQ(stall->layer, "conv1");
}

TEST_F(WatchdogTest, MissingRanksAreAscendingAndEachOnceInWhateverOrderReplicasAreMissing) {
  for (const int replica : {0, 1, 2, 3}) dog_.board().EnterWait(replica, "y", {0, 4}, 7);
  Pass(30s, {});
  const std::optional<Stall> stall = Judge({3, 0, 2});
  ASSERT_TRUE(stall.has_value());
  EXPECT_THAT(stall->message, HasSubstr("nobody moves any more"));
  EXPECT_THAT(stall->missing_ranks, ElementsAre(0, 1));
}

TEST_F(WatchdogTest, GivesEveryWaitTheWholeTimeout) {
  dog_.board().Report(3, 17, "forward", "conv1");
  Pass(30s, {});
  EXPECT_EQ(Judge({3}, 25s), std::nullopt);
  EXPECT_NE(Judge({3}, 20s), std::nullopt);
}

TEST_F(WatchdogTest, ForgivesAReplicaThatWaitsAsLongAsAnybodyMoves) {
  dog_.board().EnterWait(3, "y", {2, 4}, 7);
  Pass(20s, {2});
  EXPECT_EQ(Judge({3}), std::nullopt);
  Pass(20s, {});
  for (const int replica : {0, 1, 2}) dog_.board().EnterWait(replica, "x", {0, 4}, 5);
  Pass(20s, {});
  EXPECT_THAT(Judge({3}), Optional(AllOf(Says("nobody moves any more"),
                                         Says("waiting for 'y' (reduction 7 of replicas 2..3)"))));
}

TEST_F(WatchdogTest, ForgivesReplicasThatWaitForTheirTurnAsLongAsOneComputes) {
  dog_.board().EnterWait(0, "x", {0, 4}, 5);
  for (const int replica : {2, 3}) dog_.board().Enter(replica, 17, Activity::kTurn);
  Pass(60s, {1});
  EXPECT_EQ(Judge({1, 2, 3}), std::nullopt);
}

TEST_F(WatchdogTest, BlamesWhoKeepsOthersFromTheirTurnEvenIfItIsNotMissedItself) {
  // 2 has given its part of this reduction, and stands still in a later layer of its turn.
  dog_.board().EnterWait(0, "x", {0, 4}, 5);
  dog_.board().EnterWait(1, "x", {0, 4}, 5);
  dog_.board().Report(2, 17, "backward", "conv1");
  dog_.board().Enter(3, 17, Activity::kTurn);
  Pass(11s, {});
  const std::optional<Stall> stall = Judge({3});
  EXPECT_THAT(stall, Optional(AllOf(Says("replica 2 (rank 1): step 17, backward, conv1"),
                                    Field(&Stall::message, Not(HasSubstr("replica 3 ("))))));
  EXPECT_EQ(stall->layer, "conv1");
}

TEST_F(WatchdogTest, GivesAProcessThatWaitsForADiskTenTimesAsLongAndThenNamesWhatItIsAt) {
  for (const Activity activity : {Activity::kCheckpoint, Activity::kStart, Activity::kRecord}) {
    SCOPED_TRACE(NameOf(activity));
    SetProcess(1, activity);
    Pass(99s, {});
    EXPECT_EQ(Judge({2, 3}), std::nullopt);
    Pass(2s, {});
    const std::optional<Stall> stall = Judge({2, 3});
    EXPECT_THAT(stall, Optional(Says("\n  rank 1: " + std::string(NameOf(activity)) +
                                     ", after 12 steps, no progress for 10")));
    EXPECT_THAT(stall->missing_ranks, ElementsAre(1));
    EXPECT_EQ(stall->activity, NameOf(activity));
    EXPECT_EQ(stall->layer, "");
  }
}

TEST_F(WatchdogTest, BlamesAProcessThatComputesBetweenTwoRoundsAfterTheTimeout) {
  SetProcess(1, Activity::kTrain);
  Pass(9s, {});
  EXPECT_EQ(Judge({2, 3}), std::nullopt);
  Pass(2s, {});
  EXPECT_THAT(Judge({2, 3}), Optional(Says("rank 1: train, after 12 steps, no progress for 10.0 s")));
}

TEST_F(WatchdogTest, DoesNotBlameAReplicaThatHasNotYetBegunARoundInWhichOthersCompute) {
  SetProcess(1, Activity::kTrain, 12, /*in_round=*/true);
  Pass(60s, {2});
  EXPECT_EQ(Judge({3}), std::nullopt);
}

TEST_F(WatchdogTest, GivesTheLoaderTenTimesAsLongSinceAnythingMovedInItsProcess) {
  dog_.board().Enter(2, 17, Activity::kData);
  dog_.board().Enter(3, 17, Activity::kData);
  Pass(60s, {});
  Pass(99s, {2});
  EXPECT_EQ(Judge({3}), std::nullopt);
  Pass(99s, {});
  EXPECT_EQ(Judge({3}), std::nullopt);
  Pass(2s, {});
  EXPECT_THAT(Judge({3}), Optional(Says("replica 3 (rank 1): step 17, waiting for data, no progress")));
}

TEST_F(WatchdogTest, NamesAProcessThatIsSilentEvenIfItsReplicaWasWaiting) {
  dog_.board().Report(3, 4, "backward", "fc");
  dog_.board().EnterWait(3, "y", {2, 4}, 7);
  Pass(12s, {0}, /*heard=*/false);
  EXPECT_THAT(Judge({2, 3}),
              Optional(Says("rank 1 has not been heard of for 12.0 s; last seen: nothing")));
  EXPECT_THAT(Judge({3}), Optional(Says("last seen: step 4, backward, fc, waiting for 'y'")));
  EXPECT_THAT(Judge({3})->missing_ranks, ElementsAre(1));
}

TEST_F(WatchdogTest, NamesAProcessThatHasFinishedWithoutWaiting) {
  dog_.SetFinished(1);
  EXPECT_THAT(Judge({2}), Optional(Says("rank 1 has finished")));
  EXPECT_EQ(Judge({1}), std::nullopt);
}

TEST_F(WatchdogTest, DoesNotBlameOthersForTimeInWhichItWasItselfStopped) {
  dog_.board().Report(3, 17, "forward", "conv1");
  dog_.Observe();
  clock_.Advance(std::chrono::hours(1));
  dog_.Observe();
  EXPECT_EQ(Judge({3}), std::nullopt);
}

TEST(ProgressBoard, KeepsWhatIsReportedCutToWhatFits) {
  ProgressBoard board(ReplicaMap(2, 1), 0);
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
  board.Enter(1, 4, Activity::kTurn);
  EXPECT_EQ(board.Read(1).Describe(), "step 4, waiting for its turn");
  board.Enter(1, 4, Activity::kData);
  EXPECT_EQ(board.Read(1).Describe(), "step 4, waiting for data");
}

TEST(ProgressBoard, TellsOfTheReplicaThatIsFurthestBehindAndOfItsProcess) {
  ProgressBoard board(ReplicaMap(4, 2), 1);
  board.SetProcess(Activity::kEvaluate, 3);
  board.Report(3, 3, "forward", "conv2");
  board.Contribute(2);
  board.EnterWait(2, "bn1 forward", {0, 4}, 0);
  const ProcessActivity activity = board.ReadActivity();
  EXPECT_EQ(activity.activity, Activity::kEvaluate);
  EXPECT_EQ(activity.reductions, 0);
  EXPECT_EQ(activity.phase, "forward");
  EXPECT_EQ(activity.where, "conv2");
  EXPECT_EQ(activity.progress, 4);
  // What others do is no progress of this process.
  board.Touch(0);
  EXPECT_EQ(board.ReadActivity().progress, 4);
  board.SetInRound(true);
  EXPECT_EQ(board.ReadActivity().progress, 5);
}

}  // namespace
}  // namespace syncbn::comm
