#include "nn/parameters.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <new>
#include <vector>

#include "base/error.h"
#include "nn/parameter_set.h"
#include "tests/nn/support.h"

namespace syncbn::nn {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Initializer Normal(double std) {
  return {Initializer::Kind::kNormal, std};
}

std::vector<double> Values(const Tensor& x) {
  return {x.Span<double>().begin(), x.Span<double>().end()};
}

TEST(ParameterLayout, PadsEveryStartToSixteenElementsWithZeros) {
  ParameterLayout layout;
  EXPECT_EQ(layout.Add({.name = "a", .shape = {3, 5}, .initializer = Normal(1)}), 0);
  EXPECT_EQ(layout.Add({.name = "b", .shape = {16}, .initializer = Normal(1)}), 1);
  EXPECT_EQ(layout.Add({.name = "c", .shape = {17}, .initializer = Normal(1)}), 2);
  EXPECT_EQ(layout[1].offset, 16);
  EXPECT_EQ(layout[2].offset, 32);
  EXPECT_EQ(layout.flat_elements(), 64);
  EXPECT_EQ(layout.elements(), 15 + 16 + 17);
  EXPECT_EQ(layout.Find("b"), 1);
  EXPECT_EQ(layout.Find("d"), -1);
  const Tensor flat = InitialParameters(layout, 1, DType::kFloat64);
  EXPECT_EQ(flat.Data<double>()[15], 0);
  for (int64_t i = 49; i < 64; ++i) EXPECT_EQ(flat.Data<double>()[i], 0);
}

TEST(ParameterLayout, RefusesANameTwice) {
  ParameterLayout layout;
  layout.Add({.name = "fc.weight", .shape = {3}});
  EXPECT_THAT(ErrorOf([&] { layout.Add({.name = "fc.weight", .shape = {4}}); }),
              HasSubstr("two parameters are called \"fc.weight\""));
}

TEST(InitialParameters, DependOnSeedAndNameAlone) {
  ParameterLayout alone, beside;
  alone.Add({.name = "x", .shape = {40}, .initializer = Normal(2)});
  beside.Add({.name = "other", .shape = {7}, .initializer = Normal(1)});
  const int x = beside.Add({.name = "x", .shape = {40}, .initializer = Normal(2)});
  const Tensor a = alone.View(InitialParameters(alone, 5, DType::kFloat64), 0);
  EXPECT_TRUE(SameBits(beside.View(InitialParameters(beside, 5, DType::kFloat64), x), a));
  EXPECT_GT(MaxDifference(alone.View(InitialParameters(alone, 6, DType::kFloat64), 0), a), 0.1);
}

TEST(InitialParameters, OfAnotherNameAreThoseOfThatName) {
  ParameterLayout layout;
  layout.Add({.name = "a.weight", .shape = {40}, .initializer = Normal(1)});
  layout.Add(
      {.name = "a.weight_v", .shape = {40}, .initializer = Normal(1), .drawn_as = "a.weight"});
  const Tensor flat = InitialParameters(layout, 1, DType::kFloat64);
  EXPECT_TRUE(SameBits(layout.View(flat, 1), layout.View(flat, 0)));
}

TEST(InitialParameters, FloatIsTheDoubleRounded) {
  ParameterLayout layout;
  layout.Add({.name = "n", .shape = {1000}, .initializer = Normal(0.3)});
  layout.Add({.name = "u", .shape = {1000}, .initializer = {Initializer::Kind::kUniform, 0.5}});
  layout.Add({.name = "c", .shape = {10}, .initializer = {Initializer::Kind::kConstant, 0.1}});
  const Tensor exact = InitialParameters(layout, 1, DType::kFloat64);
  EXPECT_TRUE(SameBits(InitialParameters(layout, 1, DType::kFloat32), As(exact, DType::kFloat32)));
}

TEST(InitialParameters, HaveTheDistributionAskedFor) {
  ParameterLayout layout;
  layout.Add({.name = "n", .shape = {100000}, .initializer = Normal(0.3)});
  layout.Add({.name = "u", .shape = {100000}, .initializer = {Initializer::Kind::kUniform, 0.5}});
  const Tensor flat = InitialParameters(layout, 1, DType::kFloat64);
  const auto moments = [&](int index) {
    double sum = 0, squares = 0;
    for (double value : Values(layout.View(flat, index))) {
      sum += value;
      squares += value * value;
    }
    return std::pair(sum / 1e5, std::sqrt(squares / 1e5));
  };
  // Within five standard errors.
  EXPECT_NEAR(moments(0).first, 0, 5 * 0.3 / std::sqrt(1e5));
  EXPECT_NEAR(moments(0).second, 0.3, 5 * 0.3 / std::sqrt(2e5));
  EXPECT_NEAR(moments(1).first, 0, 5 * 0.29 / std::sqrt(1e5));
  EXPECT_NEAR(moments(1).second, 0.5 / std::sqrt(3), 5 * 0.29 / std::sqrt(1e5));
  EXPECT_LE(MaxAbsolute(layout.View(flat, 1)), 0.5);
}

TEST(InitialParameters, TheGainOfAWeightNormIsTheLengthOfEachRow) {
  ParameterLayout layout;
  const int v = layout.Add({.name = "v", .shape = {3, 4}, .initializer = Normal(1)});
  const int g = layout.Add(
      {.name = "g", .shape = {3, 1}, .role = ParameterRole::kWeightNormGain, .norm_of = v});
  const Tensor flat = InitialParameters(layout, 1, DType::kFloat64);
  for (int64_t row = 0; row < 3; ++row) {
    double squares = 0;
    for (double value : Values(layout.View(flat, v).Rows(row, row + 1))) squares += value * value;
    EXPECT_DOUBLE_EQ(layout.View(flat, g).Data<double>()[row], std::sqrt(squares));
  }
}

class UpdatedRunningStatisticsTest : public ::testing::Test {
 protected:
  void SetUp() override { norm_ = layout_.Add("bn", 2, true); }

