#include "train/probes/flat_vectors.h"

#include <cmath>
#include <map>
#include <utility>

#include "base/check.h"
#include "train/optimizer.h"

namespace syncbn::train {

std::vector<double> FlatVectors::SquaredNorms(const Tensor& x) const {
  const Tensor squares = train::SquaredNorms(executor_, layout_, x).OnHost();
  const std::span<const double> values = squares.Span<double>();
  return {values.begin(), values.end()};
}

double FlatVectors::Norm(const Tensor& x) const {
  double sum = 0;
  for (const double square : SquaredNorms(x)) sum += square;
  return std::sqrt(sum);
}

void FlatVectors::AddScaled(const Tensor& x, double factor, Tensor& y) const {
  const std::vector<double> factors(static_cast<size_t>(layout_.size()), factor);
  AddScaled(x, factors, y);
}

void FlatVectors::AddScaled(const Tensor& x, std::span<const double> factors, Tensor& y) const {
  SYNCBN_CHECK_EQ(x.dtype(), y.dtype()) << "vectors over the parameters";
  SYNCBN_CHECK_EQ(static_cast<int>(factors.size()), layout_.size()) << "factors of the parameters";
  // A step of plain gradient descent for each factor: -factor is its rate.
  std::map<double, backend::UpdateSpec> by_factor;
  for (int i = 0; i < layout_.size(); ++i) {
    const double factor = factors[static_cast<size_t>(i)];
    if (factor == 0) continue;
    by_factor[factor].parts.push_back(
        {.offset = layout_[i].offset, .elements = layout_[i].shape.elements()});
  }
  if (by_factor.empty()) return;
  Tensor verdict = executor_.New({backend::verdict::kElements}, DType::kFloat64);
  executor_.Fill(verdict, 1);  // accepted, and nothing is scaled
  Tensor updates = executor_.NewZeros({1}, DType::kFloat64);
  for (const auto& [factor, descent] : by_factor) {
    executor_.Update(descent, {.learning_rate = -factor, .gradients = x, .verdict = verdict}, y, {},
                     updates);
  }
}

Tensor FlatVectors::Scaled(const Tensor& x, double factor) const {
  Tensor scaled = executor_.NewZeros(x.shape(), x.dtype());
  AddScaled(x, factor, scaled);
  return scaled;
}

Tensor FlatVectors::Scaled(const Tensor& x, std::span<const double> factors) const {
  Tensor scaled = executor_.NewZeros(x.shape(), x.dtype());
  AddScaled(x, factors, scaled);
  return scaled;
}

Tensor FlatVectors::Difference(const Tensor& x, const Tensor& y) const {
  Tensor difference = executor_.Clone(x);
  AddScaled(y, -1, difference);
  return difference;
}

}  // namespace syncbn::train
