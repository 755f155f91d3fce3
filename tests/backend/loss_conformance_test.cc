// Losses, weight norm and sums of squares.

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"
#include "tests/backend/conformance.h"
#include "tests/backend/moments.h"

namespace syncbn::backend {
namespace {

class LossConformance : public ConformanceTest {};
INSTANTIATE_TEST_SUITE_P(Backends, LossConformance, ::testing::ValuesIn(BackendsUnderTest()),
                         NameOfCase);

std::vector<Tensor> Loss(Executor& e, const Tensor& logits, const Tensor& labels, double smoothing,
                         double scale) {
  const LossResult result =
      e.SoftmaxCrossEntropy(In(e, logits), OnDevice(e, labels), smoothing, scale, true);
  EXPECT_EQ(result.losses.dtype(), DType::kFloat64);
  return {result.losses, result.dlogits, result.correct};
}

TEST_P(LossConformance, EqualsTheReferenceUpToRounding) {
  for (const int classes : {1, 2, 10, 100, 1000, 2500}) {
    for (const int64_t samples : {0, 1, 2, 5, 33}) {
      for (const double smoothing : {0.0, 0.1}) {
        SCOPED_TRACE(::testing::Message()
                     << classes << " classes, " << samples << " samples, smoothing " << smoothing);
        const Tensor logits = RandomNormal({samples, classes}, "logits", 0, 3);
        const Tensor labels = RandomLabels(samples, "labels", classes);
        const std::vector<Tensor> actual =
            Tested([&](Executor& e) { return Loss(e, logits, labels, smoothing, 1.0 / 64); });
        const std::vector<Tensor> expected = Loss(reference(), logits, labels, smoothing, 1.0 / 64);
        // Probabilities are rounded as numbers of size 1, losses as logits.
        EXPECT_TRUE(Near(actual[0], expected[0], Rounding(1, 8), 1));
        EXPECT_TRUE(Near(actual[1], expected[1], Rounding(1, 8), 1.0 / 64));
        EXPECT_TRUE(Equal(actual[2], expected[2]));
      }
    }
  }
}

TEST_P(LossConformance, IsRightForLogitsWhoseExponentialsAreNot) {
  const Tensor logits = FromValues({3, 3}, {1000, 0, -1000, 200, 200, -200, -1e4, -1e4, -1e4});
  Tensor labels({3}, DType::kInt32);
  labels.Data<int32_t>()[0] = 1;
  labels.Data<int32_t>()[1] = 0;
  labels.Data<int32_t>()[2] = 2;
  Executor& e = tested();
  const LossResult result = e.SoftmaxCrossEntropy(In(e, logits), OnDevice(e, labels), 0, 1, true);
  EXPECT_TRUE(Near(result.losses, FromValues({3}, {1000, std::log(2.0), std::log(3.0)}), 1e-9));
  const double third = 1.0 / 3;
  EXPECT_TRUE(Near(result.dlogits,
                   FromValues({3, 3}, {1, -1, 0, -0.5, 0.5, 0, third, third, third - 1}), 1e-6));
  // The first of two largest in the second sample only.
  EXPECT_TRUE(Equal(result.correct, FromValues({3}, {0, 1, 0})));
}

TEST_P(LossConformance, CountsTheFirstOfEqualLogitsAsTheAnswer) {
  const int classes = 37;
  const Tensor logits = RandomIntegers({100, classes}, "logits", 0, 3);
  const Tensor labels = RandomLabels(100, "labels", 20);
  const Tensor expected = reference().SoftmaxCrossEntropy(logits, labels, 0, 1, false).correct;
  ASSERT_GT(std::ranges::count(expected.Span<double>(), 1), 0);
  Executor& e = tested();
  const Tensor there = OnDevice(e, labels);
  EXPECT_TRUE(Equal(e.SoftmaxCrossEntropy(In(e, logits), there, 0, 1, false).correct, expected));
}

TEST_P(LossConformance, GradientIsMadeOnlyWhenAskedFor) {
  Executor& e = tested();
  const Tensor labels = OnDevice(e, RandomLabels(2, "labels", 10));
  const LossResult result =
      e.SoftmaxCrossEntropy(In(e, RandomNormal({2, 10}, "logits")), labels, 0, 1, false);
  EXPECT_FALSE(result.dlogits.defined());
}

TEST_P(LossConformance, OfASampleDoesNotDependOnItsPlaceInTheBatch) {
  const Tensor logits = In(tested(), RandomNormal({7, 10}, "logits", 0, 3));
  const Tensor labels = OnDevice(tested(), RandomLabels(7, "labels", 10));
  const LossResult together = tested().SoftmaxCrossEntropy(logits, labels, 0.1, 0.5, true);
  for (int64_t n = 0; n < 7; ++n) {
    const LossResult alone =
        tested().SoftmaxCrossEntropy(logits.Rows(n, n + 1), labels.Rows(n, n + 1), 0.1, 0.5, true);
    EXPECT_TRUE(SameBits(alone.losses, together.losses.Rows(n, n + 1)));
    EXPECT_TRUE(SameBits(alone.dlogits, together.dlogits.Rows(n, n + 1)));
  }
}

TEST_P(LossConformance, NotANumberReachesTheLoss) {
  Tensor logits = RandomNormal({3, 10}, "logits");
  logits.Data<double>()[17] = std::nan("");
  Executor& e = tested();
  const Tensor labels = OnDevice(e, Tensor::Zeros({3}, DType::kInt32));
  const Tensor losses = e.SoftmaxCrossEntropy(In(e, logits), labels, 0, 1, true).losses.OnHost();
  EXPECT_FALSE(std::isnan(losses.Data<double>()[0]));
  EXPECT_TRUE(std::isnan(losses.Data<double>()[1]));
  EXPECT_FALSE(std::isnan(losses.Data<double>()[2]));
}

// By an error; where the host cannot look at labels, the loss may be NaN instead.
TEST_P(LossConformance, LabelsThatAreNoClassAreRefused) {
  Executor& e = tested();
  const Tensor logits = In(e, RandomNormal({1, 10}, "logits"));
  for (const int32_t label : {-1, 10}) {
    Tensor labels({1}, DType::kInt32);
    labels.Data<int32_t>()[0] = label;
    const auto loss = [&] {
      return e.SoftmaxCrossEntropy(logits, OnDevice(e, labels), 0, 1, true).losses.OnHost();
    };
    if (logits.on_host()) {
      EXPECT_THROW(loss(), Error) << label;
      continue;
    }
    try {
      const Tensor losses = loss();
      EXPECT_TRUE(std::isnan(losses.Data<double>()[0])) << label;
    } catch (const Error&) {
    }
  }
}

// -- Weight norm ---------------------------------------------------------------------------------

std::vector<Tensor> WeightNorm(Executor& e, const Tensor& v, const Tensor& gain,
                               const Tensor& dweight) {
  const WeightNormResult result = e.WeightNormForward(Parameter(e, v), Parameter(e, gain));
  std::vector<Tensor> results = {result.weight, result.norms};
  for (const bool accumulate : {false, true}) {
    GuardedGradient dv(e, Filled(v.shape(), 0.5)), dgain(e, Filled(gain.shape(), 0.25));
    e.WeightNormBackward(Parameter(e, v), Parameter(e, gain), result.norms, Parameter(e, dweight),
                         dv.Out(accumulate), dgain.Out(accumulate));
    results.push_back(dv.Result());
    results.push_back(dgain.Result());
  }
  return results;
}

TEST_P(LossConformance, WeightNormEqualsTheReferenceUpToRounding) {
  for (const Shape& shape : {Shape{1, 1}, Shape{10, 3}, Shape{24, 64}, Shape{16, 3, 3, 3},
                             Shape{3, 10, 1, 1}, Shape{64, 16, 3, 3}}) {
    SCOPED_TRACE(shape);
    const Tensor v = RandomNormal(shape, "v"), dweight = RandomNormal(shape, "dweight");
    const Tensor gain =
        RandomNormal(shape.rank() == 4 ? Shape{shape[0], 1, 1, 1} : Shape{shape[0], 1}, "gain");
    ExpectClose([&](Executor& e) { return WeightNorm(e, v, gain, dweight); },
                shape.elements() / shape[0], 1);
  }
}

TEST_P(LossConformance, WeightNormIsExactForPythagoreanRows) {
  const Tensor v = FromValues({3, 2}, {4, 0, 0, -8, 0, 0.5});
  const Tensor gain = FromValues({3, 1}, {2, 4, -1});
  const Tensor dweight = FromValues({3, 2}, {1, 2, 3, 4, 5, 6});
  ExpectExact([&](Executor& e) { return WeightNorm(e, v, gain, dweight); });
}

// -- Sum of squares ------------------------------------------------------------------------------

TEST_P(LossConformance, SumOfSquaresIsTakenInDouble) {
  Executor& e = tested();
  EXPECT_EQ(SumOfSquares(e, Parameter(e, Filled({0}, 0))), 0);
  // 100,000 whole numbers up to 99: exact in double, not in float32.
  const Tensor whole = RandomIntegers({100000}, "whole", -99, 99);
  EXPECT_EQ(SumOfSquares(e, Parameter(e, whole)), SumOfSquares(reference(), whole));
  // Squares that float32 cannot hold.
  const Tensor wide = FromValues({4}, {0x1p100, 0x1p-100, -0x1p100, 0});
  EXPECT_EQ(SumOfSquares(e, Parameter(e, wide)), 0x1p201);
  for (const int64_t elements : {1, 7, 15, 16, 17, 1000, 4097, 70001}) {
    const Tensor x = RandomNormal({elements}, "x");
    const double expected = SumOfSquares(reference(), x);
    EXPECT_NEAR(SumOfSquares(e, Parameter(e, x)), expected, 1e-13 * expected) << elements;
  }
}

TEST_P(LossConformance, SumOfSquaresShowsWhatIsNotFinite) {
  Executor& e = tested();
  for (const double bad :
       {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(),
        -std::numeric_limits<double>::infinity()}) {
    for (const int64_t place : {0, 16, 777, 999}) {
      Tensor x = RandomNormal({1000}, "x");
      x.Data<double>()[place] = bad;
      EXPECT_FALSE(std::isfinite(SumOfSquares(e, Parameter(e, x)))) << bad << " at " << place;
    }
  }
}

// Of many tensors at once, wherever they begin and however many elements they have.
TEST_P(LossConformance, SumsOfSquaresOfManyTensorsAreThoseOfEach) {
  Executor& e = tested();
  const Tensor values = RandomNormal({30000}, "x");
  const auto sums = [&](Executor& executor, const Tensor& x) {
    std::vector<Tensor> tensors;
    for (int64_t i = 0; i < 150; ++i) tensors.push_back(x.Slice(7 * i + i % 4, {37 * i % 1000}));
    tensors.push_back(x.Slice(3, {29000}));
    tensors.push_back(x.Slice(0, {8192}));
    Tensor result = executor.New({static_cast<int64_t>(tensors.size())}, DType::kFloat64);
    executor.SumsOfSquares(tensors, result);
    return result;
  };
  const Tensor actual = sums(e, Parameter(e, values)).OnHost(),
               expected = sums(reference(), values);
  for (int64_t i = 0; i < expected.elements(); ++i) {
    const double sum = expected.Data<double>()[i];
    EXPECT_NEAR(actual.Data<double>()[i], sum, 1e-13 * sum) << i;
  }
}

// The bits of a sum depend on the elements alone, not on where they lie.
TEST_P(LossConformance, SumOfSquaresDoesNotDependOnTheAddress) {
  Executor& e = tested();
  constexpr int64_t kElements = 9001;
  const Tensor x = RandomNormal({kElements}, "x");
  const double expected = SumOfSquares(e, Parameter(e, x));
  for (const int64_t offset : {1, 2, 3, 4}) {
    Tensor wide = Filled({kElements + 8}, 5);
    std::ranges::copy(x.Span<double>(), wide.Data<double>() + offset);
    EXPECT_EQ(SumOfSquares(e, Parameter(e, wide).Slice(offset, {kElements})), expected) << offset;
  }
}

}  // namespace
}  // namespace syncbn::backend
