#include "train/probes/landscape.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "train/probes/flat_vectors.h"

namespace syncbn::train {
namespace {

// `points` lengths, evenly on a logarithmic scale.
std::vector<double> Lengths(const v1::LandscapeSpec& spec) {
  std::vector<double> lengths;
  for (int i = 0; i < spec.points(); ++i) {
    const double share = static_cast<double>(i) / static_cast<double>(spec.points() - 1);
    lengths.push_back(spec.from() * std::pow(spec.to() / spec.from(), share));
  }
  return lengths;
}

struct Way {
  Range loss, gradient, beta;

  void AddTo(NamedFigures& figures, const std::string& prefix) const {
    figures[prefix + "loss_lowest"] = loss.lowest;
    figures[prefix + "loss_highest"] = loss.highest;
    figures[prefix + "gradient_lowest"] = gradient.lowest;
    figures[prefix + "gradient_highest"] = gradient.highest;
    figures[prefix + "beta"] = beta.highest;
  }
};

// What a direction is measured with: the norms of a gradient's change, and of the direction.
struct Measure {
  std::function<double(const Tensor& change)> change;
  double length = 0;  // of the direction
};

Way Walk(const ProbedStep& step, const FlatVectors& vectors, const Tensor& direction,
         const std::vector<double>& lengths, const Measure& measure) {
  Way way;
  for (const double length : lengths) {
    const LossAndGradients there = step.gradients_at(step.Along(direction, -length));
    const double change = measure.change(vectors.Difference(there.gradients, step.gradients));
    way.loss.Add(there.loss);
    way.gradient.Add(change);
    way.beta.Add(change / (length * measure.length));
  }
  return way;
}

}  // namespace

void Range::Add(double value) {
  if (!std::isfinite(value)) {
    highest = std::numeric_limits<double>::quiet_NaN();
    return;
  }
  lowest = std::min(lowest, value);
  if (!std::isnan(highest)) highest = std::max(highest, value);
}

NamedFigures LandscapeProbe::Look(const ProbedStep& step) {
  const FlatVectors vectors(step.model->parameters(), *step.executor);
  NamedFigures figures;
  std::vector<double> raw = Lengths(spec_), relative = raw;
  for (double& length : raw) length *= step.learning_rate;
  for (double& length : relative) length /= 100;

  Walk(step, vectors, step.gradients, raw,
       {.change = [&](const Tensor& change) { return vectors.Norm(change); },
        .length = vectors.Norm(step.gradients)})
      .AddTo(figures, "landscape.");

  const std::vector<double> weights = vectors.SquaredNorms(step.parameters.values());
  const std::vector<double> gradients = vectors.SquaredNorms(step.gradients);
  std::vector<double> factors(weights.size(), 0);
  double moving = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] == 0 || gradients[i] == 0) continue;
    factors[i] = std::sqrt(weights[i]) / std::sqrt(gradients[i]);
    moving += 1;
  }
  const auto relative_norm = [&](const Tensor& change) {
    const std::vector<double> squares = vectors.SquaredNorms(change);
    double sum = 0;
    for (size_t i = 0; i < squares.size(); ++i) sum += weights[i] * squares[i];
    return std::sqrt(sum);
  };
  Walk(step, vectors, vectors.Scaled(step.gradients, factors), relative,
       {.change = relative_norm, .length = std::sqrt(moving)})
      .AddTo(figures, "landscape.relative.");
  return figures;
}

}  // namespace syncbn::train
