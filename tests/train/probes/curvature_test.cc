// Landscape and Hessian, against their definitions and dense second derivatives in double.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "tests/train/probes/function_probe.h"
#include "train/probes/hessian.h"
#include "train/probes/landscape.h"

namespace syncbn::train {
namespace {

using Vector = std::vector<double>;

// 86 numbers to learn; smooth.
std::string TinyRun(const std::string& norm) {
  return "seed: 5\n"
         "data: {dataset: shapes, shapes: {train_samples: 24, test_samples: 4}}\n"
         "model:\n"
         "  layers:\n"
         "    - conv: {out: 2, kernel: 3, stride: 8, padding: 1}\n" +
         norm +
         "    - tanh\n"
         "    - global_average_pool\n"
         "    - linear: 10\n"
         "cluster: {replicas: 3, batch_per_replica: [7, 0, 5]}\n"
         "train: {max_steps: 1, optimizer: sgd, learning_rate: 0.5}\n";
}

constexpr const char* kNorm = "    - norm: {batch: global, epsilon: 1.0e-12}\n";

Vector OnHost(const Tensor& x) {
  const Tensor host = x.OnHost().As(DType::kFloat64);
  const std::span<const double> values = host.Span<double>();
  return {values.begin(), values.end()};
}

nn::ParameterSet At(const ProbedStep& step, const Vector& values) {
  Tensor host({static_cast<int64_t>(values.size())}, DType::kFloat64);
  std::ranges::copy(values, host.Data<double>());
  return nn::ParameterSet(step.executor->Clone(step.executor->ToDevice(host, DType::kFloat64)));
}

Vector GradientAt(const ProbedStep& step, const Vector& values) {
  return OnHost(step.gradients_at(At(step, values)).gradients);
}

Vector Plus(Vector x, const Vector& direction, double length) {
  for (size_t i = 0; i < x.size(); ++i) x[i] += length * direction[i];
  return x;
}

double Norm(const Vector& x) {
  double sum = 0;
  for (const double value : x) sum += value * value;
  return std::sqrt(sum);
}

// Columns by central differences.
std::vector<Vector> DenseHessian(const ProbedStep& step) {
  const Vector w = OnHost(step.parameters.values());
  std::vector<Vector> columns;
  for (size_t i = 0; i < w.size(); ++i) {
    Vector unit(w.size(), 0);
    unit[i] = 1;
    const double h = 1e-5;
    Vector column = GradientAt(step, Plus(w, unit, h));
    column = Plus(std::move(column), GradientAt(step, Plus(w, unit, -h)), -1);
    for (double& value : column) value /= 2 * h;
    columns.push_back(std::move(column));
  }
  return columns;
}

Vector Times(const std::vector<Vector>& columns, const Vector& x) {
  Vector product(x.size(), 0);
  for (size_t i = 0; i < x.size(); ++i) product = Plus(std::move(product), columns[i], x[i]);
  return product;
}

// Of a symmetric matrix: the eigenvalue of the largest magnitude.
double TopEigenvalue(const std::vector<Vector>& columns) {
  Vector v(columns.size());
  for (size_t i = 0; i < v.size(); ++i) v[i] = 1 + 0.1 * static_cast<double>(i % 7);
  double value = 0;
  for (int i = 0; i < 3000; ++i) {
    const double norm = Norm(v);
    for (double& x : v) x /= norm;
    Vector next = Times(columns, v);
    value = 0;
    for (size_t k = 0; k < v.size(); ++k) value += v[k] * next[k];
    v = std::move(next);
  }
  return value;
}

v1::LandscapeSpec Landscape(double from, double to, int points) {
  v1::LandscapeSpec spec;
  spec.set_every_steps(1);
  spec.set_from(from);
  spec.set_to(to);
  spec.set_points(points);
  return spec;
}

v1::HessianSpec Iterations(int iterations) {
  v1::HessianSpec spec;
  spec.set_every_steps(1);
  spec.set_iterations(iterations);
  return spec;
}

TEST(Landscape, IsThatOfStepsAlongTheGradientComputedOnTheHost) {
  LookAtSteps(TinyRun(kNorm), [](const ProbedStep& step) {
    const NamedFigures figures = LandscapeProbe(Landscape(0.5, 8, 3)).Look(step);
    ASSERT_EQ(figures.size(), 10u);
    const Vector w = OnHost(step.parameters.values()), g = OnHost(step.gradients);
    double lowest = INFINITY, highest = 0, change_lowest = INFINITY, change_highest = 0, beta = 0;
    for (const double length : {0.25, 1.0, 4.0}) {  // times a rate of 0.5
      const Vector there = Plus(w, g, -length);
      const double loss = step.loss_at(At(step, there));
      const double change = Norm(Plus(GradientAt(step, there), g, -1));
      lowest = std::min(lowest, loss);
      highest = std::max(highest, loss);
      change_lowest = std::min(change_lowest, change);
      change_highest = std::max(change_highest, change);
      beta = std::max(beta, change / (length * Norm(g)));
    }
    EXPECT_NEAR(figures.at("landscape.loss_lowest"), lowest, 1e-9);
    EXPECT_NEAR(figures.at("landscape.loss_highest"), highest, 1e-9);
    EXPECT_NEAR(figures.at("landscape.gradient_lowest"), change_lowest, 1e-9);
    EXPECT_NEAR(figures.at("landscape.gradient_highest"), change_highest, 1e-9);
    EXPECT_NEAR(figures.at("landscape.beta"), beta, 1e-9);
    EXPECT_LT(lowest, highest);
  });
}

TEST(Landscape, RelativeToTheWeightsIsThatOfStepsInUnitsOfEachTensorsNorm) {
  LookAtSteps(TinyRun(kNorm), [](const ProbedStep& step) {
    const NamedFigures figures = LandscapeProbe(Landscape(1, 4, 2)).Look(step);
    const nn::ParameterLayout& layout = step.model->parameters();
    const Vector w = OnHost(step.parameters.values()), g = OnHost(step.gradients);
    // Of each element: the norm of its tensor's weights, and of its gradient.
    Vector weight(w.size(), 0), gradient(w.size(), 1);
    double moving = 0;
    for (const nn::Parameter& parameter : layout.parameters()) {
      const auto part = [&](const Vector& x) {
        const auto begin = x.begin() + parameter.offset;
        return Vector(begin, begin + parameter.shape.elements());
      };
      const double norm = Norm(part(w));
      std::fill_n(weight.begin() + parameter.offset, parameter.shape.elements(), norm);
      std::fill_n(gradient.begin() + parameter.offset, parameter.shape.elements(), Norm(part(g)));
      moving += norm > 0 ? 1 : 0;
    }
    EXPECT_EQ(moving, 3) << "two weights and a scale: what is 0 does not move";
    Vector direction(w.size());
    for (size_t i = 0; i < w.size(); ++i) direction[i] = weight[i] * g[i] / gradient[i];
    double beta = 0, highest = 0;
    for (const double length : {0.01, 0.04}) {
      Vector change = Plus(GradientAt(step, Plus(w, direction, -length)), g, -1);
      for (size_t i = 0; i < change.size(); ++i) change[i] *= weight[i];
      highest = std::max(highest, Norm(change));
      beta = std::max(beta, Norm(change) / (length * std::sqrt(moving)));
    }
    EXPECT_NEAR(figures.at("landscape.relative.gradient_highest"), highest, 1e-9);
    EXPECT_NEAR(figures.at("landscape.relative.beta"), beta, 1e-9);
  });
}

TEST(Landscape, RelativeFiguresAreTheSameForAMultipleOfTheWeightsBeforeANorm) {
  LookAtSteps(TinyRun(kNorm), [](const ProbedStep& step) {
    const nn::Parameter& conv = step.model->parameters()[0];
    ASSERT_EQ(conv.name, "0.weight");
    Vector larger = OnHost(step.parameters.values());
    for (int64_t i = 0; i < conv.shape.elements(); ++i) larger[static_cast<size_t>(i)] *= 8;
    ProbedStep other = step;
    other.parameters = At(step, larger);
    other.gradients = step.executor->Clone(step.gradients_at(other.parameters).gradients);
    LandscapeProbe probe(Landscape(0.5, 4, 2));
    const NamedFigures one = probe.Look(step), eight = probe.Look(other);
    for (const char* name :
         {"loss_lowest", "loss_highest", "gradient_lowest", "gradient_highest", "beta"}) {
      const std::string relative = std::string("landscape.relative.") + name;
      EXPECT_NEAR(eight.at(relative), one.at(relative), 1e-6 * one.at(relative)) << name;
    }
    const double ratio = eight.at("landscape.beta") / one.at("landscape.beta");
    EXPECT_GT(std::abs(ratio - 1), 0.01) << "the raw one is not";
  });
}

TEST(Landscape, WhatIsNotFiniteHasNoUpperBound) {
  Range range;
  range.Add(2);
  range.Add(std::numeric_limits<double>::quiet_NaN());
  range.Add(1);
  EXPECT_EQ(range.lowest, 1);
  EXPECT_TRUE(std::isnan(range.highest));
  EXPECT_FALSE(std::isfinite(Range().lowest));
  EXPECT_FALSE(std::isfinite(Range().highest));
}

TEST(Hessian, TopEigenvalueIsThatOfTheDenseSecondDerivatives) {
  for (const char* norm : {kNorm, ""}) {
    LookAtSteps(TinyRun(norm), [](const ProbedStep& step) {
      const std::vector<Vector> dense = DenseHessian(step);
      const double top = TopEigenvalue(dense);
      const NamedFigures figures = HessianProbe(Iterations(500), 7).Look(step);
      EXPECT_NEAR(figures.at("hessian.top_eigenvalue"), top, 0.01 * std::abs(top));
      EXPECT_LT(figures.at("hessian.change"), 1e-3);
      // Along the gradient, short steps see |H g| / |g|.
      const Vector g = OnHost(step.gradients);
      const double beta = Norm(Times(dense, g)) / Norm(g);
      const NamedFigures landscape = LandscapeProbe(Landscape(1e-4, 2e-4, 2)).Look(step);
      EXPECT_NEAR(landscape.at("landscape.beta"), beta, 1e-3 * beta);
    });
  }
}

TEST(Hessian, InFloatIsWithinTwoPercentOfThatInDouble) {
  const auto top_of = [](const std::string& backend) {
    NamedFigures figures;
    LookAtSteps(
        TinyRun(kNorm),
        [&](const ProbedStep& step) { figures = HessianProbe(Iterations(500), 7).Look(step); },
        backend);
    return figures.at("hessian.top_eigenvalue");
  };
  const double exact = top_of("reference");
  EXPECT_NEAR(top_of(kTestBackend), exact, 0.02 * std::abs(exact));
}

TEST(Hessian, OfTooFewIterationsSaysHowFarItIsFromSettled) {
  LookAtSteps(TinyRun(kNorm), [](const ProbedStep& step) {
    const NamedFigures one = HessianProbe(Iterations(1), 7).Look(step);
    EXPECT_TRUE(std::isfinite(one.at("hessian.top_eigenvalue")));
    EXPECT_TRUE(std::isnan(one.at("hessian.change"))) << "there is nothing before";
    EXPECT_GT(HessianProbe(Iterations(2), 7).Look(step).at("hessian.change"), 1e-3);
  });
}

}  // namespace
}  // namespace syncbn::train
