#include "forecast/noise_law.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/rng.h"
#include "forecast/time_to_target.h"

namespace syncbn::forecast {
namespace {

std::vector<CountedTrial> Trials(const NoiseLaw& law, int seeds, double spread) {
  std::vector<CountedTrial> trials;
  RandomStream stream(RandomKey(5));
  for (int seed = 1; seed <= seeds; ++seed) {
    for (const double batch : {32.0, 64.0, 128.0, 256.0, 512.0}) {
      trials.push_back(
          {.batch = batch,
           .seed = static_cast<uint64_t>(seed),
           .steps = law.Steps(batch) * (1 + spread * (2 * stream.UniformDouble() - 1))});
    }
  }
  return trials;
}

TEST(NoiseLaw, TwiceTheLeastStepsAreTakenAtTheNoiseScale) {
  const NoiseLaw law{.steps_min = 100, .noise_scale = 400};
  EXPECT_EQ(law.Steps(400), 200);
  EXPECT_EQ(law.Steps(100), 500);
}

TEST(NoiseLaw, IsFoundAgainInStepsThatFollowIt) {
  const NoiseLaw law{.steps_min = 300, .noise_scale = 150};
  const UncertainLaw fit = FitLaw(Trials(law, 1, 0));
  EXPECT_NEAR(fit.estimate.steps_min, 300, 1e-6);
  EXPECT_NEAR(fit.estimate.noise_scale, 150, 1e-6);
  EXPECT_TRUE(fit.draws.empty()) << "one seed says nothing of others";
}

TEST(NoiseLaw, DrawsLieAroundTheTruthWhereSeedsDiffer) {
  const NoiseLaw law{.steps_min = 300, .noise_scale = 150};
  const UncertainLaw fit = FitLaw(Trials(law, 5, 0.1));
  ASSERT_GT(fit.draws.size(), 1000u);
  int below = 0;
  for (const NoiseLaw& draw : fit.draws) below += draw.noise_scale < 150 ? 1 : 0;
  EXPECT_GT(below, 20);
  EXPECT_LT(below, static_cast<int>(fit.draws.size()) - 20);
}

TEST(NoiseLaw, CannotBeToldFromOneBatchOrWhereStepsFallWithItInFull) {
  std::vector<CountedTrial> one = {{64, 1, 100}, {64, 2, 110}};
  EXPECT_THROW(FitLaw(one), Error);
  std::vector<CountedTrial> full = {{64, 1, 1000}, {128, 1, 500}, {256, 1, 240}};
  EXPECT_THROW(FitLaw(full), Error);
}

TEST(NoiseLaw, HasNoIntervalWhereResamplesHaveNoUpperEnd) {
  // With the first two seeds steps fall as fast as the batch grows, with the third they do not.
  std::vector<CountedTrial> trials;
  for (const uint64_t seed : {1, 2, 3}) {
    trials.push_back({64, seed, 1000});
    trials.push_back({128, seed, seed == 3 ? 800.0 : 498.0});
  }
  const UncertainLaw law = FitLaw(trials);
  EXPECT_GT(law.estimate.noise_scale, 0);
  EXPECT_TRUE(law.draws.empty()) << "those without the largest scales are no interval";
  EXPECT_NE(law.no_draws.find("steps fall as fast as the SGD batch grows"), std::string::npos)
      << law.no_draws;
}

TEST(NoiseLaw, OfAnIntervalGoesThroughTheStepsThatWereCounted) {
  const UncertainLaw law = LawOf({200, 400, 800}, CountedSteps{.batch = 400, .steps = 1000});
  EXPECT_FALSE(law.relative);
  EXPECT_EQ(law.estimate.steps_min, 500);
  ASSERT_FALSE(law.draws.empty());
  int inside = 0;
  for (const NoiseLaw& draw : law.draws) {
    EXPECT_NEAR(draw.Steps(400), 1000, 1e-9);
    inside += draw.noise_scale > 200 && draw.noise_scale < 800 ? 1 : 0;
  }
  EXPECT_NEAR(static_cast<double>(inside) / static_cast<double>(law.draws.size()), 0.95, 0.02);
  EXPECT_TRUE(LawOf({400, 400, 400}, std::nullopt).draws.empty());
  EXPECT_TRUE(LawOf({400, 400, 400}, std::nullopt).relative);
}

TEST(TimeToTarget, TheQuickestSettingBalancesStepsAndSeconds) {
  // Steps halve up to the noise scale and little beyond it; a step of twice the batch takes longer
  // by 1.
  const UncertainLaw law{.estimate = {.steps_min = 100, .noise_scale = 256}};
  const std::vector<Setting> settings = {
      {64, 4, 1}, {128, 4, 2}, {512, 16, 1.2}, {512, 32, 1.2}, {4096, 4, 30}};
  const TargetTimes times = PredictTimes(law, settings);
  EXPECT_EQ(times.best, 2u) << "of equals the smaller cluster";
  EXPECT_EQ(times.settings[0].time.estimate, 500);
  EXPECT_EQ(times.settings[2].steps, 150);
  EXPECT_EQ(times.settings[2].best_share, 1);
  EXPECT_EQ(times.settings[2].time.low, times.settings[2].time.high);
}

TEST(TimeToTarget, SharesOfTheDrawsAddUpAndIntervalsHoldTheEstimate) {
  const UncertainLaw law = LawOf({100, 300, 900}, CountedSteps{.batch = 128, .steps = 1000});
  const std::vector<Setting> settings = {{64, 1, 1}, {256, 1, 2.5}, {1024, 1, 9}};
  const TargetTimes times = PredictTimes(law, settings);
  double shares = 0;
  for (const TargetTime& one : times.settings) {
    shares += one.best_share;
    EXPECT_LE(one.time.low, one.time.estimate);
    EXPECT_LE(one.time.estimate, one.time.high);
    EXPECT_LT(one.time.low, one.time.high);
  }
  EXPECT_NEAR(shares, 1, 1e-9);
  EXPECT_GT(times.settings[times.best].best_share, 0.3);
}

}  // namespace
}  // namespace syncbn::forecast
