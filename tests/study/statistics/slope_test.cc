#include "study/statistics/slope.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "tests/study/statistics/support.h"

namespace syncbn::study {
namespace {

using Values = std::vector<double>;

TEST(Slope, IsExactOfPointsOnALine) {
  EXPECT_EQ(Slope(Values{0, 1, 2}, Values{5, 3, 1}), (Interval{-2, -2, -2}));
  EXPECT_EQ(Slope(Values{0, 1, 2}, Values{4, 4, 4}), (Interval{0, 0, 0}));
}

// By hand: slope 0.5, squared residuals 1.5 over 1 degree of freedom, t(0.975; 1) = 12.706.
TEST(Slope, HasStudentsIntervalOfItsResiduals) {
  const Interval slope = Slope(Values{0, 1, 2}, Values{0, 2, 1});
  EXPECT_DOUBLE_EQ(slope.estimate, 0.5);
  EXPECT_NEAR(slope.high, 0.5 + 12.7062 * std::sqrt(1.5 / 2), 1e-3);
  EXPECT_NEAR(slope.low, 0.5 - 12.7062 * std::sqrt(1.5 / 2), 1e-3);
}

TEST(Slope, ContainsTheTrueSlopeInNineteenOfTwentyStudies) {
  int contained = 0;
  for (uint64_t study = 0; study < 1000; ++study) {
    const Values x{1, 2, 3, 4, 5, 6};
    Values y = NormalSamples(study, x.size(), 3, 1);
    for (size_t i = 0; i < x.size(); ++i) y[i] += -1.5 * x[i];
    const Interval slope = Slope(x, y);
    if (slope.low <= -1.5 && -1.5 <= slope.high) ++contained;
  }
  EXPECT_GE(contained, 930);
  EXPECT_LE(contained, 970);
}

TEST(Slope, FollowsTheUnits) {
  const Values x{1, 2, 3, 5}, y{2, 3, 7, 8};
  const Interval one = Slope(x, y);
  Values small, large;
  for (double value : x) small.push_back(std::ldexp(value, -400));
  for (double value : y) large.push_back(std::ldexp(value, 400));
  EXPECT_EQ(Slope(small, large).high, std::ldexp(one.high, 800));
}

// Steps to a target against batch size, halving while the batch doubles.
TEST(LogLogSlope, IsTheExponentOfAPower) {
  Values batch, steps;
  for (int exponent = 3; exponent < 10; ++exponent) {
    batch.push_back(std::ldexp(1.0, exponent));
    steps.push_back(std::ldexp(1000.0, -exponent) * (exponent % 2 ? 1.01 : 0.99));
  }
  const Interval slope = LogLogSlope(batch, steps);
  EXPECT_GT(slope.low, -1.1);
  EXPECT_LT(slope.high, -0.9);
  EXPECT_LT(slope.low, -1);
  EXPECT_GT(slope.high, -1);
}

TEST(Slope, RefusesWhatHasNoSlope) {
  ExpectRefused([] { Slope(Values{1, 2}, Values{1, 2}); }, "2 samples, and 3 are needed");
  ExpectRefused([] { Slope(Values{2, 2, 2}, Values{1, 2, 3}); }, "all are 2");
  ExpectRefused([] { Slope(Values{1, 2, 3}, Values{1, 2}); }, "3 and 2");
  ExpectRefused([] { Slope(Values{1, 2, 3}, Values{1, 2, INFINITY}); }, "sample 2 is inf");
  ExpectRefused([] { Slope(Values{0, 1e-300, 2e-300}, Values{0, 1e300, 0}); }, "larger unit");
  ExpectRefused([] { LogLogSlope(Values{1, 2, 3}, Values{1, 0, 3}); }, "y: sample 1 is 0");
}

}  // namespace
}  // namespace syncbn::study
