#include "forecast/step_model.h"

#include <gtest/gtest.h>

namespace syncbn::forecast {
namespace {

// Powers of two, so that sums are exact.
constexpr double kLatency = 1.0 / 1024, kBandwidth = 1 << 20;
constexpr Network kNetwork{.latency = kLatency, .bandwidth = kBandwidth};

comm::RoundTraffic Round(int64_t bytes, int64_t messages = 1) {
  return {messages, messages, bytes, bytes, bytes / messages};
}

// A step: `compute` before each event. Reduction i is started at the first mention, waited for at
// the next.
struct Program {
  ProcessProgram process;

  Program& Start(double compute, std::vector<comm::RoundTraffic> rounds) {
    const auto index = static_cast<int>(process.reductions.size());
    process.program.events.push_back({EventKind::kStart, index, compute});
    process.program.reductions.push_back({.name = std::to_string(index)});
    process.reductions.push_back({});
    if (!rounds.empty()) process.reductions.back().groups.push_back(std::move(rounds));
    return *this;
  }
  Program& Wait(double compute, int reduction, EventKind kind = EventKind::kWaitInPass) {
    process.program.events.push_back({kind, reduction, compute});
    return *this;
  }
  StepTime Predict(const ProcessShape& shape = {}, const HostCosts& costs = {}) const {
    return PredictStep(process, shape, kNetwork, costs);
  }
};

TEST(StepModel, AStepWithoutMessagesIsItsCompute) {
  Program program;
  program.Start(1, {}).Wait(2, 0);
  program.process.program.rest = 0.5;
  const StepTime time = program.Predict();
  EXPECT_EQ(time.compute, 3);
  EXPECT_EQ(time.other, 0.5);
  EXPECT_EQ(time.total(), 3.5);
  EXPECT_EQ(time.efficiency(), 1);
  EXPECT_EQ(time.statistics_share(), 0);
}

TEST(StepModel, StatisticsAreWaitedForInFull) {
  Program program;
  program.Start(1, {Round(1024), Round(1024)}).Wait(0, 0);
  const StepTime time = program.Predict();
  EXPECT_EQ(time.statistics, 2 * (kLatency + 1024 / kBandwidth));
  EXPECT_EQ(time.gradients, 0);
}

TEST(StepModel, GradientsGoOnWhileTheBackwardPassDoes) {
  Program program;
  program.Start(1, {Round(1 << 16)}).Wait(1, 0, EventKind::kWaitAtEnd);
  EXPECT_EQ(program.Predict().gradients, 0)
      << "65536 / 2^20 s are less than the second that follows";
  Program late;
  late.Start(1, {Round(1 << 16)}).Wait(0, 0, EventKind::kWaitAtEnd);
  EXPECT_EQ(late.Predict().gradients, kLatency + 1.0 / 16);
}

TEST(StepModel, ALaterRoundBeginsWhenTheProcessLooksAtItsMessages) {
  // The first round is over long before the pass is; the second begins after it.
  Program program;
  program.Start(0, {Round(1024), Round(1024)}).Wait(8, 0, EventKind::kWaitAtEnd);
  EXPECT_EQ(program.Predict().gradients, kLatency + 1024 / kBandwidth);
  // With an event between, in which it looks, nothing is left to be waited for.
  Program looking;
  looking.Start(0, {Round(1024), Round(1024)}).Start(4, {}).Wait(4, 0, EventKind::kWaitAtEnd);
  EXPECT_EQ(looking.Predict().gradients, 0);
}

TEST(StepModel, StatisticsQueueBehindGradientsOnTheSameLink) {
  Program program;
  program.Start(0, {Round(1 << 20)}).Start(0, {Round(1024)}).Wait(0, 1);
  EXPECT_EQ(program.Predict().statistics, 1 + 1024 / kBandwidth + kLatency);
}

TEST(StepModel, LongMessagesAreAnnouncedFirst) {
  Program program;
  program.Start(0, {Round(1 << 18)}).Wait(0, 0);
  EXPECT_EQ(program.Predict().statistics, 3 * kLatency + 0.25);
}

TEST(StepModel, SoftwareCostsEachRoundAndEachFurtherMessage) {
  const HostCosts costs{
      .seconds_per_round = 0.5, .seconds_per_message = 0.25, .seconds_per_byte = 1.0 / 1024};
  Program program;
  program.Start(0, {Round(1024, 4)}).Wait(0, 0);
  EXPECT_EQ(program.Predict({}, costs).statistics,
            kLatency + 1024 / kBandwidth + 0.5 + 3 * 0.25 + 1);
}

TEST(StepModel, ReplicasTakeTurnsOnTheCoresOfTheirProcess) {
  Program program;
  program.Start(1, {}).Wait(1, 0);
  program.process.program.rest = 1;
  EXPECT_EQ(program.Predict({.replicas = 4, .cores = 2}).compute, 4);
  EXPECT_EQ(program.Predict({.replicas = 1, .cores = 2}).compute, 2) << "one cannot use two cores";
  EXPECT_EQ(program.Predict({.replicas = 4, .cores = 1}).other, 1) << "of the process, not of each";
}

TEST(StepModel, GroupsOfAProcessGoSideBySide) {
  Program program;
  program.Start(0, {Round(1024)});
  program.process.reductions[0].groups.push_back({Round(1024)});
  program.Wait(0, 0);
  EXPECT_EQ(program.Predict().statistics, kLatency + 2048 / kBandwidth);
}

}  // namespace
}  // namespace syncbn::forecast
