// What the silence and the reports of ranks mean.
#include "coordinator/control/rank_monitor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/ranges_text.h"
#include "coordinator/job/job_record.h"

namespace syncbn::coordinator {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class RankMonitorTest : public ::testing::Test {
 protected:
  RankMonitorTest() {
    for (int rank = 0; rank < 4; ++rank)
      monitor.Register(rank, "node" + std::to_string(rank / 2), now);
  }
  void Beat(std::vector<int> ranks, int64_t reduction, int64_t progress) {
    for (int rank : ranks) {
      monitor.Heartbeat(rank,
                        {.phase = "train",
                         .step = 5,
                         .reduction = reduction,
                         .reduction_name = "layer1.bn1 moments",
                         .progress = progress},
                        now);
    }
  }

  MonotonicTime now{};
  RankMonitor monitor{4, {}, now};
};

TEST_F(RankMonitorTest, AnAttemptIsCompleteWhenEveryRankHasRegistered) {
  RankMonitor other(3, {}, now);
  EXPECT_THAT(other.Missing(), ElementsAre(0, 1, 2));
  other.Register(2, "a", now);
  other.Register(2, "a", now);
  EXPECT_FALSE(other.AllRegistered());
  other.Register(0, "a", now);
  other.Register(1, "a", now);
  EXPECT_TRUE(other.AllRegistered());
  EXPECT_THROW(other.Register(3, "a", now), Error);
  EXPECT_THROW(other.Register(-1, "a", now), Error);
}

TEST_F(RankMonitorTest, OneSilentRankMakesItStaleAndAllOfThemForLongUnreachable) {
  now += seconds(29);
  EXPECT_EQ(monitor.Assess(now).liveness, Liveness::kLive);
  Beat({0, 1, 3}, 1, 1);
  now += seconds(1);
  EXPECT_EQ(monitor.Assess(now).liveness, Liveness::kStale);
  EXPECT_THAT(monitor.Assess(now).silent, ElementsAre(2));
  now += minutes(4);
  EXPECT_EQ(monitor.Assess(now).liveness, Liveness::kStale);
  now += minutes(1);
  EXPECT_EQ(monitor.Assess(now).liveness, Liveness::kUnreachable);
  Beat({0, 1, 2, 3}, 2, 2);
  EXPECT_EQ(monitor.Assess(now).liveness, Liveness::kLive);
}

TEST_F(RankMonitorTest, AJobThatNobodyHearsIsNeverCalledStalled) {
  now += std::chrono::hours(100);
  EXPECT_FALSE(monitor.Assess(now).stall.has_value());
}

TEST_F(RankMonitorTest, AJobWhoseRanksWorkBetweenReductionsIsNotStalled) {
  for (int i = 0; i < 60; ++i) {
    now += seconds(25);
    Beat({1, 2, 3}, 7, 1);
    Beat({0}, 7, 100 + i);  // rank 0 evaluates, the others wait
    ASSERT_FALSE(monitor.Assess(now).stall.has_value());
  }
}

TEST_F(RankMonitorTest, ARankThatWaitsForADiskHasTenTimesAsLong) {
  for (const char* phase : {"checkpoint", "load", "start", "record"}) {
    SCOPED_TRACE(phase);
    // Every rank is heard all the time; rank 0 writes, the others wait for it.
    const auto pass = [&](minutes time) {
      for (int i = 0; i < time.count() * 3; ++i) {
        now += seconds(20);
        monitor.Heartbeat(0, {.phase = phase, .step = 5, .reduction = 127, .progress = 10}, now);
        Beat({1, 2, 3}, 128, 10);
      }
      return monitor.Assess(now).stall;
    };
    Beat({1}, 128, 9);
    EXPECT_FALSE(pass(minutes(99)).has_value());
    const auto stall = pass(minutes(2));
    ASSERT_TRUE(stall.has_value());
    EXPECT_THAT(stall->ranks, ElementsAre(0));
    EXPECT_THAT(stall->message, ::testing::HasSubstr("phase " + std::string(phase)));
    // Something moves again.
    monitor = RankMonitor(4, {}, now);
    for (int rank = 0; rank < 4; ++rank) monitor.Register(rank, "a", now);
  }
}

TEST_F(RankMonitorTest, APhaseOfAnotherVersionIsJudgedLikeAnyOther) {
  for (int i = 0; i < 31; ++i) {
    now += seconds(20);
    for (int rank = 0; rank < 4; ++rank) monitor.Heartbeat(rank, {.phase = "dance"}, now);
  }
  EXPECT_TRUE(monitor.Assess(now).stall.has_value());
}

TEST_F(RankMonitorTest, TheRankInTheSmallestReductionIsNamed) {
  Beat({0, 1, 3}, 128, 10);
  Beat({2}, 127, 10);
  for (int i = 0; i < 24; ++i) {
    now += seconds(25);
    Beat({0, 1, 3}, 128, 10);
    Beat({2}, 127, 10);
  }
  const auto stall = monitor.Assess(now).stall;
  ASSERT_TRUE(stall.has_value());
  EXPECT_EQ(stall->message,
            "no progress for 10 min: rank 2 stands at reduction 127 (layer1.bn1 moments), step 5, "
            "phase train, where ranks 0, 1 and 3 wait for it");
  EXPECT_THAT(stall->ranks, ElementsAre(2));
  EXPECT_EQ(stall->host, "node1");
  EXPECT_EQ(stall->failure_class, FailureClass::kStall);
}

TEST_F(RankMonitorTest, ARankThatHasFallenSilentIsNamedBeforeThoseThatWait) {
  Beat({0, 1, 2, 3}, 128, 10);
  for (int i = 0; i < 24; ++i) {
    now += seconds(25);
    Beat({0, 1, 2}, 128, 10);
  }
  const auto stall = monitor.Assess(now).stall;
  ASSERT_TRUE(stall.has_value());
  EXPECT_EQ(stall->message,
            "no progress for 10 min: rank 3 on node1 has not been heard for 10 min; the others "
            "stand at reduction 128 (layer1.bn1 moments), step 5, phase train");
  EXPECT_THAT(stall->ranks, ElementsAre(3));
}

TEST_F(RankMonitorTest, ARankThatFreezesAfterTheOthersHaveLeftIsAStallThatNamesIt) {
  Beat({0, 1, 2, 3}, 128, 10);
  now += minutes(1);
  for (int rank : {0, 1, 2}) monitor.Exited(rank, now);
  now += minutes(9);
  EXPECT_FALSE(monitor.Assess(now).stall.has_value());
  now += minutes(1);
  const auto stall = monitor.Assess(now).stall;
  ASSERT_TRUE(stall.has_value());
  EXPECT_EQ(
      stall->message,
      "no progress for 10 min: rank 3 on node1 has not been heard for 11 min; the others have "
      "reported their end");
  EXPECT_THAT(stall->ranks, ElementsAre(3));
  EXPECT_EQ(stall->failure_class, FailureClass::kStall);
}

TEST_F(RankMonitorTest, RanksThatNobodyHearsAreStalledOnceTheProcessorsDoNothingForThem) {
  const auto look = [&](int64_t milliseconds) {
    monitor.Saw(RankActivity{4, std::chrono::milliseconds(milliseconds)}, now);
  };
  // They train, behind a network that is down.
  for (int i = 0; i < 60; ++i) {
    now += seconds(30);
    ASSERT_FALSE(monitor.Assess(now).stall.has_value());
    ASSERT_TRUE(monitor.Assess(now).nobody_heard);
    look(1000 * i);
  }
  now += minutes(4);
  look(59'000);
  EXPECT_FALSE(monitor.Assess(now).stall.has_value());
  // What was seen long ago says nothing of now.
  now += minutes(2);
  EXPECT_FALSE(monitor.Assess(now).stall.has_value());
  look(59'000);
  const auto stall = monitor.Assess(now).stall;
  ASSERT_TRUE(stall.has_value());
  EXPECT_EQ(
      stall->message,
      "no progress for 36 min: ranks 0-3 have not been heard for 36 min; the processors have done "
      "nothing for them for 6 min");
  EXPECT_THAT(stall->ranks, ElementsAre(0, 1, 2, 3));
  // Heard again, all of that is past.
  Beat({0, 1, 2, 3}, 7, 7);
  now += minutes(11);
  EXPECT_FALSE(monitor.Assess(now).stall.has_value());
  // Where they cannot be seen nothing is concluded.
  monitor.Saw(std::nullopt, now);
  now += minutes(6);
  monitor.Saw(std::nullopt, now);
  EXPECT_FALSE(monitor.Assess(now).stall.has_value());
}

TEST_F(RankMonitorTest, RanksThatCanOnlyBeSeenByTheirFilesAreStalledOnceTheseStayAsTheyAre) {
  const auto look = [&](int64_t bytes) { monitor.Saw(RankActivity{.written = bytes}, now); };
  for (int i = 0; i < 20; ++i) {
    now += minutes(90);
    look(1000 * i);
    ASSERT_FALSE(monitor.Assess(now).stall.has_value());
  }
  now += minutes(99);
  look(19'000);
  EXPECT_FALSE(monitor.Assess(now).stall.has_value());
  now += minutes(1);
  look(19'000);
  const auto stall = monitor.Assess(now).stall;
  ASSERT_TRUE(stall.has_value());
  EXPECT_THAT(
      stall->message,
      ::testing::EndsWith("; their processes cannot be looked at, and they have left nothing "
                          "on disk for 100 min"));
  EXPECT_THAT(stall->ranks, ElementsAre(0, 1, 2, 3));
}

TEST_F(RankMonitorTest, AJobThatStatesItsOwnPatienceIsGivenTwiceThatAtLeast) {
  v1::Job spec;
  EXPECT_EQ(MonitorPolicyOf(spec, {}).stall_after, minutes(10));
  spec.mutable_stall_timeout()->set_seconds(60);
  EXPECT_EQ(MonitorPolicyOf(spec, {}).stall_after, minutes(10))
      << "the operator's word counts, too";
  spec.mutable_stall_timeout()->set_seconds(3600);
  EXPECT_EQ(MonitorPolicyOf(spec, {}).stall_after, std::chrono::hours(2));
}

TEST_F(RankMonitorTest, WhatAStallWaitsForIsDataAndNotOnlyASentence) {
  Beat({0, 1, 3}, 7, 1);
  monitor.Heartbeat(2, {.phase = "evaluate", .reduction = 6, .reduction_name = "fc1 gradients"},
                    now);
  for (int i = 0; i < 21; ++i) {
    now += seconds(30);
    Beat({0, 1, 3}, 7, 1);
    monitor.Heartbeat(2, {.phase = "evaluate", .reduction = 6, .reduction_name = "fc1 gradients"},
                      now);
  }
  const auto stall = monitor.Assess(now).stall;
  ASSERT_TRUE(stall.has_value());
  EXPECT_THAT(stall->ranks, ElementsAre(2));
  EXPECT_EQ(stall->operation, "fc1 gradients");
  EXPECT_EQ(stall->activity, "evaluate");
  const Failure kept = FromProto(ToProto(*stall));
  EXPECT_EQ(kept, *stall);
}

TEST_F(RankMonitorTest, ALauncherThatDoesNotEndAfterAllItsRanksIsAStall) {
  for (int rank : {0, 1, 2, 3}) monitor.Exited(rank, now);
  now += seconds(119);
  EXPECT_FALSE(monitor.Assess(now).stall.has_value());
  now += seconds(1);
  const auto stall = monitor.Assess(now).stall;
  ASSERT_TRUE(stall.has_value());
  EXPECT_EQ(stall->message,
            "all ranks reported their end 2 min ago, and their launcher has not ended");
}

TEST_F(RankMonitorTest, WhatTheCoordinatorDidNotHearWhileItWasStoppedIsHeldAgainstNobody) {
  Beat({0, 1, 2, 3}, 1, 1);
  now += minutes(20);
  Beat({0}, 1, 1);  // the first to speak again
  monitor.Excuse(minutes(20), now);
  EXPECT_EQ(monitor.Assess(now).liveness, Liveness::kLive);
  EXPECT_FALSE(monitor.Assess(now).stall.has_value());
  now += seconds(30);
  EXPECT_THAT(monitor.Assess(now).silent, ElementsAre(0, 1, 2, 3));
}

TEST_F(RankMonitorTest, ARankThatHasLeftIsNotMissed) {
  monitor.Exited(3, now);
  now += seconds(40);
  Beat({0, 1, 2}, 1, 1);
  EXPECT_EQ(monitor.Assess(now).liveness, Liveness::kLive);
  for (int rank : {0, 1, 2}) monitor.Exited(rank, now);
  now += std::chrono::hours(1);
  EXPECT_EQ(monitor.Assess(now).liveness, Liveness::kLive);
}

TEST_F(RankMonitorTest, TheSlowestRankSaysWhereTheJobIs) {
  EXPECT_FALSE(monitor.Slowest().has_value());
  monitor.Heartbeat(0, {.step = 7}, now);
  monitor.Heartbeat(1, {.step = 6}, now);
  EXPECT_EQ(monitor.Slowest()->step, 6);
}

TEST(RangesText, RunsOfRanksAreShort) {
  EXPECT_EQ(RangesText({}), "");
  EXPECT_EQ(RangesText({3}), "3");
  EXPECT_EQ(RangesText({3, 4}), "3 and 4");
  EXPECT_EQ(RangesText({0, 1, 2, 3, 7, 9, 10}), "0-3, 7, 9 and 10");
}

}  // namespace
}  // namespace syncbn::coordinator
