#include "study/statistics/verdict.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "tests/study/statistics/support.h"

namespace syncbn::study {
namespace {

using Values = std::vector<double>;

// The largest rate that trains, with a normalization over that without, of 7 seeds: about `ratio`,
// within a third.
Interval LargestRates(double ratio) {
  const Values noise = NormalSamples(11, 7, 0, 0.15), base = NormalSamples(12, 7, -2, 0.3);
  Values with, without;
  for (size_t i = 0; i < noise.size(); ++i) {
    without.push_back(std::exp(base[i]));
    with.push_back(ratio * std::exp(base[i] + noise[i]));
  }
  return PairedRatio(with, without);
}

// "10 times higher rates": supported from 10 on, refuted below 3.
TEST(Verdict, ComesOutInAllThreeWaysOnSyntheticResults) {
  const Rule rule = AtLeast(10, 3);
  EXPECT_EQ(Decide(LargestRates(25), rule), Verdict::kSupported);
  EXPECT_EQ(Decide(LargestRates(10), rule), Verdict::kInconclusive);   // across the threshold
  EXPECT_EQ(Decide(LargestRates(5.5), rule), Verdict::kInconclusive);  // between the thresholds
  EXPECT_EQ(Decide(LargestRates(1.8), rule), Verdict::kRefuted);
  EXPECT_EQ(Decide(LargestRates(0.5), rule), Verdict::kRefuted);
}

TEST(Verdict, OfEquivalenceComesOutInAllThreeWaysOnSyntheticResults) {
  const auto decide = [](double difference, double noise) {
    const Values a = NormalSamples(21, 8, 70, 4), extra = NormalSamples(22, 8, difference, noise);
    Values b = a;
    for (size_t i = 0; i < b.size(); ++i) b[i] += extra[i];
    return Decide(TestEquivalence(a, b, 1));
  };
  EXPECT_EQ(decide(0.1, 0.3), Verdict::kSupported);
  EXPECT_EQ(decide(0, 5), Verdict::kInconclusive);
  EXPECT_EQ(decide(3, 0.3), Verdict::kRefuted);
  EXPECT_EQ(decide(-3, 0.3), Verdict::kRefuted);
}

// The negative control of the statistics themselves: a false claim gets through in 1 of 40 studies.
TEST(Verdict, SupportsAFalseClaimInOneOfFortyStudiesAtMost) {
  int supported = 0, refuted = 0;
  for (uint64_t study = 0; study < 2000; ++study) {
    const Interval gain = MeanInterval(NormalSamples(study, 5, 0, 1));
    supported += Decide(gain, AtLeast(0)) == Verdict::kSupported;
    refuted += Decide(gain, AtLeast(0)) == Verdict::kRefuted;
  }
  EXPECT_LE(supported, 75);  // 50 +- 7
  EXPECT_LE(refuted, 75);
  EXPECT_GE(supported, 25);
}

TEST(Rule, AtMostIsTheMirrorOfAtLeast) {
  const Rule rule = AtMost(3, 20);
  EXPECT_EQ(Decide({1, 2, 3}, rule), Verdict::kSupported);
  EXPECT_EQ(Decide({2, 3, 4}, rule), Verdict::kInconclusive);
  EXPECT_EQ(Decide({4, 10, 20}, rule), Verdict::kInconclusive);
  EXPECT_EQ(Decide({21, 25, 30}, rule), Verdict::kRefuted);
}

TEST(Rule, BetweenIsRefutedOnEitherSide) {
  const Rule rule = Between(-1.1, -0.9, -1.5, -0.5);
  EXPECT_EQ(Decide({-1.05, -1, -0.95}, rule), Verdict::kSupported);
  EXPECT_EQ(Decide({-1.2, -1, -0.95}, rule), Verdict::kInconclusive);
  EXPECT_EQ(Decide({-0.8, -0.7, -0.6}, rule), Verdict::kInconclusive);
  EXPECT_EQ(Decide({-0.4, 0, 0.4}, rule), Verdict::kRefuted);
  EXPECT_EQ(Decide({-2, -1.8, -1.6}, rule), Verdict::kRefuted);
  EXPECT_EQ(Decide({-2, -1, 0}, rule), Verdict::kInconclusive);
  EXPECT_EQ(Decide({-0.8, -0.8, -0.8}, Between(-1.1, -0.9)), Verdict::kRefuted);
}

TEST(Rule, CountsTheThresholdItselfForTheClaimWhateverTheRounding) {
  // Ten times higher on a grid of powers of ten, in every seed.
  const Interval ratio = PairedRatio(Values{1, 0.1, 0.3, 3, 1}, Values{0.1, 0.01, 0.03, 0.3, 0.1});
  EXPECT_EQ(Decide(ratio, AtLeast(10)), Verdict::kSupported);
  EXPECT_EQ(Decide(ratio, AtMost(10)), Verdict::kSupported);
  EXPECT_EQ(Decide(ratio, AtLeast(20, 10)), Verdict::kInconclusive);
  EXPECT_EQ(Decide({9.99, 9.995, 9.999}, AtLeast(10)), Verdict::kRefuted);
  EXPECT_EQ(Decide({10.001, 10.002, 10.003}, AtMost(10)), Verdict::kRefuted);
}

TEST(Verdict, IsGivenOfUnboundedIntervals) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(Decide({12, kInfinity, kInfinity}, AtLeast(10, 3)), Verdict::kSupported);
  EXPECT_EQ(Decide({12, kInfinity, kInfinity}, AtMost(10)), Verdict::kRefuted);
  EXPECT_EQ(Decide({-kInfinity, 0, kInfinity}, Between(-1, 1)), Verdict::kInconclusive);
}

TEST(Verdict, RefusesWhatDecidesNothing) {
  ExpectRefused([] { AtLeast(3, 10); }, "must lie outside");
  ExpectRefused([] { AtMost(10, 3); }, "must lie outside");
  ExpectRefused([] { Between(1, -1); }, "must lie outside");
  ExpectRefused([] { Between(-1, 1, -0.5, 2); }, "must lie outside");
  ExpectRefused([] { AtLeast(std::nan("")); }, "must lie outside");
  ExpectRefused([] { Decide({std::nan(""), 1, 2}, AtLeast(1)); }, "no verdict");
  ExpectRefused([] { Decide({1, std::nan(""), 2}, AtLeast(1)); }, "no verdict");
  ExpectRefused([] { Decide({3, 2, 1}, AtLeast(1)); }, "no verdict");
}

TEST(Verdict, HasTheNamesOfTheReport) {
  EXPECT_EQ(VerdictName(Verdict::kSupported), "supported");
  EXPECT_EQ(VerdictName(Verdict::kRefuted), "refuted");
  EXPECT_EQ(VerdictName(Verdict::kInconclusive), "inconclusive");
}

}  // namespace
}  // namespace syncbn::study
