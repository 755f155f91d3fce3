#include "study/statistics/rank_correlation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "tests/study/statistics/support.h"

namespace syncbn::study {
namespace {

using Values = std::vector<double>;

TEST(Spearman, SeesOrderAndNotDistance) {
  const Values x{1, 2, 4, 8, 16}, grows{-3, 0, 0.5, 7, 1e6}, falls{9, 5, 4, 1, -1e9};
  EXPECT_EQ(Spearman(x, grows).rho.estimate, 1);
  EXPECT_EQ(Spearman(x, falls).rho.estimate, -1);
}

// Printed tables of the exact distribution.
TEST(Spearman, HasTheExactPOfFewPairs) {
  const Values x{1, 2, 3, 4, 5};
  EXPECT_DOUBLE_EQ(Spearman(x, x).p, 2.0 / 120);
  EXPECT_DOUBLE_EQ(Spearman(x, Values{1, 2, 3, 5, 4}).rho.estimate, 0.9);
  EXPECT_DOUBLE_EQ(Spearman(x, Values{1, 2, 3, 5, 4}).p, 10.0 / 120);
  EXPECT_DOUBLE_EQ(Spearman(Values{1, 2, 3}, Values{4, 5, 6}).p, 1.0 / 3);
  EXPECT_DOUBLE_EQ(Spearman(Values{1, 2}, Values{4, 5}).p, 1);
  const Values nine{1, 2, 3, 4, 5, 6, 7, 8, 9};
  EXPECT_DOUBLE_EQ(Spearman(nine, nine).p, 2.0 / 362880);
}

// Spearman's rho of ties by hand: ranks 1.5 1.5 3 4 against 1 2 3.5 3.5.
TEST(Spearman, GivesEqualValuesTheMeanOfTheirRanks) {
  const RankCorrelation result = Spearman(Values{5, 5, 6, 7}, Values{1, 2, 3, 3});
  EXPECT_DOUBLE_EQ(result.rho.estimate, 4 / 4.5);
  // Of the 12 arrangements of y's ranks the two with the tied highest on 3 and 4, and the one with
  // them on 1.5 and 1.5 and the lowest on 4.
  EXPECT_DOUBLE_EQ(result.p, 3.0 / 12);
}

TEST(Spearman, KnowsNothingWithoutOrder) {
  for (size_t n : {size_t{2}, size_t{5}, size_t{30}}) {
    Values rising(n);
    std::iota(rising.begin(), rising.end(), 0.0);
    for (const RankCorrelation& result :
         {Spearman(rising, Values(n, 3.0)), Spearman(Values(n, 3.0), rising)}) {
      EXPECT_EQ(result.rho, (Interval{-1, 0, 1}));
      EXPECT_EQ(result.p, 1);
    }
  }
  EXPECT_EQ(Spearman(Values{1, 2, 3}, Values{1, 2, 3}).rho, (Interval{-1, 1, 1}));
}

TEST(Spearman, ClaimsNoCertaintyOfAPerfectOrderOfFewPairs) {
  double low = -1;
  for (size_t n : {size_t{4}, size_t{5}, size_t{8}, size_t{12}, size_t{50}}) {
    Values x(n);
    std::iota(x.begin(), x.end(), 1.0);
    const RankCorrelation result = Spearman(x, x);
    EXPECT_EQ(result.rho.high, 1);
    EXPECT_EQ(result.rho.estimate, 1);
    EXPECT_GT(result.rho.low, low) << n;  // more pairs, more certainty
    EXPECT_LT(result.rho.low, 1) << n;
    low = result.rho.low;
  }
  EXPECT_LT(Spearman(Values{1, 2, 3, 4, 5}, Values{1, 2, 3, 4, 5}).rho.low, 0.5);
}

// The normal's Spearman rho is 6 / pi asin(r / 2).
TEST(Spearman, ContainsTheTrueRhoInNineteenOfTwentyStudies) {
  constexpr double kR = 0.6;
  const double truth = 6 / std::acos(-1.0) * std::asin(kR / 2);
  for (size_t n : {size_t{8}, size_t{25}}) {
    int contained = 0;
    for (uint64_t study = 0; study < 500; ++study) {
      const Values x = NormalSamples(2 * study, n, 0, 1);
      Values y = NormalSamples(2 * study + 1, n, 0, std::sqrt(1 - kR * kR));
      for (size_t i = 0; i < n; ++i) y[i] += kR * x[i];
      const Interval rho = Spearman(x, y).rho;
      if (rho.low <= truth && truth <= rho.high) ++contained;
    }
    EXPECT_GE(contained, 0.92 * 500) << n;
    EXPECT_LE(contained, 0.99 * 500) << n;
  }
}

TEST(Spearman, HasTheSameBitsForTheSamePairsInAnyOrder) {
  Values x = NormalSamples(1, 20, 0, 1), y = NormalSamples(2, 20, 0, 1);
  const RankCorrelation one = Spearman(x, y);
  std::reverse(x.begin(), x.end());
  std::reverse(y.begin(), y.end());
  EXPECT_EQ(Spearman(x, y).rho, one.rho);
  EXPECT_EQ(Spearman(x, y).p, one.p);
}

TEST(Spearman, RefusesWhatAreNoPairs) {
  ExpectRefused([] { Spearman(Values{1, 2}, Values{1}); }, "2 and 1");
  ExpectRefused([] { Spearman(Values{1}, Values{1}); }, "1 samples, and 2 are needed");
  ExpectRefused([] { Spearman(Values{1, std::nan("")}, Values{1, 2}); }, "sample 1 is nan");
  ExpectRefused([] { Spearman(Values{1, 2}, Values{1, 2}, 1); }, "level");
  ExpectRefused([] { Spearman(Values(1'000'001), Values(1'000'001)); }, "at most 1000000");
}

}  // namespace
}  // namespace syncbn::study
