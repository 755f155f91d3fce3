#include <gtest/gtest.h>

#include <cmath>

#include "tests/backend/conformance.h"
#include "tests/backend/moments.h"

namespace syncbn::backend {
namespace {

// Relative error of a variance that the project promises, in double and in float32 alike.
constexpr double kVarianceError = 1e-6;

using Result = MeanAndM2;

// Of x in the executor's type.
Result MomentsIn(Executor& e, const RowLayout& layout, const Tensor& x) {
  return MomentsOf(e, layout, In(e, x));
}

class MomentsConformance : public ConformanceTest {
 protected:
  void ExpectAccurate(const RowLayout& layout, const Tensor& x) {
    const Result actual = MomentsIn(tested(), layout, x);
    const Result expected = MomentsIn(reference(), layout, x);
    for (int64_t k = 0; k < expected.mean.elements(); ++k) {
      const double m2 = expected.m2.Data<double>()[k], mean = expected.mean.Data<double>()[k];
      const double count = static_cast<double>(layout.rows_per_segment());
      const double std = count > 0 ? std::sqrt(m2 / count) : 0;
      EXPECT_NEAR(actual.m2.Data<double>()[k], m2, kVarianceError * m2) << "channel " << k;
      // A mean that is off by d moves every xhat by d / std. A mean of large numbers may besides be
      // off by their rounding in double.
      EXPECT_NEAR(actual.mean.Data<double>()[k], mean, 1e-6 * std + 1e-15 * std::abs(mean))
          << "channel " << k;
    }
  }
};
INSTANTIATE_TEST_SUITE_P(Backends, MomentsConformance, ::testing::ValuesIn(BackendsUnderTest()),
                         NameOfCase);

TEST_P(MomentsConformance, AreAccurateForEveryLayout) {
  for (const int64_t channels : {1, 3, 10, 16, 24, 64}) {
    for (const int64_t samples : {1, 2, 5}) {
      for (const int64_t segments : {1, 3}) {
        for (const int64_t rows : {1, 35, 1023}) {
          if (samples * rows == 1) continue;  // no deviations to measure; see OfOneRow
          const RowLayout layout{segments, samples, rows, channels};
          SCOPED_TRACE(::testing::Message() << segments << " segments of " << samples << " x "
                                            << rows << " rows, " << channels << " channels");
          ExpectAccurate(layout, RandomNormal({layout.rows(), channels}, "x", 0.5, 2));
        }
      }
    }
  }
}

TEST_P(MomentsConformance, AreAccurateForLargeMeans) {
  for (const double mean : {0.0, 100.0, 1e3, 1e4, 1e5}) {
    for (const int64_t count : {2, 3, 5, 64, 999, 5000}) {
      for (const int64_t channels : {1, 10, 16}) {
        SCOPED_TRACE(::testing::Message()
                     << "mean / std " << mean << ", count " << count << ", channels " << channels);
        const std::string name = "x" + std::to_string(count);
        ExpectAccurate({1, 1, count, channels}, RandomNormal({count, channels}, name, mean, 1));
      }
    }
  }
}

TEST_P(MomentsConformance, AreAccurateWhenBlocksDifferMuch) {
  // Every sample has a mean of its own, far from the others': all of M2 is in the merges.
  const int64_t samples = 8, rows = 100, channels = 16;
  Tensor x = RandomNormal({samples, rows, channels}, "x");
  for (int64_t n = 0; n < samples; ++n) {
    for (double& value : x.Rows(n, n + 1).Span<double>()) {
      value = static_cast<float>(value * 1e-3 + 1000.0 * static_cast<double>(n * n % 7));
    }
  }
  ExpectAccurate({1, samples, rows, channels}, x);
}

TEST_P(MomentsConformance, AreExactForWholeNumbersAroundTheMean) {
  // mean + d and mean - d in turn. BF16 has all whole numbers up to 256.
  const int64_t apart = StoresBFloat16() ? 100 : 1000;
  for (const int64_t channels : {1, 3, 10, 16, 24, 64}) {
    const RowLayout layout{
        .segments = 2, .samples = 3, .rows_per_sample = 16, .channels = channels};
    Tensor x({layout.rows(), channels}, DType::kFloat64);
    Tensor mean({2, channels}, DType::kFloat64), m2({2, channels}, DType::kFloat64);
    for (int64_t row = 0; row < layout.rows(); ++row) {
      const int64_t segment = row / layout.rows_per_segment();
      for (int64_t c = 0; c < channels; ++c) {
        const auto center = static_cast<double>(c + apart * segment);
        const double distance = static_cast<double>(c % 5 + 1);
        x.Data<double>()[row * channels + c] = center + (row % 2 == 0 ? distance : -distance);
        mean.Data<double>()[segment * channels + c] = center;
        m2.Data<double>()[segment * channels + c] = 48 * distance * distance;
      }
    }
    const Result result = MomentsIn(tested(), layout, x);
    EXPECT_TRUE(Equal(result.mean, mean)) << channels << " channels";
    EXPECT_TRUE(Equal(result.m2, m2)) << channels << " channels";
  }
}

TEST_P(MomentsConformance, OfAConstantHaveNoDeviation) {
  for (const double value : {0.0, 0.1, 123456.789, 1e30}) {
    const Tensor x = Fit(Filled({3 * 35, 10}, value));
    const Result result = MomentsIn(tested(), {1, 3, 35, 10}, x);
    EXPECT_TRUE(Equal(result.mean, x.Rows(0, 1)));
    EXPECT_TRUE(Equal(result.m2, Filled({1, 10}, 0)));
  }
}

TEST_P(MomentsConformance, OfOneRowAreTheRow) {
  const Tensor x = RandomNormal({3, 10}, "x", 100);
  const Result result = MomentsIn(tested(), {3, 1, 1, 10}, x);
  EXPECT_TRUE(Equal(result.mean, x));
  EXPECT_TRUE(Equal(result.m2, Filled({3, 10}, 0)));
}

TEST_P(MomentsConformance, OfNoRowsAreZero) {
  Result result = MomentsIn(tested(), {2, 0, 35, 10}, Filled({0, 10}, 0));
  EXPECT_TRUE(Equal(result.mean, Filled({2, 10}, 0)));
  EXPECT_TRUE(Equal(result.m2, Filled({2, 10}, 0)));
  result = MomentsIn(tested(), {0, 1, 35, 10}, Filled({0, 10}, 0));  // instances of no samples
  EXPECT_EQ(result.mean.elements(), 0);
}

// What a step sends to other replicas must not depend on how a batch was cut into replicas before.
TEST_P(MomentsConformance, OfASampleDoNotDependOnItsPlaceInTheBatch) {
  const int64_t samples = 5, rows = 63, channels = 10;
  const Tensor x = RandomNormal({samples, rows, channels}, "x", 3);
  const Result together = MomentsIn(tested(), {samples, 1, rows, channels}, x);
  for (int64_t n = 0; n < samples; ++n) {
    const Result alone = MomentsIn(tested(), {1, 1, rows, channels}, x.Rows(n, n + 1));
    EXPECT_TRUE(SameBits(alone.mean, together.mean.Rows(n, n + 1))) << "sample " << n;
    EXPECT_TRUE(SameBits(alone.m2, together.m2.Rows(n, n + 1))) << "sample " << n;
  }
}

TEST_P(MomentsConformance, NotANumberReachesTheMomentsOfItsChannelAlone) {
  Tensor x = RandomNormal({3 * 35, 10}, "x");
  x.Data<double>()[57 * 10 + 4] = std::nan("");
  const Result result = MomentsIn(tested(), {1, 3, 35, 10}, x);
  for (int64_t c = 0; c < 10; ++c) {
    EXPECT_EQ(std::isnan(result.mean.Data<double>()[c]), c == 4) << c;
    EXPECT_EQ(std::isnan(result.m2.Data<double>()[c]), c == 4) << c;
  }
}

}  // namespace
}  // namespace syncbn::backend
