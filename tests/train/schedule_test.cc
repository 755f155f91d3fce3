#include "train/schedule.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/train/parts_support.h"

namespace syncbn::train {
namespace {

// As config hands it over: every default filled in.
v1::LearningRateSpec Spec(v1::Schedule schedule) {
  v1::LearningRateSpec spec;
  spec.set_base(0.5);
  spec.set_scaling(v1::LEARNING_RATE_SCALING_NONE);
  spec.set_reference_batch(256);
  spec.set_schedule(schedule);
  spec.set_gamma(0.1);
  spec.set_power(2);
  spec.set_rise(0.3);
  return spec;
}

constexpr int64_t kBatch = 64, kStepsPerEpoch = 10, kTotal = 40;

LearningRate Make(const v1::LearningRateSpec& spec, int64_t batch = kBatch) {
  return LearningRate(spec, batch, kStepsPerEpoch, kTotal);
}

TEST(LearningRate, ConstantIsTheBaseThroughout) {
  const LearningRate rate = Make(Spec(v1::SCHEDULE_CONSTANT));
  for (int64_t step : {0, 1, 39, 40, 1000}) EXPECT_EQ(rate.At(step), 0.5);
}

TEST(LearningRate, OfARuleThatNobodyHasTaughtItIsAnError) {
  EXPECT_THROW(Make(Spec(static_cast<v1::Schedule>(99))).At(0), Error);
  v1::LearningRateSpec spec = Spec(v1::SCHEDULE_CONSTANT);
  spec.set_scaling(static_cast<v1::LearningRateScaling>(99));
  EXPECT_THROW(Make(spec), Error);
}

TEST(LearningRate, ScalesWithTheSgdBatch) {
  v1::LearningRateSpec spec = Spec(v1::SCHEDULE_CONSTANT);
  EXPECT_EQ(Make(spec, 1024).peak(), 0.5);
  spec.set_scaling(v1::LEARNING_RATE_SCALING_LINEAR);
  EXPECT_EQ(Make(spec, 1024).peak(), 2.0);
  EXPECT_EQ(Make(spec, 64).peak(), 0.125);
  spec.set_scaling(v1::LEARNING_RATE_SCALING_SQRT);
  EXPECT_EQ(Make(spec, 1024).peak(), 1.0);
  EXPECT_EQ(Make(spec, 64).peak(), 0.25);
}

TEST(LearningRate, WarmUpOfAScaledRateStartsAtTheBaseAndIsLinear) {
  v1::LearningRateSpec spec = Spec(v1::SCHEDULE_CONSTANT);
  spec.set_scaling(v1::LEARNING_RATE_SCALING_LINEAR);
  spec.set_warmup_epochs(0.4);
  const LearningRate rate = Make(spec, 1024);
  EXPECT_EQ(rate.warmup_steps(), 4);
  EXPECT_EQ(rate.At(0), 0.5);
  EXPECT_EQ(rate.At(1), 0.875);
  EXPECT_EQ(rate.At(2), 1.25);
  EXPECT_EQ(rate.At(3), 1.625);
  EXPECT_EQ(rate.At(4), 2.0);
  EXPECT_EQ(rate.At(39), 2.0);
}

TEST(LearningRate, WarmUpOfAnUnscaledRateStartsAboveZero) {
  v1::LearningRateSpec spec = Spec(v1::SCHEDULE_CONSTANT);
  spec.set_warmup_epochs(0.4);
  const LearningRate rate = Make(spec);
  EXPECT_DOUBLE_EQ(rate.At(0), 0.1);
  EXPECT_DOUBLE_EQ(rate.At(1), 0.2);
  EXPECT_DOUBLE_EQ(rate.At(3), 0.4);
  EXPECT_EQ(rate.At(4), 0.5);
}

TEST(LearningRate, WarmUpOfARateScaledDownStartsAtZeroNotAtTheHigherBase) {
  v1::LearningRateSpec spec = Spec(v1::SCHEDULE_CONSTANT);
  spec.set_scaling(v1::LEARNING_RATE_SCALING_LINEAR);
  spec.set_warmup_epochs(0.3);
  const LearningRate rate = Make(spec, 128);  // peak 0.25
  EXPECT_EQ(rate.At(0), 0.0625);
  EXPECT_EQ(rate.At(3), 0.25);
}

TEST(LearningRate, WarmUpLongerThanTheRunNeverReachesThePeak) {
  v1::LearningRateSpec spec = Spec(v1::SCHEDULE_COSINE);
  spec.set_warmup_epochs(8);
  const LearningRate rate = Make(spec);
  for (int64_t step = 1; step < kTotal; ++step) EXPECT_GT(rate.At(step), rate.At(step - 1));
  EXPECT_LT(rate.At(kTotal - 1), 0.5);
}

TEST(LearningRate, StepFallsAtItsMilestones) {
  v1::LearningRateSpec spec = Spec(v1::SCHEDULE_STEP);
  spec.add_milestones(2);
  spec.add_milestones(3.5);
  const LearningRate rate = Make(spec);
  EXPECT_EQ(rate.At(0), 0.5);
  EXPECT_EQ(rate.At(19), 0.5);
  EXPECT_DOUBLE_EQ(rate.At(20), 0.05);
  EXPECT_DOUBLE_EQ(rate.At(34), 0.05);
  EXPECT_DOUBLE_EQ(rate.At(35), 0.005);
  EXPECT_DOUBLE_EQ(rate.At(39), 0.005);
}

TEST(LearningRate, MilestonesCountFromTheStartOfTheRunNotFromTheEndOfTheWarmUp) {
  v1::LearningRateSpec spec = Spec(v1::SCHEDULE_STEP);
  spec.add_milestones(2);
  spec.set_warmup_epochs(1);
  const LearningRate rate = Make(spec);
  EXPECT_EQ(rate.At(10), 0.5);
  EXPECT_EQ(rate.At(19), 0.5);
  EXPECT_DOUBLE_EQ(rate.At(20), 0.05);
}

TEST(LearningRate, CosineGoesFromThePeakOverTheMiddleToTheFinalShare) {
  v1::LearningRateSpec spec = Spec(v1::SCHEDULE_COSINE);
  spec.set_final(0.2);
  const LearningRate rate = Make(spec);
  EXPECT_EQ(rate.At(0), 0.5);
  EXPECT_DOUBLE_EQ(rate.At(20), (0.5 + 0.1) / 2);
  EXPECT_DOUBLE_EQ(rate.At(10), 0.1 + 0.4 * (1 + std::sqrt(0.5)) / 2);
  EXPECT_GT(rate.At(39), 0.1);
  EXPECT_DOUBLE_EQ(rate.At(40), 0.1);
  EXPECT_DOUBLE_EQ(rate.At(500), 0.1);
  for (int64_t step = 1; step < kTotal; ++step) EXPECT_LT(rate.At(step), rate.At(step - 1));
}

TEST(LearningRate, CosineStartsAfterTheWarmUp) {
  v1::LearningRateSpec spec = Spec(v1::SCHEDULE_COSINE);
  spec.set_warmup_epochs(2);
  const LearningRate rate = Make(spec);
  EXPECT_EQ(rate.At(20), 0.5);
  EXPECT_DOUBLE_EQ(rate.At(30), 0.25);
}

TEST(LearningRate, PolynomialFollowsItsPower) {
  v1::LearningRateSpec spec = Spec(v1::SCHEDULE_POLYNOMIAL);
  LearningRate rate = Make(spec);
  EXPECT_EQ(rate.At(0), 0.5);
  EXPECT_EQ(rate.At(10), 0.5 * 0.5625);
  EXPECT_EQ(rate.At(20), 0.5 * 0.25);
  EXPECT_EQ(rate.At(40), 0);
  spec.set_power(1);
  spec.set_final(0.5);
  rate = Make(spec);
  EXPECT_EQ(rate.At(20), 0.375);
  EXPECT_EQ(rate.At(40), 0.25);
}

TEST(LearningRate, OneCycleRisesFromAPeakOver25AndFalls) {
  v1::LearningRateSpec spec = Spec(v1::SCHEDULE_ONE_CYCLE);
  spec.set_rise(0.25);
  spec.set_final(0.01);
  const LearningRate rate = Make(spec);
  EXPECT_DOUBLE_EQ(rate.At(0), 0.02);
  EXPECT_DOUBLE_EQ(rate.At(5), (0.02 + 0.5) / 2);
  EXPECT_DOUBLE_EQ(rate.At(10), 0.5);
  EXPECT_DOUBLE_EQ(rate.At(25), (0.5 + 0.005) / 2);
  EXPECT_DOUBLE_EQ(rate.At(40), 0.005);
  for (int64_t step = 1; step <= 10; ++step) EXPECT_GT(rate.At(step), rate.At(step - 1));
  for (int64_t step = 11; step <= 40; ++step) EXPECT_LT(rate.At(step), rate.At(step - 1));
}

TEST(LearningRate, OneCycleRefusesAWarmUp) {
  v1::LearningRateSpec spec = Spec(v1::SCHEDULE_ONE_CYCLE);
  spec.set_warmup_epochs(1);
  EXPECT_EQ(ErrorOf([&] { Make(spec); }),
            "INVALID_ARGUMENT: train.learning_rate: one_cycle rises by itself during `rise` of the "
            "run; leave out warmup_epochs");
}

TEST(LearningRate, EveryScheduleIsContinuousAtTheEndOfItsWarmUp) {
  for (v1::Schedule schedule :
       {v1::SCHEDULE_CONSTANT, v1::SCHEDULE_STEP, v1::SCHEDULE_COSINE, v1::SCHEDULE_POLYNOMIAL}) {
    v1::LearningRateSpec spec = Spec(schedule);
    spec.set_warmup_epochs(1);
    const LearningRate rate = Make(spec);
    EXPECT_LT(rate.At(9), rate.At(10)) << schedule;
    EXPECT_EQ(rate.At(10), 0.5) << schedule;
    EXPECT_LE(rate.At(11), rate.At(10)) << schedule;
  }
}

}  // namespace
}  // namespace syncbn::train
