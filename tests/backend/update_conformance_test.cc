// Updates of parameters against torch.optim's formulas, by hand and over several steps.

#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "tests/backend/conformance.h"

namespace syncbn::backend {
namespace {

class UpdateConformance : public ConformanceTest {
 protected:
  // The weight (a single number, at first 1) after updates with these gradients.
  std::vector<double> Sgd(const SgdSpec& spec, const std::vector<double>& gradients) {
    Executor& e = tested();
    Tensor weight = In(e, Filled({1}, 1));
    Tensor velocity = spec.momentum == 0 ? Tensor() : In(e, Filled({1}, 0));
    std::vector<double> weights;
    for (const double gradient : gradients) {
      e.SgdUpdate(spec, In(e, Filled({1}, gradient)), velocity, weight);
      weights.push_back(As(weight, DType::kFloat64).Data<double>()[0]);
    }
    return weights;
  }
};
INSTANTIATE_TEST_SUITE_P(Backends, UpdateConformance, ::testing::ValuesIn(BackendsUnderTest()),
                         NameOfCase);

using Weights = std::vector<double>;

// All numbers below are dyadic fractions, hence exact in float32.

TEST_P(UpdateConformance, SgdStepsAgainstTheGradient) {
  EXPECT_EQ(Sgd({.learning_rate = 0.5}, {2, 1}), (Weights{0, -0.5}));
}

TEST_P(UpdateConformance, SgdScalesTheGradientButNotTheDecay) {
  // g = 0.5 * 2 + 0.25 * 1
  EXPECT_EQ(Sgd({.learning_rate = 0.5, .weight_decay = 0.25, .gradient_scale = 0.5}, {2}),
            (Weights{1 - 0.5 * 1.25}));
}

TEST_P(UpdateConformance, SgdMomentumStartsWithTheGradient) {
  // v = 2.25, then 0.5 * 2.25 + 1 - 0.25 * 0.125
  EXPECT_EQ(Sgd({.learning_rate = 0.5, .momentum = 0.5, .weight_decay = 0.25}, {2, 1}),
            (Weights{-0.125, -1.171875}));
}

TEST_P(UpdateConformance, SgdNesterovLooksAhead) {
  EXPECT_EQ(
      Sgd({.learning_rate = 0.5, .momentum = 0.5, .nesterov = true, .weight_decay = 0.25}, {2, 1}),
      (Weights{-0.6875, -1.58984375}));
}

TEST_P(UpdateConformance, SgdDecoupledDecayStaysOutOfTheMomentum) {
  // w = 1 - 0.125 - 0.5 * 2, then -0.125 * 0.875 - 0.5 * (0.5 * 2 + 1)
  EXPECT_EQ(
      Sgd({.learning_rate = 0.5, .momentum = 0.5, .weight_decay = 0.25, .decoupled = true}, {2, 1}),
      (Weights{-0.125, -1.109375}));
}

TEST_P(UpdateConformance, AdamWDividesCorrectedMomentsAndDecaysByTheRate) {
  Executor& e = tested();
  Tensor weight = In(e, Filled({1}, 1)), mean = In(e, Filled({1}, 0));
  Tensor square = In(e, Filled({1}, 0));
  // mean 1 / 0.5 = 2, square 1 / 0.25 = 4: w = 1 * (1 - 0.5 * 0.25) - 0.5 * 2 / (2 + 2)
  e.AdamWUpdate({.learning_rate = 0.5,
                 .beta1 = 0.5,
                 .beta2 = 0.75,
                 .epsilon = 2,
                 .weight_decay = 0.25,
                 .gradient_scale = 0.5,
                 .update = 1},
                In(e, Filled({1}, 4)), mean, square, weight);
  EXPECT_TRUE(Equal(mean, Filled({1}, 1)));
  EXPECT_TRUE(Equal(square, Filled({1}, 1)));
  EXPECT_TRUE(Near(weight, Filled({1}, 0.625), Rounding(1)));
}

// -- Several steps, against torch.optim's loops written out
// ------------------------------------------

constexpr int64_t kElements = 1003;

Tensor GradientOfStep(int step) {
  return RandomNormal({kElements}, "gradient" + std::to_string(step));
}

TEST_P(UpdateConformance, SgdFollowsPyTorchOverManySteps) {
  for (const double momentum : {0.0, 0.9}) {
    for (const bool nesterov : {false, true}) {
      if (nesterov && momentum == 0) continue;  // refused by PyTorch
      for (const bool decoupled : {false, true}) {
        SCOPED_TRACE(::testing::Message() << "momentum " << momentum << ", nesterov " << nesterov
                                          << ", decoupled " << decoupled);
        const SgdSpec spec{.learning_rate = 0.1,
                           .momentum = momentum,
                           .nesterov = nesterov,
                           .weight_decay = 0.01,
                           .decoupled = decoupled,
                           .gradient_scale = 0.7};
        Executor& e = tested();
        Tensor expected = RandomNormal({kElements}, "weight");
        Tensor weight = In(e, expected), velocity = In(e, Filled({kElements}, 0));
        Tensor buffer;  // PyTorch's momentum_buffer, absent at first
        for (int step = 0; step < 6; ++step) {
          e.SgdUpdate(spec, In(e, GradientOfStep(step)), velocity, weight);
          Tensor d_p = GradientOfStep(step);
          const bool first = !buffer.defined();
          if (first) buffer = Filled({kElements}, 0);
          for (int64_t k = 0; k < kElements; ++k) {
            double& w = expected.Data<double>()[k];
            double& b = buffer.Data<double>()[k];
            double d = 0.7 * d_p.Data<double>()[k];
            if (decoupled) w *= 1 - 0.1 * 0.01;
            if (!decoupled) d += 0.01 * w;
            if (momentum != 0) {
              b = first ? d : momentum * b + d;
              d = nesterov ? d + momentum * b : b;
            }
            w += -0.1 * d;
          }
        }
        // Six roundings of a weight and of a velocity.
        EXPECT_TRUE(Near(weight, expected, Rounding(6)));
        if (momentum != 0) {
          EXPECT_TRUE(Near(velocity, buffer, Rounding(6)));
        }
      }
    }
  }
}

TEST_P(UpdateConformance, AdamWFollowsPyTorchOverManySteps) {
  Executor& e = tested();
  Tensor expected = RandomNormal({kElements}, "weight");
  Tensor weight = In(e, expected), mean = In(e, Filled({kElements}, 0));
  Tensor square = In(e, Filled({kElements}, 0));
  Tensor exp_avg = Filled({kElements}, 0), exp_avg_sq = Filled({kElements}, 0);
  for (int step = 1; step <= 6; ++step) {
    e.AdamWUpdate(
        {.learning_rate = 0.1, .weight_decay = 0.01, .gradient_scale = 0.7, .update = step},
        In(e, GradientOfStep(step)), mean, square, weight);
    const Tensor gradient = GradientOfStep(step);
    const double correction1 = 1 - std::pow(0.9, step), correction2 = 1 - std::pow(0.999, step);
    for (int64_t k = 0; k < kElements; ++k) {
      const double g = 0.7 * gradient.Data<double>()[k];
      double& w = expected.Data<double>()[k];
      double& m = exp_avg.Data<double>()[k];
      double& v = exp_avg_sq.Data<double>()[k];
      w *= 1 - 0.1 * 0.01;
      m += (1 - 0.9) * (g - m);
      v = 0.999 * v + (1 - 0.999) * g * g;
      const double denominator = std::sqrt(v) / std::sqrt(correction2) + 1e-8;
      w -= 0.1 / correction1 * m / denominator;
    }
  }
  EXPECT_TRUE(Near(weight, expected, Rounding(6)));
  EXPECT_TRUE(Near(mean, exp_avg, Rounding(6)));
  EXPECT_TRUE(Near(square, exp_avg_sq, Rounding(6)));
}

// The owner of a piece of the parameters must not show in their bits. Pieces start at multiples
// of 16.
TEST_P(UpdateConformance, OfPiecesEqualsTheUpdateOfTheWhole) {
  Executor& e = tested();
  const SgdSpec sgd{.learning_rate = 0.1,
                    .momentum = 0.9,
                    .nesterov = true,
                    .weight_decay = 0.01,
                    .gradient_scale = 0.7};
  const AdamWSpec adam{.learning_rate = 0.1, .weight_decay = 0.01, .update = 3};
  const Tensor gradient = In(e, GradientOfStep(0));
  const Tensor start = In(e, RandomNormal({kElements}, "weight"));
  const Tensor state = In(e, Filled({kElements}, 0.5));
  const auto update = [&](const std::vector<int64_t>& cuts) {
    Tensor weight = start.Clone(), velocity = state.Clone();
    Tensor adam_weight = start.Clone(), mean = state.Clone(), square = state.Clone();
    for (size_t i = 0; i + 1 < cuts.size(); ++i) {
      const auto piece = [&](const Tensor& x) { return x.Rows(cuts[i], cuts[i + 1]); };
      Tensor w = piece(weight), v = piece(velocity);
      e.SgdUpdate(sgd, piece(gradient), v, w);
      Tensor aw = piece(adam_weight), m = piece(mean), s = piece(square);
      e.AdamWUpdate(adam, piece(gradient), m, s, aw);
    }
    return std::vector<Tensor>{weight, velocity, adam_weight, mean, square};
  };
  const std::vector<Tensor> whole = update({0, kElements});
  const std::vector<Tensor> pieces = update({0, 16, 48, 48, 512, 1000 / 16 * 16, kElements});
  for (size_t i = 0; i < whole.size(); ++i) EXPECT_TRUE(SameBits(pieces[i], whole[i])) << i;
}

}  // namespace
}  // namespace syncbn::backend
