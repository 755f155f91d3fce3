// The forward passes of the reference against results worked out by hand: gradient checks say
// nothing about a forward pass that computes the wrong function.

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "backend/backend.h"
#include "base/error.h"
#include "tests/backend/moments.h"
#include "tests/backend/support.h"

namespace syncbn::backend {
namespace {

class Reference : public ::testing::Test {
 protected:
  std::unique_ptr<Executor> executor_ = MakeReferenceBackend()->MakeExecutor();
};

TEST_F(Reference, NewMemoryShowsWhenItIsReadBeforeItIsWritten) {
  EXPECT_TRUE(std::isnan(executor_->New({3}).Data<double>()[2]));
  EXPECT_EQ(executor_->New({3}, DType::kInt32).Data<int32_t>()[2], -1);
  EXPECT_EQ(executor_->New({0, 4, 4, 3}).elements(), 0);
}

TEST_F(Reference, ConvolutionIsACrossCorrelation) {
  const Conv2dSpec spec{.in_channels = 1, .out_channels = 1, .kernel_h = 2, .kernel_w = 2};
  const Tensor y = executor_->Conv2dForward(spec, FromValues({1, 2, 3, 1}, {1, 2, 3, 4, 5, 6}),
                                            FromValues({1, 1, 2, 2}, {1, 10, 100, 1000}),
                                            FromValues({1}, {0.5}));
  EXPECT_TRUE(Equal(y, FromValues({1, 1, 2, 1}, {5421.5, 6532.5})));
}

TEST_F(Reference, ConvolutionStridesOverZeroPadding) {
  const Conv2dSpec spec{.in_channels = 1,
                        .out_channels = 1,
                        .kernel_h = 3,
                        .kernel_w = 1,
                        .stride_h = 2,
                        .stride_w = 3,
                        .pad_h = 1};
  // Columns 0 and 3; windows of rows (-1, 0, 1) and (1, 2, 3) of three rows.
  const Tensor y =
      executor_->Conv2dForward(spec, FromValues({1, 3, 4, 1}, {1, 0, 0, 2, 3, 0, 0, 4, 5, 0, 0, 6}),
                               FromValues({1, 1, 3, 1}, {100, 10, 1}), {});
  EXPECT_TRUE(Equal(y, FromValues({1, 2, 2, 1}, {13, 24, 350, 460})));
}

TEST_F(Reference, ConvolutionGroupsDoNotSeeEachOther) {
  const Conv2dSpec spec{.in_channels = 4, .out_channels = 2, .groups = 2};
  const Tensor y = executor_->Conv2dForward(spec, FromValues({1, 1, 1, 4}, {1, 2, 3, 4}),
                                            FromValues({2, 2, 1, 1}, {10, 100, 1000, 10000}), {});
  EXPECT_TRUE(Equal(y, FromValues({1, 1, 1, 2}, {210, 43000})));
}

TEST_F(Reference, LinearMultipliesByTheTransposedWeight) {
  const Tensor y = executor_->LinearForward(FromValues({2, 2}, {1, 2, 3, 4}),
                                            FromValues({3, 2}, {1, 0, 0, 1, 10, 100}),
                                            FromValues({3}, {0, 0, 5}));
  EXPECT_TRUE(Equal(y, FromValues({2, 3}, {1, 2, 215, 3, 4, 435})));
}

TEST_F(Reference, GradientsAreAddedToWhatIsThereOnlyWhenAskedTo) {
  const Tensor x = FromValues({1, 2}, {3, 4}), dy = FromValues({1, 1}, {2});
  Tensor dweight = Filled({1, 2}, 100), dbias = Filled({1}, 100);
  executor_->LinearBackwardWeights(x, dy, {.tensor = dweight, .accumulate = true},
                                   {.tensor = dbias, .accumulate = false});
  EXPECT_TRUE(Equal(dweight, FromValues({1, 2}, {106, 108})));
  EXPECT_TRUE(Equal(dbias, FromValues({1}, {2})));
}

TEST_F(Reference, PaddingIsNeverTheMaximumAndNotCountedInAMean) {
  const Tensor x = FromValues({1, 2, 3, 1}, {-1, -2, -3, -4, -5, -9});
  Pool2dSpec spec{.kind = PoolKind::kMax, .kernel = 2, .stride = 2, .pad = 1};
  EXPECT_TRUE(
      Equal(executor_->Pool2dForward(spec, x).y, FromValues({1, 2, 2, 1}, {-1, -2, -4, -5})));
  spec.kind = PoolKind::kAverage;
  EXPECT_TRUE(
      Equal(executor_->Pool2dForward(spec, x).y, FromValues({1, 2, 2, 1}, {-1, -2.5, -4, -7})));
}

TEST_F(Reference, GradientOfAMaximumGoesToTheFirstOfEquals) {
  const Pool2dSpec spec{.kind = PoolKind::kMax, .kernel = 2, .stride = 1};
  const Tensor x = FromValues({1, 2, 3, 1}, {0, 7, 7, 7, 0, 0});
  const PoolResult pooled = executor_->Pool2dForward(spec, x);
  const Tensor dx = executor_->Pool2dBackward(spec, x.shape(), FromValues({1, 1, 2, 1}, {1, 10}),
                                              pooled.positions);
  EXPECT_TRUE(Equal(dx, FromValues({1, 2, 3, 1}, {0, 11, 0, 0, 0, 0})));
}

TEST_F(Reference, FlattenOrdersChannelsFirst) {
  const Tensor x = FromValues({1, 2, 2, 2}, {0, 4, 1, 5, 2, 6, 3, 7});
  const Tensor y = executor_->FlattenToChannelsFirst(x);
  EXPECT_TRUE(Equal(y, FromValues({1, 8}, {0, 1, 2, 3, 4, 5, 6, 7})));
  EXPECT_TRUE(Equal(executor_->UnflattenFromChannelsFirst(x.shape(), y), x));
  EXPECT_TRUE(Equal(executor_->GlobalAveragePoolForward(x), FromValues({1, 2}, {1.5, 5.5})));
}

TEST_F(Reference, ActivationsHaveTheirKnownValues) {
  const Tensor x = FromValues({3}, {-1, 0, 2});
  EXPECT_TRUE(
      Equal(executor_->ActivationForward(ActivationKind::kRelu, x), FromValues({3}, {0, 0, 2})));
  EXPECT_TRUE(Near(executor_->ActivationForward(ActivationKind::kSigmoid, x),
                   FromValues({3}, {0.2689414213699951, 0.5, 0.8807970779778823}), 1e-15));
  EXPECT_TRUE(Near(executor_->ActivationForward(ActivationKind::kTanh, x),
                   FromValues({3}, {-0.7615941559557649, 0, 0.9640275800758169}), 1e-15));
}

TEST_F(Reference, DropoutScalesWhatItKeepsSoThatTheMeanStays) {
  const Tensor y = executor_->Dropout(Filled({1, 64}, 3), Keys(1, "dropout"), 0.25);
  int kept = 0;
  for (const double value : y.Span<double>()) {
    EXPECT_TRUE(value == 0 || value == 4) << value;
    kept += value == 4;
  }
  EXPECT_GT(kept, 32);
  EXPECT_LT(kept, 64);
}

TEST_F(Reference, MomentsAreTakenPerSegmentAndChannel) {
  const RowLayout layout{.segments = 2, .samples = 1, .rows_per_sample = 2, .channels = 2};
  Tensor moments = executor_->New({2, 5});
  executor_->Moments(layout, FromValues({2, 2, 2}, {1, 10, 3, 14, 5, 7, 5, 8}), moments);
  EXPECT_TRUE(Equal(moments, FromValues({2, 5}, {2, 2, 12, 2, 8, 2, 5, 7.5, 0, 0.5})));
}

TEST_F(Reference, NormalizationScalesShiftsAddsAndCuts) {
  const Normalization norm{
      .layout = {.segments = 1, .samples = 2, .channels = 2},
      .mean = FromValues({1, 2}, {1, 2}),
      .inv_std = FromValues({1, 2}, {0.5, 4}),
      .gamma = FromValues({2}, {2, 1}),
      .beta = FromValues({2}, {10, -1}),
      .relu = true,
  };
  const Tensor x = FromValues({2, 2}, {3, 2, 1, 3});
  EXPECT_TRUE(Equal(executor_->NormalizeForward(norm, x, {}), FromValues({2, 2}, {12, 0, 10, 3})));
  EXPECT_TRUE(Equal(executor_->NormalizeForward(norm, x, FromValues({2, 2}, {1, 3, -11, 0})),
                    FromValues({2, 2}, {13, 2, 0, 3})));
}

TEST_F(Reference, WeightNormGivesEachOutputTheLengthOfItsGain) {
  const WeightNormResult result =
      executor_->WeightNormForward(FromValues({2, 2}, {3, 4, 0, -2}), FromValues({2, 1}, {10, 3}));
  EXPECT_TRUE(Equal(result.norms, FromValues({2}, {5, 2})));
  EXPECT_TRUE(Equal(result.weight, FromValues({2, 2}, {6, 8, 0, -3})));
}

TEST_F(Reference, CrossEntropyOfEqualLogitsIsTheLogarithmOfTheClasses) {
  Tensor labels({2}, DType::kInt32);
  labels.Data<int32_t>()[0] = 0;
  labels.Data<int32_t>()[1] = 3;
  for (double smoothing : {0.0, 0.1}) {
    const LossResult result =
        executor_->SoftmaxCrossEntropy(Filled({2, 4}, 7), labels, smoothing, 1, false);
    EXPECT_TRUE(Near(result.losses, Filled({2}, std::log(4.0)), 1e-15));
    EXPECT_EQ(result.correct.Data<double>()[0] + result.correct.Data<double>()[1], 1);
    EXPECT_FALSE(result.dlogits.defined());
  }
}

TEST_F(Reference, SmoothingMovesAShareOfTheTargetToAllClasses) {
  Tensor labels = Tensor::Zeros({1}, DType::kInt32);
  // log softmax(ln 3, 0) = (ln 3/4, ln 1/4); the target is (0.9, 0.1).
  const LossResult result =
      executor_->SoftmaxCrossEntropy(FromValues({1, 2}, {std::log(3.0), 0}), labels, 0.2, 10, true);
  EXPECT_NEAR(result.losses.Data<double>()[0], -0.9 * std::log(0.75) - 0.1 * std::log(0.25), 1e-15);
  EXPECT_TRUE(Near(result.dlogits, FromValues({1, 2}, {-1.5, 1.5}), 1e-14));
}

TEST_F(Reference, NonFiniteNumbersAreNeverHidden) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Tensor x = FromValues({1, 1, 2, 1}, {nan, 1});
  EXPECT_TRUE(std::isnan(executor_->ActivationForward(ActivationKind::kRelu, x).Data<double>()[0]));
  const Pool2dSpec spec{.kind = PoolKind::kMax, .kernel = 1, .stride = 1};
  EXPECT_TRUE(std::isnan(executor_->Pool2dForward(spec, x).y.Data<double>()[0]));
  EXPECT_TRUE(std::isnan(SumOfSquares(*executor_, x)));
}

TEST_F(Reference, MismatchedShapesAreRefused) {
  const Conv2dSpec spec{.in_channels = 3, .out_channels = 2};
  const Tensor x = Filled({1, 4, 4, 3}, 1);
  EXPECT_THROW(executor_->Conv2dForward(spec, x, Filled({2, 2, 1, 1}, 1), {}), Error);
  EXPECT_THROW(executor_->Conv2dForward(spec, x, Filled({2, 3, 1, 1}, 1), Filled({3}, 1)), Error);
  EXPECT_THROW(executor_->LinearForward(Filled({2, 3}, 1), Filled({5, 4}, 1), {}), Error);
  EXPECT_THROW(executor_->Add(Filled({2, 3}, 1), Filled({3, 2}, 1)), Error);
  EXPECT_THROW(executor_->Dropout(Filled({2, 3}, 1), Keys(3, "keys"), 0.5), Error);
  Tensor labels = Tensor::Zeros({1}, DType::kInt32);
  labels.Data<int32_t>()[0] = 4;
  EXPECT_THROW(executor_->SoftmaxCrossEntropy(Filled({1, 4}, 0), labels, 0, 1, true), Error);
}

}  // namespace
}  // namespace syncbn::backend
