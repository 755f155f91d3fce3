// What the tests of back ends share: inputs and comparisons.
#pragma once

#include <gtest/gtest.h>

#include <string_view>
#include <vector>

#include "backend/executor.h"
#include "tests/backend/activations.h"

namespace syncbn::backend {

// -- Inputs --------------------------------------------------------------------------------------
// All are F64 and drawn from their name alone. Drawn values are numbers that float32 can hold, or
// what was said last with FitInputs, so that every back end gets exactly the same.
void FitInputs(DType type);
// x, its elements rounded to such numbers.
Tensor Fit(Tensor x);
Tensor RandomNormal(Shape shape, std::string_view name, double mean = 0, double std = 1);
// Integers in [low, high]: sums and products of a few of them are exact in float32.
Tensor RandomIntegers(Shape shape, std::string_view name, int low, int high);
// Labels in [0, classes), I32.
Tensor RandomLabels(int64_t samples, std::string_view name, int classes);
// All elements different, at least 1/4 apart, in random order; of those that BF16 has not, some
// become equal.
Tensor Distinct(Shape shape, std::string_view name);
Tensor Filled(Shape shape, double value);
Tensor FromValues(Shape shape, std::vector<double> values);
// A copy on the host, with elements of another floating type; an undefined tensor stays undefined.
Tensor As(const Tensor& x, DType dtype);
std::vector<RandomKey> Keys(int64_t samples, std::string_view name);

// -- Comparisons ---------------------------------------------------------------------------------
// Of tensors wherever they are.
// |actual - expected| <= relative * max(scale, the largest |expected|), elementwise, with equal
// shapes; where `actual` is BF16, after that the rounding to the nearest of these, at most
// 2^-8 of the element.
::testing::AssertionResult Near(const Tensor& actual, const Tensor& expected, double relative,
                                double scale = 0);
// Equal shapes and equal values, whatever the element types; where `actual` is BF16, to those
// nearest to what was expected.
::testing::AssertionResult Equal(const Tensor& actual, const Tensor& expected);
// Equal shapes, types and bits.
::testing::AssertionResult SameBits(const Tensor& actual, const Tensor& expected);

// -- With an executor ----------------------------------------------------------------------------
// `x` on the executor's device, in its own type: statistics, labels.
inline Tensor OnDevice(Executor& executor, const Tensor& x) {
  return x.defined() ? executor.ToDevice(x.OnHost(), x.dtype()) : x;
}
// A copy there in the executor's type: of activations; of parameters, and gradients of those.
inline Tensor In(Executor& executor, const Tensor& x) {
  return OnDevice(executor, As(x, executor.types().activations));
}
inline Tensor Parameter(Executor& executor, const Tensor& x) {
  return OnDevice(executor, As(x, executor.types().parameters));
}

// A parameter's gradient inside a larger tensor, as a model's gradients lie: 16 elements of 77
// before and after it must stay as they are.
class GuardedGradient {
 public:
  GuardedGradient(Executor& executor, const Tensor& initial);
  GradientOut Out(bool accumulate) { return {.tensor = inside_, .accumulate = accumulate}; }
  // The gradient, on the host; fails the test when a guard was overwritten.
  Tensor Result() const;

 private:
  Tensor whole_, inside_;
};

}  // namespace syncbn::backend
