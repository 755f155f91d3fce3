// Where time goes: every moment once, as computing while anybody computes.
#include "train/step_clock.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "comm/in_process.h"
#include "comm/make_reducer.h"
#include "comm/progress_board.h"
#include "train/watched_reducer.h"

namespace syncbn::train {
namespace {

using namespace std::chrono_literals;

class StepClockTest : public testing::Test {
 protected:
  StepClockTest() { clock_.Restart(); }
  // Milliseconds of each share since Restart: compute, statistics, gradients, data.
  std::vector<double> Shares() {
    const TimeShares shares = clock_.Read();
    return {shares.Milliseconds(Share::kCompute), shares.Milliseconds(Share::kStatistics),
            shares.Milliseconds(Share::kGradients), shares.Milliseconds(Share::kData)};
  }

  ManualClock time_;
  StepClock clock_{2, time_};
};

TEST_F(StepClockTest, CountsComputingWhileOneOfTheReplicasComputes) {
  const StepClock::Wait wait(clock_, Share::kData);
  time_.Advance(7ms);
  EXPECT_EQ(Shares(), (std::vector<double>{7, 0, 0, 0}));
}

TEST_F(StepClockTest, CountsUnderWhatTheLastOfThemBeganToWaitFor) {
  time_.Advance(1ms);
  {
    const StepClock::Wait first(clock_, Share::kData);
    time_.Advance(2ms);
    {
      const StepClock::Wait second(clock_, Share::kStatistics);
      time_.Advance(4ms);
    }
    time_.Advance(8ms);
    const StepClock::Wait second(clock_, Share::kGradients);
    time_.Advance(16ms);
  }
  time_.Advance(32ms);
  EXPECT_EQ(Shares(), (std::vector<double>{1 + 2 + 8 + 32, 4, 16, 0}));
}

TEST_F(StepClockTest, SharesAddUpToTheTimeThatHasPassed) {
  double wanted = 0;
  for (int i = 0; i < 20; ++i) {
    const StepClock::Wait first(clock_, i % 2 == 0 ? Share::kData : Share::kGradients);
    time_.Advance(std::chrono::milliseconds(i));
    const StepClock::Wait second(clock_, i % 3 == 0 ? Share::kStatistics : Share::kData);
    time_.Advance(1ms);
    wanted += i + 1;
  }
  double sum = 0;
  for (const double share : Shares()) sum += share;
  EXPECT_EQ(sum, wanted);
}

TEST_F(StepClockTest, ForgetsWhatWasBeforeItsRestart) {
  time_.Advance(7ms);
  clock_.Restart();
  time_.Advance(3ms);
  EXPECT_EQ(Shares(), (std::vector<double>{3, 0, 0, 0}));
}

TEST_F(StepClockTest, ReadingChangesNothing) {
  time_.Advance(7ms);
  EXPECT_EQ(Shares(), Shares());
}

TEST(WatchedReducer, CountsWaitsAndIsInAllElseTheOneItWraps) {
  const auto communicators = comm::MakeInProcessCommunicators(1);
  const auto reducer = comm::MakeReducer(*communicators[0], {.replicas = 1});
  StepClock clock(1);
  WatchedReducer timed(*reducer, WatchedReducer::Of::kLayers, clock, nullptr);
  timed.Report(0, 3, "forward", "conv1");
  const comm::ReplicaLink link{&timed, 0};
  for (int i = 0; i < 4; ++i) {
    link.Reduce({.group = {0, 1}, .contribution = Tensor::Zeros({2}, DType::kFloat64), .name = "x"});
  }
  EXPECT_EQ(timed.replicas(), 1);
  EXPECT_EQ(timed.counters().reductions, 4);
  EXPECT_EQ(timed.board().ReadActivity().reductions, 4);
  EXPECT_EQ(timed.board().ReadActivity().where, "conv1");
  EXPECT_FALSE(timed.CheckWaits());
  timed.Poison(0, "it is over");
  EXPECT_TRUE(timed.CheckWaits());
  EXPECT_THROW(timed.ThrowFailure(), Error);
}

}  // namespace
}  // namespace syncbn::train
