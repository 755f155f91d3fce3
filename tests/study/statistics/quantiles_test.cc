#include "study/statistics/quantiles.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "tests/study/statistics/support.h"

namespace syncbn::study {
namespace {

using Values = std::vector<double>;

TEST(Quantile, IsLinearBetweenTheOrderStatistics) {
  const Values samples{40, 10, 20, 30, 50};
  EXPECT_EQ(Quantile(samples, 0), 10);
  EXPECT_EQ(Quantile(samples, 0.25), 20);
  EXPECT_EQ(Quantile(samples, 0.375), 25);
  EXPECT_EQ(Quantile(samples, 1), 50);
  EXPECT_EQ(Quantile(Values{7}, 0.3), 7);
}

TEST(Median, IsTheMiddleSampleOrBetweenTheTwo) {
  EXPECT_EQ(Median(Values{3, 1, 2}), 2);
  EXPECT_EQ(Median(Values{4, 1, 2, 3}), 2.5);
}

TEST(MedianAbsoluteDeviation, IgnoresOutliersAndIsNotScaled) {
  EXPECT_EQ(MedianAbsoluteDeviation(Values{1, 2, 3, 4, 1e9}), 1);
  EXPECT_EQ(MedianAbsoluteDeviation(Values{5, 5, 5}), 0);
}

TEST(Quantile, RefusesWhatHasNone) {
  ExpectRefused([] { Median(Values{}); }, "0 samples, and 1 are needed");
  ExpectRefused([] { Quantile(Values{1, std::nan("")}, 0.5); }, "sample 1 is nan");
  for (double p : {-0.1, 1.1, 95.0, std::nan("")}) {
    ExpectRefused([&] { Quantile(Values{1, 2}, p); }, "must be from 0 to 1");
  }
}

}  // namespace
}  // namespace syncbn::study
