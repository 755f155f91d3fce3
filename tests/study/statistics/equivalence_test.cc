#include "study/statistics/equivalence.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "tests/study/statistics/support.h"

namespace syncbn::study {
namespace {

std::vector<double> Plus(std::vector<double> samples, const std::vector<double>& others) {
  for (size_t i = 0; i < samples.size(); ++i) samples[i] += others[i];
  return samples;
}

TEST(Equivalence, IsShownWhereTheInnerIntervalIsInsideTheMarginAndPBelowAlpha) {
  int shown = 0;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const size_t n = 3 + seed % 15;
    const std::vector<double> a = NormalSamples(seed, n, 80, 5);
    const std::vector<double> b = Plus(a, NormalSamples(1000 + seed, n, 0.4, 0.8));
    const Equivalence result = TestEquivalence(a, b, 1);
    const bool inside = -1 < result.inner.low && result.inner.high < 1;
    EXPECT_EQ(result.equivalent, inside) << seed;
    EXPECT_EQ(result.equivalent, result.p < 0.05) << seed;
    EXPECT_LT(result.outer.low, result.inner.low);
    EXPECT_GT(result.outer.high, result.inner.high);
    shown += result.equivalent;
  }
  // Both happen.
  EXPECT_GT(shown, 20);
  EXPECT_LT(shown, 180);
}

// The test's promise: arms that are a margin apart pass for equivalent in 1 of 20 studies at most.
TEST(Equivalence, IsWronglyShownInOneOfTwentyStudiesAtMost) {
  int shown = 0;
  for (uint64_t seed = 0; seed < 2000; ++seed) {
    const std::vector<double> a = NormalSamples(seed, 6, 0, 1);
    const std::vector<double> b = Plus(a, NormalSamples(10000 + seed, 6, 1, 0.3));
    shown += TestEquivalence(a, b, 1).equivalent;
  }
  EXPECT_LE(shown, 130);  // 100 +- 10 at the margin itself
  EXPECT_GE(shown, 70);
}

TEST(Equivalence, IsNotShownByTooFewNoisySeedsThoughNoDifferenceIsFound) {
  const std::vector<double> a{70, 75, 72, 78, 69}, b{72, 71, 76, 74, 71};
  const Equivalence result = TestEquivalence(a, b, 1);
  EXPECT_LT(result.outer.low, 0);
  EXPECT_GT(result.outer.high, 0);
  EXPECT_FALSE(result.equivalent);
  EXPECT_GT(result.p, 0.05);
}

TEST(Equivalence, WithoutSpreadIsDecidedByTheDifferenceAlone) {
  const std::vector<double> a(5, 3.0), near(5, 3.5), at(5, 4.0), far(5, 5.0);
  EXPECT_TRUE(TestEquivalence(a, near, 1).equivalent);
  EXPECT_EQ(TestEquivalence(a, near, 1).p, 0);
  for (const std::vector<double>& b : {at, far}) {
    EXPECT_FALSE(TestEquivalence(a, b, 1).equivalent);
    EXPECT_EQ(TestEquivalence(a, b, 1).p, 1);
  }
  // Next to none.
  const std::vector<double> almost{3.5, 3.5, 3.5, 3.5, std::nextafter(3.5, 4.0)};
  EXPECT_TRUE(TestEquivalence(a, almost, 1).equivalent);
  EXPECT_TRUE(
      TestEquivalence(std::vector<double>{0, 5e-324}, std::vector<double>{0, 0}, 1e300).equivalent);
}

TEST(RatioEquivalence, IsThatOfTheLogarithms) {
  const std::vector<double> a{1.0, 1.1, 0.9, 1.05, 1.2}, b{1.02, 1.08, 0.93, 1.0, 1.21};
  std::vector<double> log_a, log_b;
  for (double sample : a) log_a.push_back(std::log(sample));
  for (double sample : b) log_b.push_back(std::log(sample));
  const Equivalence ratio = TestRatioEquivalence(a, b, 1.1);
  const Equivalence logs = TestEquivalence(log_a, log_b, std::log(1.1));
  EXPECT_TRUE(ratio.equivalent);
  EXPECT_DOUBLE_EQ(ratio.p, logs.p);
  EXPECT_DOUBLE_EQ(std::log(ratio.inner.low), logs.inner.low);
  EXPECT_DOUBLE_EQ(ratio.lower_margin, 1 / 1.1);
  EXPECT_EQ(ratio.upper_margin, 1.1);
}

TEST(Equivalence, RefusesMarginsThatAreNone) {
  const std::vector<double> a{1, 2, 3};
  for (double margin : {0.0, -1.0, std::nan(""), std::numeric_limits<double>::infinity()}) {
    ExpectRefused([&] { TestEquivalence(a, a, margin); }, "the margin");
  }
  ExpectRefused([&] { TestRatioEquivalence(a, a, 1); }, "the factor");
  for (double alpha : {0.0, 0.5, 5.0, std::nan("")}) {
    ExpectRefused([&] { TestEquivalence(a, a, 1, alpha); }, "the alpha");
  }
  ExpectRefused([&] { TestEquivalence(a, std::vector<double>{1, 2}, 1); }, "the same seeds");
  ExpectRefused([&] { TestRatioEquivalence(a, std::vector<double>{1, 2, 0}, 1.1); }, "is 0");
}

}  // namespace
}  // namespace syncbn::study
