// What normalizations and steps do with statistics, and how tensors come and go: against numbers by hand.
#include <gtest/gtest.h>

#include <cmath>
#include <utility>
#include <vector>

#include "backend/merge.h"
#include "base/error.h"
#include "tests/backend/conformance.h"

namespace syncbn::backend {
namespace {

class StatisticsConformance : public ConformanceTest {
 protected:
  // F64, on the device.
  Tensor Filled(Shape shape, double value) { return There(backend::Filled(shape, value)); }
  Tensor FromValues(Shape shape, std::vector<double> values) {
    return There(backend::FromValues(shape, std::move(values)));
  }
  // Rows of a tensor.
  Tensor Blocks(const std::vector<std::vector<double>>& blocks) {
    std::vector<double> values;
    for (const auto& block : blocks) values.insert(values.end(), block.begin(), block.end());
    const auto rows = static_cast<int64_t>(blocks.size());
    const auto columns = static_cast<int64_t>(values.size()) / rows;
    return FromValues({rows, columns}, std::move(values));
  }

 private:
  Tensor There(const Tensor& x) { return OnDevice(tested(), x); }
};
INSTANTIATE_TEST_SUITE_P(Backends, StatisticsConformance, ::testing::ValuesIn(BackendsUnderTest()),
                         NameOfCase);

// -- Streams -------------------------------------------------------------------------------------

TEST_P(StatisticsConformance, ZeroSetsAllTensorsAndNothingBesides) {
  Executor& e = tested();
  Tensor x = FromValues({6}, {1, 2, 3, 4, 5, 6});
  std::vector<Tensor> parts = {x.Slice(0, {1}), x.Slice(2, {0}), x.Slice(3, {2})};
  e.Zero(parts);
  EXPECT_TRUE(Equal(x, FromValues({6}, {0, 2, 3, 0, 0, 6})));
}

TEST_P(StatisticsConformance, FillCopyAndCloneAreThere) {
  Executor& e = tested();
  Tensor x = e.New({4}, DType::kFloat64), narrow = e.New({3}, DType::kFloat32);
  e.Fill(x, 2.5);
  e.Fill(narrow, 0.5);
  EXPECT_TRUE(Equal(x, Filled({4}, 2.5)));
  EXPECT_TRUE(Equal(narrow, Filled({3}, 0.5)));
  Tensor y = e.NewZeros({2, 2}, DType::kFloat64);
  EXPECT_TRUE(Equal(y, Filled({2, 2}, 0)));
  e.Copy(x, y);
  EXPECT_TRUE(Equal(y, Filled({2, 2}, 2.5)));
  Tensor copy = e.Clone(x);
  e.Fill(copy, 1);
  EXPECT_TRUE(Equal(x, Filled({4}, 2.5)));
}

TEST_P(StatisticsConformance, CopiesOfUnlikeTensorsAreRefused) {
  Executor& e = tested();
  Tensor x = Filled({4}, 1), shorter = Filled({3}, 1), narrow = e.New({4}, DType::kFloat32);
  EXPECT_THROW(e.Copy(x, shorter), Error);
  EXPECT_THROW(e.Copy(x, narrow), Error);
}

TEST_P(StatisticsConformance, AnEventIsCompleteWhenAllBeforeItIs) {
  Executor& e = tested();
  Tensor x = e.New({1}, DType::kFloat64), seen = e.NewOnHost({1}, DType::kFloat64);
  e.Fill(x, 7);
  e.Copy(x, seen);
  const Event event = e.Record();
  NewExecutor()->WaitFor(event);
  event.WaitOnHost();
  EXPECT_TRUE(event.Complete());
  EXPECT_EQ(seen.Data<double>()[0], 7);
}

// -- Moments -------------------------------------------------------------------------------------

// {0, 2}, {4}, {} and {0, 2, 4}
const std::vector<double> kPair = {2, 1, 2}, kOne = {1, 4, 0}, kNone = {0, 0, 0},
                          kAll = {3, 2, 8};

TEST_P(StatisticsConformance, MomentsMergeIntoThoseOfAllElements) {
  Executor& e = tested();
  const int64_t channels = 1;
  Tensor into = Blocks({kNone});
  e.MergeMoments({&channels, 1}, {}, Blocks({kPair, kNone, kOne}), into);
  EXPECT_TRUE(Equal(into, Blocks({kAll})));
  // Slices of 2, 0 and 1 rows.
  into = Blocks({kNone, kNone, kOne});
  const std::vector<int64_t> sizes = {2, 0, 1};
  e.MergeMoments({&channels, 1}, sizes, Blocks({kPair, kOne, kPair}), into);
  EXPECT_TRUE(Equal(into, Blocks({kAll, kNone, kAll})));
}

TEST_P(StatisticsConformance, MomentsOfAllLayersMergeLayerByLayer) {
  Executor& e = tested();
  const std::vector<int64_t> channels = {1, 1};
  Tensor into = FromValues({1, 6}, {2, 1, 2, 1, 4, 0});
  e.MergeMoments(channels, {}, FromValues({6}, {1, 4, 0, 0, 0, 0}), into);
  EXPECT_TRUE(Equal(into, FromValues({1, 6}, {3, 2, 8, 1, 4, 0})));
  EXPECT_THROW(e.MergeMoments(channels, {}, FromValues({3}, {1, 4, 0}), into), Error);
}

TEST_P(StatisticsConformance, ChannelsOfAGroupShareTheirMoments) {
  Executor& e = tested();
  // Two elements a channel; channels {0, 2} and {4, 6} are a group, {1, 1} and {1, 1} the other.
  Tensor moments = FromValues({1, 9}, {2, 1, 5, 1, 1, 2, 2, 0, 0});
  e.MergeChannels(2, moments);
  EXPECT_TRUE(Equal(moments, FromValues({1, 9}, {4, 3, 3, 1, 1, 20, 20, 0, 0})));
}

TEST_P(StatisticsConformance, FinishedMomentsAreRepeatedForTheirSegments) {
  Executor& e = tested();
  const Tensor blocks = FromValues({3, 3}, {2, 1, 8, 4, -3, 3, 0, 5, 9});
  const Statistics each = e.FinishMoments(blocks, {}, 0.25);
  EXPECT_TRUE(Equal(each.mean, FromValues({3, 1}, {1, -3, 5})));
  EXPECT_TRUE(Equal(each.inv_std, FromValues({3, 1}, {1 / std::sqrt(4.25), 1, 2})));
  EXPECT_TRUE(Equal(each.counts, FromValues({3}, {2, 4, 0})));
  const std::vector<int64_t> repeats = {2, 0, 1};
  const Statistics repeated = e.FinishMoments(blocks, repeats, 0.25);
  EXPECT_TRUE(Equal(repeated.mean, FromValues({3, 1}, {1, 1, 5})));
  EXPECT_TRUE(Equal(repeated.inv_std,
                    FromValues({3, 1}, {1 / std::sqrt(4.25), 1 / std::sqrt(4.25), 2})));
  EXPECT_TRUE(Equal(repeated.counts, FromValues({3}, {2, 2, 0})));
  EXPECT_TRUE(Equal(e.InverseStd(FromValues({1, 2}, {0.75, 0}), 0.25), FromValues({1, 2}, {1, 2})));
}

// -- Gradients -----------------------------------------------------------------------------------

TEST_P(StatisticsConformance, GradientsOfScaleAndShiftAreSumsOverSegments) {
  Executor& e = tested();
  const Tensor sum_dy = FromValues({2, 2}, {1, 2, 3, 4});
  const Tensor sum_dy_xhat = FromValues({2, 2}, {10, 20, 30, 40});
  for (const bool accumulate : {false, true}) {
    GuardedGradient dgamma(e, Filled({2}, 0.5)), dbeta(e, Filled({2}, 0.25));
    e.AffineGradients(sum_dy, sum_dy_xhat, dgamma.Out(accumulate), dbeta.Out(accumulate));
    EXPECT_TRUE(Equal(dgamma.Result(), accumulate ? FromValues({2}, {40.5, 60.5})
                                                  : FromValues({2}, {40, 60})));
    EXPECT_TRUE(Equal(dbeta.Result(),
                      accumulate ? FromValues({2}, {4.25, 6.25}) : FromValues({2}, {4, 6})));
  }
  e.AffineGradients(sum_dy, sum_dy_xhat, {}, {});
}

TEST_P(StatisticsConformance, InputTermsAreMeansOverWhatSharesStatistics) {
  Executor& e = tested();
  const Tensor sum_dy = FromValues({3, 2}, {1, 2, 3, 4, 5, 6});
  const Tensor sum_dy_xhat = FromValues({3, 2}, {2, 4, 6, 8, 10, 12});
  const Tensor gamma = Parameter(e, FromValues({2}, {2, 4}));
  // Count 0 divides nothing.
  InputTerms terms =
      e.BatchInputTerms(sum_dy, sum_dy_xhat, FromValues({3}, {2, 4, 0}), gamma, {});
  EXPECT_TRUE(Equal(terms.mean_dy, FromValues({3, 2}, {1, 4, 1.5, 4, 10, 24})));
  EXPECT_TRUE(Equal(terms.mean_dy_xhat, FromValues({3, 2}, {2, 8, 3, 8, 20, 48})));
  // The first two segments share theirs.
  const std::vector<int64_t> sizes = {2, 1};
  terms = e.BatchInputTerms(sum_dy, sum_dy_xhat, FromValues({3}, {4, 4, 2}), {}, sizes);
  EXPECT_TRUE(Equal(terms.mean_dy, FromValues({3, 2}, {1, 1.5, 1, 1.5, 2.5, 3})));
  EXPECT_TRUE(Equal(terms.mean_dy_xhat, FromValues({3, 2}, {2, 3, 2, 3, 5, 6})));
  // Both channels of a segment do.
  terms = e.GroupInputTerms(sum_dy, sum_dy_xhat, FromValues({3}, {2, 4, 2}), gamma, 1);
  EXPECT_TRUE(Equal(terms.mean_dy, FromValues({3, 2}, {5, 5, 5.5, 5.5, 17, 17})));
  EXPECT_TRUE(Equal(terms.mean_dy_xhat, FromValues({3, 2}, {10, 10, 11, 11, 34, 34})));
}

// -- Sums, running statistics --------------------------------------------------------------------

TEST_P(StatisticsConformance, SumsAreAddedToWhatIsThere) {
  Executor& e = tested();
  Tensor total = Filled({1}, 1);
  e.AddSum(FromValues({3}, {1, 2, 4}), total);
  e.AddSum(Filled({0}, 0), total);
  EXPECT_TRUE(Equal(total, Filled({1}, 8)));
}

TEST_P(StatisticsConformance, RunningStatisticsMoveWhereTheStepIsAccepted) {
  Executor& e = tested();
  const RunningRule rule{RunningRule::Kind::kMomentum, 0.25};
  const std::vector<RunningBlock> blocks = {{.channels = 1, .running = 0, .moments = 0},
                                            {.channels = 1, .running = 3, .moments = 6}};
  const Tensor running = FromValues({6}, {0, 1, 0, 2, 2, 5});
  // The block between them is of a norm that keeps none; the last has a single element.
  const Tensor moments = FromValues({9}, {5, 4, 8, 7, 7, 7, 1, 9, 0});
  const Tensor moved = FromValues({6}, {1, 1.25, 1, 2, 2, 5});
  const auto update = [&](const Tensor& verdict) {
    return e.UpdateRunning(rule, blocks, running, moments, verdict);
  };
  EXPECT_TRUE(Equal(update({}), moved));
  EXPECT_TRUE(Equal(update(FromValues({3}, {1, 0, 1})), moved));
  EXPECT_TRUE(Equal(update(FromValues({3}, {0, 0, 1})), running));
}

// More blocks than one launch of a device takes, with and without covariances, and gaps between
// them.
TEST_P(StatisticsConformance, RunningStatisticsOfManyNormsAreThoseOfTheReference) {
  std::vector<RunningBlock> blocks;
  int64_t running_elements = 0, moments_elements = 0;
  for (int64_t i = 0; i < 150; ++i) {
    const int64_t channels = i == 70 ? 300 : i % 5 == 0 ? -(1 + i % 7) : 1 + i % 9;
    blocks.push_back(
        {.channels = channels, .running = running_elements, .moments = moments_elements});
    running_elements += blocks.back().elements() + i % 2;
    moments_elements += MomentsElements(channels) + i % 3;
  }
  const Tensor running = RandomIntegers({running_elements}, "running", 0, 7);
  // Counts among them: of none, of one element, and more.
  const Tensor moments = RandomIntegers({moments_elements}, "moments", 0, 5);
  for (const RunningRule& rule :
       {RunningRule{RunningRule::Kind::kMomentum, 0.25},
        RunningRule{RunningRule::Kind::kCumulative, 0}, RunningRule{RunningRule::Kind::kNone, 0}}) {
    const auto update = [&](Executor& e) {
      return e.UpdateRunning(rule, blocks, OnDevice(e, running), OnDevice(e, moments), {});
    };
    EXPECT_TRUE(Near(update(tested()), update(reference()), 1e-15));
  }
}

}  // namespace
}  // namespace syncbn::backend
