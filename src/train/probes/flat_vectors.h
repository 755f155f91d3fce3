// Arithmetic on flat vectors as nn::ParameterLayout lays them out: parameters, gradients,
// directions.
//
// On the device, in the element type that parameters and gradients share. Sums are in the fixed
// blocks of backend::Executor::SumsOfSquares, then over the parameters in their order: the same
// bits in every process. Each element of a result is rounded once to that type.
#pragma once

#include <span>
#include <vector>

#include "backend/executor.h"
#include "nn/parameters.h"

namespace syncbn::train {

class FlatVectors {
 public:
  // Both must outlive it.
  FlatVectors(const nn::ParameterLayout& layout, backend::Executor& executor)
      : layout_(layout), executor_(executor) {}

  // Of each parameter's part: the sum of its squares. Waits for it.
  std::vector<double> SquaredNorms(const Tensor& x) const;
  double Norm(const Tensor& x) const;

  // y += factor x; with `factors`, one for each parameter's part.
  void AddScaled(const Tensor& x, double factor, Tensor& y) const;
  void AddScaled(const Tensor& x, std::span<const double> factors, Tensor& y) const;

  // With memory of their own.
  Tensor Scaled(const Tensor& x, double factor) const;
  Tensor Scaled(const Tensor& x, std::span<const double> factors) const;
  Tensor Difference(const Tensor& x, const Tensor& y) const;

 private:
  const nn::ParameterLayout& layout_;
  backend::Executor& executor_;
};

// x y / (|x| |y|) of vectors of length 1, given |x - y|: exact where they are close.
constexpr double CosineOfUnits(double distance) {
  return 1 - distance * distance / 2;
}

}  // namespace syncbn::train
