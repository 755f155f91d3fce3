#include "tests/support/gradient_check.h"

#include <gtest/gtest.h>

#include "tests/backend/support.h"

namespace syncbn::backend {
namespace {

// f = sum over i of x[i]^3 * y[i]
double Cubic(std::span<const Tensor> in) {
  double sum = 0;
  for (int64_t i = 0; i < in[0].elements(); ++i) {
    const double x = in[0].Data<double>()[i];
    sum += x * x * x * in[1].Data<double>()[i];
  }
  return sum;
}

struct CubicCase {
  Tensor x = RandomNormal({7}, "x"), y = RandomNormal({7}, "y");
  Tensor dx = x.Clone(), dy = x.Clone();

  CubicCase() {
    for (int i = 0; i < 7; ++i) {
      const double value = x.Data<double>()[i];
      dx.Data<double>()[i] = 3 * value * value * y.Data<double>()[i];
      dy.Data<double>()[i] = value * value * value;
    }
  }
};

TEST(GradientCheck, AcceptsTheGradient) {
  CubicCase c;
  EXPECT_TRUE(GradientsMatch(Cubic, {c.x, c.y}, {c.dx, c.dy}));
}

TEST(GradientCheck, NamesTheElementThatIsOffByOneMillionth) {
  CubicCase c;
  double largest = 0;
  for (double value : c.dy.Span<double>()) largest = std::max(largest, std::abs(value));
  c.dy.Data<double>()[4] += 1e-6 * largest;
  const auto result = GradientsMatch(Cubic, {c.x, c.y}, {c.dx, c.dy});
  EXPECT_FALSE(result);
  EXPECT_NE(std::string(result.message()).find("input 1 [7], element 4"), std::string::npos)
      << result.message();
}

TEST(GradientCheck, RefusesNotANumber) {
  CubicCase c;
  c.dx.Data<double>()[2] = std::nan("");
  EXPECT_FALSE(GradientsMatch(Cubic, {c.x, c.y}, {c.dx, c.dy}));
}

TEST(GradientCheck, RefusesAGradientOfAnotherSize) {
  CubicCase c;
  EXPECT_FALSE(GradientsMatch(Cubic, {c.x, c.y}, {c.dx.Rows(0, 6), c.dy}));
  EXPECT_FALSE(GradientsMatch(Cubic, {c.x, c.y}, {c.dx}));
}

TEST(GradientCheck, LeavesTheInputsAsTheyWere) {
  CubicCase c;
  const Tensor before = c.x.Clone();
  ASSERT_TRUE(GradientsMatch(Cubic, {c.x, c.y}, {c.dx, c.dy}));
  EXPECT_TRUE(SameBits(c.x, before));
}

}  // namespace
}  // namespace syncbn::backend
