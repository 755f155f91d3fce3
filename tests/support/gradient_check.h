// Numeric gradient checks in double: for operations, layers, models, and losses summed over
// replicas.
//
//   const auto loss = [&](std::span<const Tensor> in) { return Dot(r, layer(in[0], in[1])); };
//   EXPECT_TRUE(GradientsMatch(loss, {x, weight}, {dx, dweight}));
//
// Each element of each input is moved by +-h and +-2h and the derivative taken as
//
//   f'(t) = (8 (f(t + h) - f(t - h)) - (f(t + 2h) - f(t - 2h))) / 12 h + O(h^4 f^(5))
//
// so that with h = 1e-4 and f of the order of 1 both the formula's error and the rounding of f stay
// near 1e-12. The function must be smooth within 2h: keep data away from the kinks of a ReLU and
// from ties of a maximum (DistanceFromZero says how far it is).
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <span>
#include <vector>

#include "tensor/tensor.h"

namespace syncbn {

// A scalar of F64 tensors, pure. For several replicas: the loss summed over all of them.
using ScalarFunction = std::function<double(std::span<const Tensor>)>;

struct GradientCheckOptions {
  // h above.
  double step = 1e-4;
  // Allowed error of an element, as a share of the largest of its tensor's gradient. What rounding
  // of the function allows comes on top.
  double tolerance = 1e-8;
  // At most so many elements of each tensor, spread evenly, are tried: a model has too many.
  int64_t max_elements = 400;
};

// Fails naming the worst element. `inputs` are moved in place while the function runs and have
// their old values afterwards; an undefined gradient leaves its input unchecked.
inline ::testing::AssertionResult GradientsMatch(const ScalarFunction& function,
                                                 std::vector<Tensor> inputs,
                                                 const std::vector<Tensor>& gradients,
                                                 const GradientCheckOptions& options = {}) {
  if (inputs.size() != gradients.size()) {
    return ::testing::AssertionFailure()
           << inputs.size() << " inputs but " << gradients.size() << " gradients";
  }
  const double h = options.step;
  const double value = function(inputs);
  // The sum of four values, each off by a few units of its last place.
  const double rounding = 32 * std::numeric_limits<double>::epsilon() * std::abs(value) / h;
  for (size_t k = 0; k < inputs.size(); ++k) {
    if (!gradients[k].defined()) continue;
    if (gradients[k].elements() != inputs[k].elements()) {
      return ::testing::AssertionFailure() << "input " << k << " is " << inputs[k].shape()
                                           << ", its gradient " << gradients[k].shape();
    }
    const std::span<const double> analytic = gradients[k].Span<double>();
    const std::span<double> x = inputs[k].Span<double>();
    double largest = 0;
    for (double g : analytic) largest = std::max(largest, std::abs(g));
    const double allowed = options.tolerance * largest + rounding;

    const auto elements = static_cast<int64_t>(x.size());
    const int64_t tried = std::min(elements, options.max_elements);
    for (int64_t i = 0; i < tried; ++i) {
      const auto element = static_cast<size_t>(i * elements / tried);
      const double old = x[element];
      const auto at = [&](double offset) {
        x[element] = old + offset;
        return function(inputs);
      };
      const double near = at(h) - at(-h), far = at(2 * h) - at(-2 * h);
      x[element] = old;
      const double numeric = (8 * near - far) / (12 * h);
      if (!(std::abs(numeric - analytic[element]) <= allowed)) {  // also when one of them is NaN
        return ::testing::AssertionFailure()
               << "input " << k << " " << inputs[k].shape() << ", element " << element
               << ": the gradient is " << numeric << " by differences but was given as "
               << analytic[element] << "; apart by " << std::abs(numeric - analytic[element])
               << ", allowed " << allowed;
      }
    }
  }
  return ::testing::AssertionSuccess();
}

// sum of a * b: with fixed random b, a loss whose gradient with respect to a is b.
inline double Dot(const Tensor& a, const Tensor& b) {
  const std::span<const double> left = a.Span<double>(), right = b.Span<double>();
  double sum = 0;
  for (size_t i = 0; i < left.size(); ++i) sum += left[i] * right[i];
  return sum;
}

// The smallest absolute value of an element.
inline double DistanceFromZero(const Tensor& x) {
  double smallest = std::numeric_limits<double>::infinity();
  for (double value : x.Span<double>()) smallest = std::min(smallest, std::abs(value));
  return smallest;
}

}  // namespace syncbn
