// What batch renormalization and iterative normalization need of a back end.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "backend/merge.h"
#include "tests/backend/conformance.h"

namespace syncbn::backend {
namespace {

class WhiteningConformance : public ConformanceTest {};
INSTANTIATE_TEST_SUITE_P(Backends, WhiteningConformance, ::testing::ValuesIn(BackendsUnderTest()),
                         NameOfCase);

// Groups of equal sizes, smaller last ones, one of all, none of several.
const WhiteningSpec kSpecs[] = {{.channels = 6, .group = 3},
                                {.channels = 70, .group = 64},
                                {.channels = 101, .group = 70, .iterations = 2},
                                {.channels = 37, .group = 37, .iterations = 3},
                                {.channels = 3, .group = 1}};

std::vector<int64_t> BlocksOf(const WhiteningSpec& spec) {
  std::vector<int64_t> blocks;
  for (int64_t k = 0; k < spec.groups(); ++k) blocks.push_back(-spec.size(k));
  return blocks;
}

Tensor MomentsOf(Executor& e, const WhiteningSpec& spec, const Tensor& x) {
  int64_t elements = 0;
  for (const int64_t block : BlocksOf(spec)) elements += MomentsElements(block);
  Tensor moments = e.New({1, elements}, DType::kFloat64);
  e.CoMoments(spec, x, moments);
  return moments;
}

TEST_P(WhiteningConformance, CoMomentsAreSumsOfProductsOfDeviations) {
  for (const WhiteningSpec& spec : kSpecs) {
    for (const int64_t rows : {0, 1, 2, 33, 70}) {
      SCOPED_TRACE(::testing::Message() << spec.channels << " channels, " << rows << " rows");
      const Tensor x = RandomNormal({rows, spec.channels}, "x", 1e3);
      const Tensor moments = MomentsOf(tested(), spec, In(tested(), x)).OnHost();
      const double* block = moments.Data<double>();
      const auto at = [&](int64_t row, int64_t c) {
        return x.Data<double>()[row * spec.channels + c];
      };
      for (int64_t k = 0; k < spec.groups(); ++k) {
        const int64_t d = spec.size(k), begin = spec.begin(k);
        ASSERT_EQ(block[0], static_cast<double>(rows));
        std::vector<double> mean(static_cast<size_t>(d), 0);
        for (int64_t i = 0; i < d; ++i) {
          for (int64_t r = 0; r < rows; ++r) {
            mean[static_cast<size_t>(i)] += at(r, begin + i) / static_cast<double>(rows);
          }
          ASSERT_NEAR(block[1 + i], mean[static_cast<size_t>(i)], 1e-9);
        }
        const double* product = block + 1 + d;
        for (int64_t i = 0; i < d; ++i) {
          for (int64_t j = i; j < d; ++j, ++product) {
            double sum = 0;
            for (int64_t r = 0; r < rows; ++r) {
              sum += (at(r, begin + i) - mean[static_cast<size_t>(i)]) *
                     (at(r, begin + j) - mean[static_cast<size_t>(j)]);
            }
            ASSERT_NEAR(*product, sum, 1e-8 * static_cast<double>(rows)) << i << ", " << j;
          }
        }
        block += MomentsElements(-d);
      }
    }
  }
}

TEST_P(WhiteningConformance, MergedCoMomentsAreThoseOfAllRows) {
  Executor& e = tested();
  for (const WhiteningSpec& spec : kSpecs) {
    const Tensor x = In(e, RandomNormal({50, spec.channels}, "x", 3));
    const Tensor whole = MomentsOf(e, spec, x);
    Tensor merged = e.NewZeros(whole.shape(), DType::kFloat64);
    for (const auto& [begin, end] : {std::pair(0, 20), std::pair(20, 20), std::pair(20, 50)}) {
      e.MergeMoments(BlocksOf(spec), {}, MomentsOf(e, spec, x.Rows(begin, end)), merged);
    }
    EXPECT_TRUE(Near(merged, whole, 1e-12));
  }
}

// The diagonal of merged co-moments has the bits of merged moments.
TEST_P(WhiteningConformance, TheDiagonalMergesAsVariancesDo) {
  std::vector<double> a = {5, 1, -2, 3, 0.5, 7}, b = {4, 0.3, 9, 2, -1, 1.7};
  std::vector<double> plain_a = {5, 1, -2, 3, 7}, plain_b = {4, 0.3, 9, 2, 1.7};
  const int64_t together = -2, apart = 2;
  MergeMoments({&together, 1}, a, b);
  MergeMoments({&apart, 1}, plain_a, plain_b);
  EXPECT_EQ(std::vector<double>({a[0], a[1], a[2], a[3], a[5]}), plain_a);
  // 0.5 - 1 + (0.3 - 1) (9 + 2) 5 * 4 / 9
  EXPECT_NEAR(a[4], -0.5 - 0.7 * 11 * 20 / 9, 1e-14);
}

TEST_P(WhiteningConformance, IsThatOfTheReference) {
  for (const WhiteningSpec& spec : kSpecs) {
    SCOPED_TRACE(spec.channels);
    const Tensor x = RandomNormal({3, 5, 7, spec.channels}, "x", 2);
    const Tensor dy = RandomNormal(x.shape(), "dy");
    ExpectClose(
        [&](Executor& e) {
          const Tensor given = In(e, x), gradient = In(e, dy);
          const Whitening whitening = e.WhitenByMoments(spec, MomentsOf(e, spec, given));
          Tensor y = e.New(x.shape()), dx = e.New(x.shape());
          e.Whiten(spec, whitening, given, y);
          Tensor sums = e.New({spec.channels + spec.matrix_elements()}, DType::kFloat64);
          e.WhitenBackwardSums(spec, whitening, given, gradient, sums);
          e.WhitenBackwardInput(spec, whitening, sums, given, gradient, dx);
          return std::vector<Tensor>{y, dx};
        },
        spec.group, 8);
  }
}

// More rows than are added up at a time; statistics that do not depend on x; views that begin
// anywhere.
TEST_P(WhiteningConformance, OfManyRowsAndByRunningStatisticsIsThatOfTheReference) {
  const WhiteningSpec spec{.channels = 5, .group = 3};
  const int64_t elements = spec.channels + spec.matrix_elements() + spec.groups();
  const Tensor running = FromValues(
      {elements}, {1, 2, 3, 4, 1, 0.5, 1, 3, 0.25, 0.5, 0.25, 2, 7, 0.5, -1, 2, -0.5, -0.5, 1, 7});
  const Tensor x = RandomNormal({1301, spec.channels}, "x", 2);
  const Tensor dy = RandomNormal(x.shape(), "dy");
  ExpectClose(
      [&](Executor& e) {
        const Tensor given = In(e, x).Rows(1, 1301), gradient = In(e, dy).Rows(1, 1301);
        const Whitening batch = e.WhitenByMoments(spec, MomentsOf(e, spec, given));
        const Whitening fixed = e.WhitenByRunning(spec, OnDevice(e, running));
        Tensor y = e.New(given.shape()), dx = e.New(given.shape());
        Tensor fixed_y = e.New(given.shape()), fixed_dx = e.New(given.shape());
        e.Whiten(spec, batch, given, y);
        e.Whiten(spec, fixed, given, fixed_y);
        Tensor sums = e.New({spec.channels + spec.matrix_elements()}, DType::kFloat64);
        e.WhitenBackwardSums(spec, batch, given, gradient, sums);
        e.WhitenBackwardInput(spec, batch, sums, given, gradient, dx);
        e.WhitenBackwardInput(spec, fixed, {}, given, gradient, fixed_dx);
        return std::vector<Tensor>{y, dx, fixed_y, fixed_dx, batch.newton, fixed.newton};
      },
      spec.group, 8);
}

TEST_P(WhiteningConformance, AnEmptyShareOfABatchAddsNothing) {
  Executor& e = tested();
  const WhiteningSpec spec{.channels = 5, .group = 3};
  const Tensor x = In(e, RandomNormal({128, 5}, "x")), none = x.Rows(128, 128);
  const Whitening whitening = e.WhitenByMoments(spec, MomentsOf(e, spec, x));
  Tensor sums = e.New({spec.channels + spec.matrix_elements()}, DType::kFloat64);
  e.Fill(sums, 1);
  e.WhitenBackwardSums(spec, whitening, none, none, sums);
  EXPECT_TRUE(Equal(sums, Filled(sums.shape(), 0)));
  Tensor y = e.New(none.shape());
  e.Whiten(spec, whitening, none, y);
  e.WhitenBackwardInput(spec, whitening, sums, none, none, y);
}

TEST_P(WhiteningConformance, NothingOfAnEmptyBatchIsNotANumber) {
  Executor& e = tested();
  const WhiteningSpec spec{.channels = 5, .group = 3};
  const Tensor none = e.New({0, 5});
  const Whitening whitening = e.WhitenByMoments(spec, MomentsOf(e, spec, none));
  const Tensor matrix = whitening.matrix.OnHost();
  for (const double value : matrix.Span<double>()) EXPECT_TRUE(std::isfinite(value));
}

}  // namespace
}  // namespace syncbn::backend
