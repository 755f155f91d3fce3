#include "study/statistics/interval.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "study/statistics/bootstrap.h"
#include "tests/study/statistics/support.h"

namespace syncbn::study {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

double Width(const Interval& interval) {
  return interval.high - interval.low;
}

// Printed tables: t(0.975; 4) = 2.776; the standard error of 1..5 is sqrt(2.5 / 5).
TEST(MeanInterval, IsStudentsBelowTenSamples) {
  const Interval interval = MeanInterval(std::vector<double>{1, 2, 3, 4, 5});
  EXPECT_EQ(interval.estimate, 3);
  EXPECT_NEAR(interval.low, 3 - 2.776 * std::sqrt(0.5), 1e-3);
  EXPECT_NEAR(interval.high, 3 + 2.776 * std::sqrt(0.5), 1e-3);
  const std::vector<double> nine = NormalSamples(1, 9, 0, 1), ten = NormalSamples(1, 10, 0, 1);
  EXPECT_EQ(MeanInterval(nine), StudentsInterval(nine));
  EXPECT_NE(MeanInterval(ten), StudentsInterval(ten));
}

TEST(MeanInterval, HasNoJumpWhereTheBootstrapBegins) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const std::vector<double> samples = NormalSamples(seed, kBootstrapFrom, 5, 2);
    EXPECT_NEAR(Width(MeanInterval(samples)) / Width(StudentsInterval(samples)), 1, 0.25) << seed;
  }
}

TEST(MeanInterval, LeansToTheLongTailWhereStudentsDoesNot) {
  std::vector<double> samples = NormalSamples(3, 30, 0, 1);
  for (double& sample : samples) sample = std::exp(1.5 * sample);
  const Interval interval = MeanInterval(samples);
  EXPECT_GT(interval.high - interval.estimate, 1.3 * (interval.estimate - interval.low));
  EXPECT_GT(interval.low, StudentsInterval(samples).low);
}

// 95 of 100 in the long run; 200 repetitions give 95 +- 1.5.
TEST(MeanInterval, ContainsTheTrueMeanInNineteenOfTwentyStudies) {
  for (size_t n : {size_t{5}, kBootstrapFrom}) {
    int contained = 0;
    for (uint64_t study = 0; study < 200; ++study) {
      const Interval interval = MeanInterval(NormalSamples(1000 + study, n, 7, 3));
      if (interval.low <= 7 && 7 <= interval.high) ++contained;
    }
    EXPECT_GE(contained, 0.91 * 200) << n << " samples";
    EXPECT_LE(contained, 0.99 * 200) << n << " samples";
  }
}

TEST(MeanInterval, HasTheSameBitsForTheSameSamplesInAnyOrder) {
  for (size_t n : {size_t{7}, size_t{24}}) {
    std::vector<double> samples = NormalSamples(4, n, 0.1, 1);
    const Interval interval = MeanInterval(samples);
    EXPECT_EQ(MeanInterval(samples), interval);
    std::reverse(samples.begin(), samples.end());
    EXPECT_EQ(MeanInterval(samples), interval);
  }
}

TEST(MeanInterval, GrowsWithItsLevel) {
  for (size_t n : {size_t{6}, size_t{40}}) {
    const std::vector<double> samples = NormalSamples(5, n, 1, 1);
    double width = 0;
    for (double level : {0.5, 0.8, 0.9, 0.95, 0.99, 0.9999}) {
      EXPECT_GT(Width(MeanInterval(samples, level)), width) << level;
      width = Width(MeanInterval(samples, level));
    }
  }
}

TEST(MeanInterval, FollowsTheUnitOfTheSamples) {
  for (size_t n : {size_t{5}, size_t{12}}) {
    const std::vector<double> samples = NormalSamples(6, n, 3, 1);
    const Interval one = MeanInterval(samples);
    for (int exponent : {-900, 900}) {
      std::vector<double> scaled;
      for (double sample : samples) scaled.push_back(std::ldexp(sample, exponent));
      const Interval other = MeanInterval(scaled);
      EXPECT_EQ(other.low, std::ldexp(one.low, exponent));
      EXPECT_EQ(other.estimate, std::ldexp(one.estimate, exponent));
      EXPECT_EQ(other.high, std::ldexp(one.high, exponent));
    }
  }
}

TEST(MeanInterval, HasNoWidthWithoutSpread) {
  for (size_t n : {size_t{2}, size_t{9}, size_t{10}, size_t{33}}) {
    EXPECT_EQ(MeanInterval(std::vector<double>(n, 0.1)), (Interval{0.1, 0.1, 0.1})) << n;
  }
}

// Of 12 runs 3 reached the target: many resamples have the very mean of the samples, but for
// roundings, and those must not decide on which side of it they count.
TEST(MeanInterval, IsTheSameInAnyUnitWhereManyResamplesHaveTheMean) {
  std::vector<double> reached(12, 0.0), score(12, 0.1);
  for (size_t i = 0; i < 3; ++i) reached[i] = 1, score[i] = 0.7;
  const Interval share = MeanInterval(reached), mean = MeanInterval(score);
  EXPECT_EQ(share.estimate, 0.25);
  EXPECT_NEAR(mean.low, 0.1 + 0.6 * share.low, 1e-14);
  EXPECT_NEAR(mean.high, 0.1 + 0.6 * share.high, 1e-14);
}

