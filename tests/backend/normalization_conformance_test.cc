#include <gtest/gtest.h>

#include <cmath>
#include <stdexcept>

#include "tests/backend/conformance.h"
#include "tests/support/gradient_check.h"

namespace syncbn::backend {
namespace {

// One normalization with its inputs, all F64.
struct Problem {
  RowLayout layout;
  bool relu = false;
  // Whether the backward pass is given the forward's result.
  bool keep_y = false;
  Tensor x, residual, gamma, beta, mean, inv_std, dy, a, b;

  Normalization For(Executor& e) const {
    return {.layout = layout,
            .mean = OnDevice(e, mean),
            .inv_std = OnDevice(e, inv_std),
            .gamma = Parameter(e, gamma),
            .beta = Parameter(e, beta),
            .relu = relu};
  }
  InputTerms Terms(Executor& e) const { return {OnDevice(e, a), OnDevice(e, b)}; }
};

std::ostream& operator<<(std::ostream& out, const Problem& p) {
  return out << p.layout.segments << " segments of " << p.layout.samples << " x "
             << p.layout.rows_per_sample << " rows, " << p.layout.channels << " channels"
             << (p.gamma.defined() ? ", affine" : "") << (p.relu ? ", relu" : "")
             << (p.residual.defined() ? ", residual" : "") << (p.keep_y ? ", y kept" : "")
             << (p.a.defined() ? "" : ", given statistics");
}

std::vector<Tensor> Forward(Executor& e, const Problem& p) {
  return {e.NormalizeForward(p.For(e), In(e, p.x), In(e, p.residual))};
}

// {sum_dy, sum_dy_xhat}
std::vector<Tensor> Sums(Executor& e, const Problem& p) {
  const Tensor y = p.keep_y ? Forward(e, p)[0] : Tensor();
  Tensor sum_dy = e.New(p.mean.shape(), DType::kFloat64);
  Tensor sum_dy_xhat = e.New(p.mean.shape(), DType::kFloat64);
  e.NormalizeBackwardSums(p.For(e), In(e, p.x), y, In(e, p.dy), sum_dy, sum_dy_xhat);
  return {sum_dy, sum_dy_xhat};
}

// {dx, dresidual, dx when no dresidual is wanted}
std::vector<Tensor> Input(Executor& e, const Problem& p) {
  const Tensor y = p.keep_y ? Forward(e, p)[0] : Tensor();
  const Normalization norm = p.For(e);
  Tensor dresidual;
  const Tensor dx =
      e.NormalizeBackwardInput(norm, In(e, p.x), y, In(e, p.dy), p.Terms(e), &dresidual);
  return {dx, dresidual,
          e.NormalizeBackwardInput(norm, In(e, p.x), y, In(e, p.dy), p.Terms(e), nullptr)};
}

struct Form {
  bool affine, relu, residual, keep_y, statistics_of_x;
};

const std::vector<Form>& Forms() {
  static const std::vector<Form> forms = {
      {.affine = true, .relu = false, .residual = false, .keep_y = false, .statistics_of_x = true},
      {.affine = false, .relu = false, .residual = false, .keep_y = false, .statistics_of_x = true},
      {.affine = true, .relu = true, .residual = false, .keep_y = false, .statistics_of_x = true},
      {.affine = true, .relu = true, .residual = false, .keep_y = true, .statistics_of_x = true},
      {.affine = false, .relu = true, .residual = false, .keep_y = false, .statistics_of_x = true},
      {.affine = true, .relu = false, .residual = true, .keep_y = false, .statistics_of_x = true},
      {.affine = true, .relu = true, .residual = true, .keep_y = true, .statistics_of_x = true},
      {.affine = true, .relu = true, .residual = false, .keep_y = false, .statistics_of_x = false},
      {.affine = true, .relu = true, .residual = true, .keep_y = true, .statistics_of_x = false},
  };
  return forms;
}

const std::vector<RowLayout>& Layouts() {
  static const std::vector<RowLayout> layouts = [] {
    std::vector<RowLayout> all;
    for (const int64_t channels : {1, 3, 10, 16, 24, 64}) {
      for (const int64_t samples : {0, 1, 2, 5}) all.push_back({1, samples, 5 * 7, channels});
      all.push_back({2, 2, 3 * 5, channels});  // slices
      all.push_back({3, 1, 5 * 5, channels});  // instances
      all.push_back({1, 33, 1, channels});     // of a linear layer
    }
    all.push_back({5, 1, 5 * 7 * 3, 1});  // all features of a sample
    return all;
  }();
  return layouts;
}

Problem RandomProblem(const RowLayout& layout, const Form& form, double mean = 0.5) {
  const Shape shape{layout.segments * layout.samples, layout.rows_per_sample, layout.channels};
  const Shape statistics{layout.segments, layout.channels};
  const auto executor = MakeReferenceBackend()->MakeExecutor();
  for (int draw = 0; draw < 100; ++draw) {
    const std::string suffix = std::to_string(draw);
    Problem p{.layout = layout, .keep_y = form.keep_y};
    p.x = RandomNormal(shape, "x" + suffix, mean, 1);
    p.dy = RandomNormal(shape, "dy");
    if (form.residual) p.residual = RandomNormal(shape, "residual");
    if (form.affine) {
      p.gamma = RandomNormal({layout.channels}, "gamma", 1, 0.5);
      p.beta = RandomNormal({layout.channels}, "beta");
    }
    // Not the moments of x, but near them, with more digits than float32 has.
    p.mean = RandomNormal(statistics, "mean", 0, 0.1);
    for (double& value : p.mean.Span<double>()) value = mean + value / 3;
    p.inv_std = RandomNormal(statistics, "inv_std");
    for (double& value : p.inv_std.Span<double>()) value = std::exp(value / 3);
    if (form.statistics_of_x) {
      p.a = RandomNormal(statistics, "a", 0, 0.1);
      p.b = RandomNormal(statistics, "b", 0, 0.1);
    }
    // Where rounding could move an element over the kink of the ReLU, float32 and double rightly
    // differ: draw again.
    if (DistanceFromZero(Forward(*executor, p)[0]) > 1e-5) {
      p.relu = form.relu;
      return p;
    }
  }
  throw std::runtime_error("every draw has a pre-activation near 0");
}

class NormalizationConformance : public ConformanceTest {};
INSTANTIATE_TEST_SUITE_P(Backends, NormalizationConformance,
                         ::testing::ValuesIn(BackendsUnderTest()), NameOfCase);

TEST_P(NormalizationConformance, EqualsTheReferenceUpToRounding) {
  for (const RowLayout& layout : Layouts()) {
    for (const Form& form : Forms()) {
      const Problem p = RandomProblem(layout, form);
      SCOPED_TRACE(::testing::Message() << p);
      ExpectClose([&](Executor& e) { return Forward(e, p); }, 1, 4);
      ExpectClose([&](Executor& e) { return Input(e, p); }, 1, 8);
      const std::vector<Tensor> sums = Tested([&](Executor& e) { return Sums(e, p); });
      const std::vector<Tensor> expected = Sums(reference(), p);
      // Sums of signed terms may come out small: what counts is the size of their random walk.
      const int64_t terms = layout.rows_per_segment();
      for (int i : {0, 1}) {
        EXPECT_TRUE(Near(sums[i], expected[i], Rounding(terms), std::sqrt(terms))) << "sum " << i;
      }
    }
  }
}

// Rounded to float32, a mean of 1e5 is off by up to 0.4 % of a standard deviation.
TEST_P(NormalizationConformance, KeepsItsDigitsWhenTheMeanIsLarge) {
  for (const double mean : {1e3, 1e5}) {
    for (const int64_t channels : {3, 16}) {
      const Problem p =
          RandomProblem({.segments = 1, .samples = 2, .rows_per_sample = 35, .channels = channels},
                        Forms()[0], mean);
      SCOPED_TRACE(::testing::Message() << p << ", mean " << mean);
      ExpectClose([&](Executor& e) { return Forward(e, p); }, 1, 2);
      ExpectClose([&](Executor& e) { return Input(e, p); }, 1, 2);
      ExpectClose([&](Executor& e) { return Sums(e, p); }, 70, 1);
    }
  }
}

// Whole numbers, with powers of two where something is multiplied: everything is exact in float32.
Problem ExactProblem(const RowLayout& layout, const Form& form) {
  const Shape shape{layout.segments * layout.samples, layout.rows_per_sample, layout.channels};
  const Shape statistics{layout.segments, layout.channels};
  const auto powers = [](Tensor exponents) {
    for (double& value : exponents.Span<double>()) value = std::exp2(value);
    return exponents;
  };
  Problem p{.layout = layout, .relu = form.relu, .keep_y = form.keep_y};
  p.x = RandomIntegers(shape, "x", -8, 8);
  p.dy = RandomIntegers(shape, "dy", -8, 8);
  if (form.residual) p.residual = RandomIntegers(shape, "residual", -4, 4);
  if (form.affine) {
    p.gamma = powers(RandomIntegers({layout.channels}, "gamma", -1, 1));
    p.beta = RandomIntegers({layout.channels}, "beta", -4, 4);
  }
  p.mean = RandomIntegers(statistics, "mean", -4, 4);
  p.inv_std = powers(RandomIntegers(statistics, "inv_std", -2, 1));
  if (form.statistics_of_x) {
    p.a = RandomIntegers(statistics, "a", -4, 4);
    p.b = RandomIntegers(statistics, "b", -4, 4);
  }
  return p;
}

TEST_P(NormalizationConformance, IsExactOnSmallWholeNumbers) {
  for (const RowLayout& layout : Layouts()) {
    for (const Form& form : Forms()) {
      const Problem p = ExactProblem(layout, form);
      SCOPED_TRACE(::testing::Message() << p);
      ExpectExact([&](Executor& e) { return Forward(e, p); });
      ExpectExact([&](Executor& e) { return Sums(e, p); });
      ExpectExact([&](Executor& e) { return Input(e, p); });
    }
  }
}

// -- The mask of the ReLU
// --------------------------------------------------------------------------

// Pre-activations that are 0 up to rounding: each channel's shift takes back its first row's scaled
// value, and half of the rows are that row again, or its neighbours in float32.
Problem ProblemAtTheKink(int64_t channels) {
  Problem p = RandomProblem(
      {.segments = 1, .samples = 4, .rows_per_sample = 35, .channels = channels}, Forms()[0]);
  p.relu = true;
  p.dy = Filled(p.x.shape(), 1);
  double* x = p.x.Data<double>();
  for (int64_t c = 0; c < channels; ++c) {
    const double xhat = (x[c] - p.mean.Data<double>()[c]) * p.inv_std.Data<double>()[c];
    p.beta.Data<double>()[c] = static_cast<float>(-p.gamma.Data<double>()[c] * xhat);
    for (int64_t row = 1; row < p.layout.rows(); row += 2) {
      float near = static_cast<float>(x[c]);
      for (int64_t step = 0; step < row % 7; ++step) {
        near = std::nextafter(near, row % 3 == 0 ? -1e30f : 1e30f);
      }
      x[row * channels + c] = near;
    }
  }
  return p;
}

TEST_P(NormalizationConformance, MaskOfTheBackwardPassIsTheSignOfTheForwardResult) {
  for (const int64_t channels : {1, 3, 10, 16, 24, 64}) {
    Problem p = ProblemAtTheKink(channels);
    Executor& e = tested();
    const Tensor y = As(Forward(e, p)[0], DType::kFloat64);
    Tensor mask(y.shape(), DType::kFloat64);
    Tensor counts = Tensor::Zeros({1, channels}, DType::kFloat64);
    for (int64_t i = 0; i < y.elements(); ++i) {
      const bool positive = y.Data<double>()[i] > 0;
      mask.Data<double>()[i] = positive ? 1 : 0;
      counts.Data<double>()[i % channels] += positive ? 1 : 0;
    }
    for (const bool keep_y : {false, true}) {
      SCOPED_TRACE(::testing::Message() << channels << " channels, y kept: " << keep_y);
      p.keep_y = keep_y;
      EXPECT_TRUE(Equal(Input(e, p)[1], mask));
      EXPECT_TRUE(Equal(Sums(e, p)[0], counts));
    }
  }
}

TEST_P(NormalizationConformance, BackwardPassIsTheSameWithAndWithoutTheForwardResult) {
  for (const int64_t channels : {1, 3, 10, 16, 24, 64}) {
    Problem p = ProblemAtTheKink(channels);
    p.dy = RandomNormal(p.x.shape(), "dy");
    SCOPED_TRACE(channels);
    const std::vector<Tensor> sums = Sums(tested(), p), inputs = Input(tested(), p);
    p.keep_y = true;
    const std::vector<Tensor> kept_sums = Sums(tested(), p), kept_inputs = Input(tested(), p);
    for (size_t i = 0; i < sums.size(); ++i) EXPECT_TRUE(SameBits(sums[i], kept_sums[i]));
    for (size_t i = 0; i < inputs.size(); ++i) EXPECT_TRUE(SameBits(inputs[i], kept_inputs[i]));
  }
}

TEST_P(NormalizationConformance, NotANumberPassesThroughTheRelu) {
  for (const bool residual : {false, true}) {
    Form form = Forms()[2];
    form.residual = residual;
    Problem p =
        RandomProblem({.segments = 1, .samples = 2, .rows_per_sample = 9, .channels = 10}, form);
    p.x.Data<double>()[73] = std::nan("");
    const Tensor y = As(Forward(tested(), p)[0], DType::kFloat64);
    for (int64_t i = 0; i < y.elements(); ++i) {
      EXPECT_EQ(std::isnan(y.Data<double>()[i]), i == 73) << i;
    }
  }
}

// What happens to a sample must not depend on the samples beside it, once the statistics are given.
TEST_P(NormalizationConformance, OfASampleDoesNotDependOnItsPlaceInTheBatch) {
  const Problem p = RandomProblem(
      {.segments = 1, .samples = 5, .rows_per_sample = 21, .channels = 10}, Forms()[2]);
  const std::vector<Tensor> y = Forward(tested(), p), inputs = Input(tested(), p);
  for (int64_t n = 0; n < 5; ++n) {
    Problem one = p;
    one.layout.samples = 1;
    one.x = p.x.Rows(n, n + 1);
    one.dy = p.dy.Rows(n, n + 1);
    EXPECT_TRUE(SameBits(Forward(tested(), one)[0], y[0].Rows(n, n + 1))) << "sample " << n;
    EXPECT_TRUE(SameBits(Input(tested(), one)[0], inputs[0].Rows(n, n + 1))) << "sample " << n;
  }
}

}  // namespace
}  // namespace syncbn::backend