  Tensor Moments(double count, std::vector<double> mean, std::vector<double> m2) {
    Tensor moments = Tensor::Zeros({layout_.moments_elements()}, DType::kFloat64);
    double* out = moments.Data<double>() + layout_[norm_].moments_offset;
    out[0] = count;
    for (size_t c = 0; c < 2; ++c) {
      out[1 + c] = mean[c];
      out[3 + c] = m2[c];
    }
    return moments;
  }

  RunningStatisticsLayout layout_;
  int norm_ = 0;
};

TEST_F(UpdatedRunningStatisticsTest, StartsAtMeanZeroVarianceOneAndNoBatches) {
  EXPECT_THAT(Values(InitialRunningStatistics(layout_)), ElementsAre(0, 0, 1, 1, 0));
}

TEST_F(UpdatedRunningStatisticsTest, MovesByTheMomentumTowardsTheUnbiasedVariance) {
  const RunningRule rule{RunningRule::Kind::kMomentum, 0.25};
  const Tensor state =
      UpdatedOnHost(layout_, rule, InitialRunningStatistics(layout_), Moments(5, {4, 8}, {8, 16}));
  EXPECT_THAT(Values(state), ElementsAre(1, 2, 0.75 + 0.25 * 2, 0.75 + 0.25 * 4, 1));
}

TEST_F(UpdatedRunningStatisticsTest, CumulativeIsTheMeanOverBatches) {
  const RunningRule rule{RunningRule::Kind::kCumulative};
  Tensor state =
      UpdatedOnHost(layout_, rule, InitialRunningStatistics(layout_), Moments(5, {4, 8}, {8, 16}));
  state = UpdatedOnHost(layout_, rule, state, Moments(3, {2, 0}, {8, 0}));
  EXPECT_THAT(Values(state), ElementsAre(3, 4, 3, 2, 2));
}

TEST_F(UpdatedRunningStatisticsTest, NeitherMeanNorVarianceMovesWhenTheCountIsOne) {
  for (const auto kind : {RunningRule::Kind::kMomentum, RunningRule::Kind::kCumulative}) {
    const RunningRule rule{kind, 0.5};
    const Tensor before = UpdatedOnHost(layout_, rule, InitialRunningStatistics(layout_),
                                        Moments(5, {4, 8}, {8, 16}));
    EXPECT_TRUE(SameBits(UpdatedOnHost(layout_, rule, before, Moments(1, {7, 7}, {0, 0})), before));
  }
}

TEST_F(UpdatedRunningStatisticsTest, LeavesALayerThatSawNothingAndOneThatIsNotTracked) {
  const int untracked = layout_.Add("other", 3, false);
  EXPECT_EQ(layout_.flat_elements(), 5) << "no room for what is not kept";
  EXPECT_EQ(layout_[untracked].moments_offset, 5) << "but its moments are logged";
  const RunningRule rule{RunningRule::Kind::kMomentum, 0.5};
  const Tensor before = InitialRunningStatistics(layout_);
  EXPECT_TRUE(SameBits(UpdatedOnHost(layout_, rule, before, Moments(0, {0, 0}, {0, 0})), before));
  const Tensor moved = UpdatedOnHost(layout_, rule, before, Moments(2, {2, 2}, {2, 2}));
  EXPECT_THAT(Values(moved), ElementsAre(1, 1, 1.5, 1.5, 1));
}

TEST_F(UpdatedRunningStatisticsTest, CovariancesMoveAsVariancesDo) {
  RunningStatisticsLayout layout;
  layout.Add("bn", 3, true, 2);
  // [count, mean, co-moments of the upper triangle] of channels 0 and 1, and of channel 2.
  Tensor moments = Tensor::Zeros({layout.moments_elements()}, DType::kFloat64);
  std::ranges::copy(std::vector<double>({5, 4, 8, 8, -4, 16, 5, 12, 24}), moments.Data<double>());
  const RunningRule rule{RunningRule::Kind::kMomentum, 0.25};
  EXPECT_THAT(Values(UpdatedOnHost(layout, rule, InitialRunningStatistics(layout), moments)),
              ElementsAre(1, 2, 1.25, -0.25, -0.25, 1.75, 1, 3, 2.25, 1));
}

TEST_F(UpdatedRunningStatisticsTest, IsAPureFunction) {
  const RunningRule rule{RunningRule::Kind::kMomentum, 0.5};
  const Tensor before = InitialRunningStatistics(layout_), copy = before.Clone();
  UpdatedOnHost(layout_, rule, before, Moments(5, {4, 8}, {8, 16}));
  EXPECT_TRUE(SameBits(before, copy));
}

TEST_F(UpdatedRunningStatisticsTest, WithoutARuleNothingMoves) {
  const RunningRule rule{RunningRule::Kind::kNone};
  EXPECT_TRUE(SameBits(
      UpdatedOnHost(layout_, rule, InitialRunningStatistics(layout_), Moments(5, {4, 8}, {8, 16})),
      InitialRunningStatistics(layout_)));
}

TEST(ParameterSet, HasANewVersionInEveryCopyWheneverItIsWrittenTo) {
  ParameterSet set(Tensor::Zeros({4}, DType::kFloat32));
  const ParameterSet copy = set;
  const backend::WeightsVersion first = copy.version();
  EXPECT_TRUE(static_cast<bool>(first));
  set.Write([](Tensor& values) { values.Data<float>()[2] = 5; });
  EXPECT_TRUE(static_cast<bool>(copy.version()));
  EXPECT_FALSE(copy.version() == first);
  EXPECT_TRUE(copy.version() == set.version());
  EXPECT_EQ(copy.values().Span<float>()[2], 5);
  // Half written, they have none: nothing of them is kept.
  EXPECT_THROW(set.Write([](Tensor&) { throw std::bad_alloc(); }), std::bad_alloc);
  EXPECT_FALSE(static_cast<bool>(copy.version()));
  EXPECT_FALSE(ParameterSet(copy.values()).version() == ParameterSet(copy.values()).version());
}

}  // namespace
}  // namespace syncbn::nn