TEST(MeanInterval, RefusesWhatIsNoSetOfSamples) {
  ExpectRefused([] { MeanInterval(std::vector<double>{}); }, "0 samples, and 2 are needed");
  ExpectRefused([] { MeanInterval(std::vector<double>{1}); }, "1 samples, and 2 are needed");
  ExpectRefused([] { MeanInterval(std::vector<double>{1, kNan, 3}); }, "sample 1 is nan");
  ExpectRefused([] { MeanInterval(std::vector<double>{1, 2, -kInfinity}); }, "sample 2 is -inf");
  ExpectRefused([] { MeanInterval(std::vector<double>{1.7e308, -1.7e308}); }, "larger unit");
  ExpectRefused([] { MeanInterval(std::vector<double>(12, 1.7e308), 0); }, "level");
  for (double level : {0.0, 1.0, -0.5, 95.0, kNan, 1 - 1e-16}) {
    ExpectRefused([&] { MeanInterval(std::vector<double>{1, 2}, level); }, "level");
  }
}

TEST(PairedDifference, SeesWhatTheSpreadOverSeedsHides) {
  // Seeds differ by 10, arms by 0.5.
  std::vector<double> plain = NormalSamples(8, 6, 70, 10), better;
  const std::vector<double> noise = NormalSamples(9, 6, 0, 0.1);
  for (size_t i = 0; i < plain.size(); ++i) better.push_back(plain[i] + 0.5 + noise[i]);
  const Interval difference = PairedDifference(better, plain);
  EXPECT_GT(difference.low, 0.3);
  EXPECT_LT(difference.high, 0.7);
  EXPECT_GT(Width(MeanInterval(plain)), 10);
}

TEST(PairedDifference, IsTheOppositeOfTheArmsExchanged) {
  const std::vector<double> a = NormalSamples(10, 7, 1, 1), b = NormalSamples(11, 7, 2, 1);
  const Interval forth = PairedDifference(a, b), back = PairedDifference(b, a);
  EXPECT_NEAR(forth.low, -back.high, 1e-14);
  EXPECT_NEAR(forth.estimate, -back.estimate, 1e-14);
}

TEST(PairedDifference, RefusesArmsWithUnequalSeeds) {
  ExpectRefused(
      [] {
        PairedDifference(std::vector<double>{1, 2}, std::vector<double>{1, 2, 3});
      },
      "2 and 3; give both arms the same seeds");
  ExpectRefused(
      [] {
        PairedDifference(std::vector<double>{1, 2}, std::vector<double>{1, kNan});
      },
      "second of each pair: sample 1 is nan");
}

TEST(PairedRatio, IsTheGeometricMeanOfThePairsRatios) {
  // 2, 8 and 4: powers of two have exact logarithms but for a common factor.
  const Interval ratio = PairedRatio(std::vector<double>{2, 16, 12}, std::vector<double>{1, 2, 3});
  EXPECT_NEAR(ratio.estimate, 4, 1e-14);
  // t(0.975; 2) = 4.303, standard error 1 / sqrt(3), in powers of two.
  EXPECT_NEAR(std::log2(ratio.low), 2 - 4.3027 / std::sqrt(3.0), 1e-3);
  EXPECT_NEAR(std::log2(ratio.high), 2 + 4.3027 / std::sqrt(3.0), 1e-3);
}

TEST(PairedRatio, HasNoWidthWhereAllPairsHaveTheSame) {
  const Interval ratio = PairedRatio(std::vector<double>(5, 1.0), std::vector<double>(5, 0.1));
  EXPECT_EQ(ratio.low, ratio.high);
  EXPECT_NEAR(ratio.estimate, 10, 1e-13);
}

TEST(PairedRatio, RefusesWhatHasNoLogarithm) {
  ExpectRefused(
      [] {
        PairedRatio(std::vector<double>{1, 0}, std::vector<double>{1, 1});
      },
      "numerator: sample 1 is 0");
  ExpectRefused(
      [] {
        PairedRatio(std::vector<double>{1, 1}, std::vector<double>{-2, 1});
      },
      "denominator: sample 0 is -2");
  ExpectRefused(
      [] {
        PairedRatio(std::vector<double>{1e300, 1e-300}, std::vector<double>{1e-300, 1});
      },
      "upper end of a ratio");
}

TEST(Resampler, DrawsEverySampleEquallyOftenAndAlwaysTheSame) {
  std::vector<int> drawn(10);
  Resampler one(10), other(10);
  for (int i = 0; i < kResamples; ++i) {
    const std::span<const uint32_t> indices = one.Next(), again = other.Next();
    ASSERT_EQ(indices.size(), 10u);
    ASSERT_TRUE(std::equal(indices.begin(), indices.end(), again.begin()));
    for (uint32_t index : indices) ++drawn.at(index);
  }
  for (int count : drawn) EXPECT_NEAR(count, kResamples, 5 * std::sqrt(0.9 * kResamples));
}

}  // namespace
}  // namespace syncbn::study
