// Updates of parameters against torch.optim's formulas, by hand and over several steps.

#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "tests/backend/conformance.h"

namespace syncbn::backend {
namespace {

// What an optimizer holds, in the executor's type, and one accepted step of it.
struct Trained {
  Tensor weight;
  std::vector<Tensor> slots;
  Tensor updates;

  Trained(Executor& e, const Tensor& start, const UpdateSpec& spec, double state = 0)
      : weight(Parameter(e, start)), updates(OnDevice(e, Filled({1}, 0))) {
    for (size_t i = 0; i < spec.slots(); ++i)
      slots.push_back(Parameter(e, Filled(start.shape(), state)));
  }
  void Step(Executor& e, UpdateSpec spec, double rate, const Tensor& gradient, double scale = 1,
            bool accepted = true) {
    if (spec.parts.empty()) spec.parts = {{.elements = weight.elements()}};
    e.Update(spec,
             {.learning_rate = rate,
              .gradients = Parameter(e, gradient),
              .verdict = OnDevice(e, FromValues({3}, {accepted ? 1.0 : 0.0, 0, scale}))},
             weight, slots, updates);
  }
};

// One part of all elements.
UpdateSpec WithDecay(UpdateSpec spec, int64_t elements, double decay) {
  spec.parts = {{.elements = elements, .weight_decay = decay}};
  return spec;
}

class UpdateConformance : public ConformanceTest {
 protected:
  // The weight (a single number, at first 1) after updates with these gradients.
  std::vector<double> Sgd(const UpdateSpec& spec, double rate, double decay, double scale,
                          const std::vector<double>& gradients) {
    Executor& e = tested();
    Trained trained(e, Filled({1}, 1), spec);
    std::vector<double> weights;
    for (const double gradient : gradients) {
      trained.Step(e, WithDecay(spec, 1, decay), rate, Filled({1}, gradient), scale);
      weights.push_back(As(trained.weight, DType::kFloat64).Data<double>()[0]);
    }
    return weights;
  }
};
INSTANTIATE_TEST_SUITE_P(Backends, UpdateConformance, ::testing::ValuesIn(BackendsUnderTest()),
                         NameOfCase);

using Weights = std::vector<double>;

// All numbers below are dyadic fractions, hence exact in float32.

TEST_P(UpdateConformance, SgdStepsAgainstTheGradient) {
  EXPECT_EQ(Sgd({}, 0.5, 0, 1, {2, 1}), (Weights{0, -0.5}));
}

TEST_P(UpdateConformance, SgdScalesTheGradientButNotTheDecay) {
  // g = 0.5 * 2 + 0.25 * 1
  EXPECT_EQ(Sgd({}, 0.5, 0.25, 0.5, {2}), (Weights{1 - 0.5 * 1.25}));
}

TEST_P(UpdateConformance, SgdMomentumStartsWithTheGradient) {
  // v = 2.25, then 0.5 * 2.25 + 1 - 0.25 * 0.125
  EXPECT_EQ(Sgd({.momentum = 0.5}, 0.5, 0.25, 1, {2, 1}), (Weights{-0.125, -1.171875}));
}

TEST_P(UpdateConformance, SgdNesterovLooksAhead) {
  EXPECT_EQ(Sgd({.momentum = 0.5, .nesterov = true}, 0.5, 0.25, 1, {2, 1}),
            (Weights{-0.6875, -1.58984375}));
}

TEST_P(UpdateConformance, SgdDecoupledDecayStaysOutOfTheMomentum) {
  // w = 1 - 0.125 - 0.5 * 2, then -0.125 * 0.875 - 0.5 * (0.5 * 2 + 1)
  EXPECT_EQ(Sgd({.momentum = 0.5, .decoupled = true}, 0.5, 0.25, 1, {2, 1}),
            (Weights{-0.125, -1.109375}));
}

TEST_P(UpdateConformance, AdamWDividesCorrectedMomentsAndDecaysByTheRate) {
  Executor& e = tested();
  const UpdateSpec spec{
      .rule = UpdateSpec::Rule::kAdamW, .beta1 = 0.5, .beta2 = 0.75, .epsilon = 2};
  Trained trained(e, Filled({1}, 1), spec);
  // mean 1 / 0.5 = 2, square 1 / 0.25 = 4: w = 1 * (1 - 0.5 * 0.25) - 0.5 * 2 / (2 + 2)
  trained.Step(e, WithDecay(spec, 1, 0.25), 0.5, Filled({1}, 4), 0.5);
  EXPECT_TRUE(Equal(trained.slots[0], Filled({1}, 1)));
  EXPECT_TRUE(Equal(trained.slots[1], Filled({1}, 1)));
  EXPECT_TRUE(Near(trained.weight, Filled({1}, 0.625), Rounding(1)));
  EXPECT_TRUE(Equal(trained.updates, Filled({1}, 1)));
}

TEST_P(UpdateConformance, AStepThatIsNotAcceptedMovesNothing) {
  Executor& e = tested();
  for (const UpdateSpec& spec :
       {UpdateSpec{.momentum = 0.5}, UpdateSpec{.rule = UpdateSpec::Rule::kAdamW}}) {
    Trained trained(e, Filled({5}, 1), spec, 0.5);
    trained.Step(e, spec, 0.5, Filled({5}, 4), 1, /*accepted=*/false);
    EXPECT_TRUE(Equal(trained.weight, Filled({5}, 1)));
    for (const Tensor& slot : trained.slots) EXPECT_TRUE(Equal(slot, Filled({5}, 0.5)));
    EXPECT_TRUE(Equal(trained.updates, Filled({1}, 0)));
  }
}

// Parts of a flat tensor have decays and trust of their own, and what lies between them stays.
TEST_P(UpdateConformance, EveryPartHasItsOwnDecayAndTrust) {
  Executor& e = tested();
  const UpdateSpec spec{.trust_coefficient = 0.5,
                        .parts = {{.offset = 0, .elements = 2, .weight_decay = 0.25},
                                  {.offset = 16, .elements = 4, .trust = true},
                                  {.offset = 32, .elements = 1}}};
  Tensor weight = Parameter(e, Filled({33}, 2)), gradients = Parameter(e, Filled({33}, 1));
  Tensor updates = OnDevice(e, Filled({1}, 0));
  // |w| = 4 and |g| = 1 * 2 of the second part: trust 0.5 * 4 / 2.
  e.Update(spec,
           {.learning_rate = 0.5,
            .gradients = gradients,
            .squares = OnDevice(e, FromValues({3}, {2, 4, 1})),
            .verdict = OnDevice(e, FromValues({3}, {1, 0, 1}))},
           weight, {}, updates);
  Tensor expected = Filled({33}, 2);
  for (const int k : {0, 1}) expected.Data<double>()[k] = 2 - 0.5 * (1 + 0.25 * 2);
  for (const int k : {16, 17, 18, 19, 32}) expected.Data<double>()[k] = 2 - 0.5 * 1;
  EXPECT_TRUE(Equal(weight, expected));
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
        const UpdateSpec spec = WithDecay(
            {.momentum = momentum, .nesterov = nesterov, .decoupled = decoupled}, kElements, 0.01);
        Executor& e = tested();
        Tensor expected = RandomNormal({kElements}, "weight");
        Trained trained(e, expected, spec);
        Tensor buffer;  // PyTorch's momentum_buffer, absent at first
        for (int step = 0; step < 6; ++step) {
          trained.Step(e, spec, 0.1, GradientOfStep(step), 0.7);
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
        EXPECT_TRUE(Near(trained.weight, expected, Rounding(6)));
        if (momentum != 0) {
          EXPECT_TRUE(Near(trained.slots[0], buffer, Rounding(6)));
        }
      }
    }
  }
}

TEST_P(UpdateConformance, AdamWFollowsPyTorchOverManySteps) {
  Executor& e = tested();
  const UpdateSpec spec = WithDecay({.rule = UpdateSpec::Rule::kAdamW}, kElements, 0.01);
  Tensor expected = RandomNormal({kElements}, "weight");
  Trained trained(e, expected, spec);
  Tensor exp_avg = Filled({kElements}, 0), exp_avg_sq = Filled({kElements}, 0);
  for (int step = 1; step <= 6; ++step) {
    trained.Step(e, spec, 0.1, GradientOfStep(step), 0.7);
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
  EXPECT_TRUE(Near(trained.weight, expected, Rounding(6)));
  EXPECT_TRUE(Near(trained.slots[0], exp_avg, Rounding(6)));
  EXPECT_TRUE(Near(trained.slots[1], exp_avg_sq, Rounding(6)));
}

// How the parameters are cut into parts must not show in their bits. Parts start at multiples
// of 16.
TEST_P(UpdateConformance, OfPartsEqualsTheUpdateOfTheWhole) {
  Executor& e = tested();
  const auto update = [&](UpdateSpec spec, const std::vector<int64_t>& cuts) {
    for (size_t i = 0; i + 1 < cuts.size(); ++i) {
      spec.parts.push_back(
          {.offset = cuts[i], .elements = cuts[i + 1] - cuts[i], .weight_decay = 0.01});
    }
    Trained trained(e, RandomNormal({kElements}, "weight"), spec, 0.5);
    trained.Step(e, spec, 0.1, GradientOfStep(0), 0.7);
    std::vector<Tensor> results = {trained.weight};
    results.insert(results.end(), trained.slots.begin(), trained.slots.end());
    return results;
  };
  for (const UpdateSpec& spec : {UpdateSpec{.momentum = 0.9, .nesterov = true},
                                 UpdateSpec{.rule = UpdateSpec::Rule::kAdamW}}) {
    const std::vector<Tensor> whole = update(spec, {0, kElements});
    const std::vector<Tensor> parts = update(spec, {0, 16, 48, 48, 512, 1000 / 16 * 16, kElements});
    ASSERT_EQ(parts.size(), whole.size());
    for (size_t i = 0; i < whole.size(); ++i) EXPECT_TRUE(SameBits(parts[i], whole[i])) << i;
  }
}

// More parts than one launch of a device takes, with gaps between them.
TEST_P(UpdateConformance, OfManyPartsIsThatOfTheReference) {
  constexpr int64_t kParts = 150, kStride = 48;
  UpdateSpec sgd{.momentum = 0.9, .trust_coefficient = 0.5};
  for (int64_t i = 0; i < kParts; ++i) {
    sgd.parts.push_back({.offset = i * kStride,
                         .elements = i % 41,
                         .weight_decay = 0.01 * static_cast<double>(i % 3),
                         .trust = i % 4 == 1});
  }
  UpdateSpec adamw = sgd;
  adamw.rule = UpdateSpec::Rule::kAdamW;
  const Shape shape{kParts * kStride};
  const Tensor gradients = RandomNormal(shape, "gradients");
  Tensor squares = Filled({kParts}, 0);
  for (int64_t i = 0; i < kParts; ++i) {
    const UpdateSpec::Part& part = sgd.parts[static_cast<size_t>(i)];
    for (const double g : gradients.Slice(part.offset, {part.elements}).Span<double>()) {
      squares.Data<double>()[i] += g * g;
    }
  }
  for (const UpdateSpec& spec : {sgd, adamw}) {
    ExpectClose(
        [&](Executor& e) {
          Trained trained(e, RandomNormal(shape, "weight"), spec, 0.5);
          for (const double scale : {1.0, 0.5}) {
            e.Update(spec,
                     {.learning_rate = 0.1,
                      .gradients = Parameter(e, gradients),
                      .squares = OnDevice(e, squares),
                      .verdict = OnDevice(e, FromValues({3}, {1, 0, scale}))},
                     trained.weight, trained.slots, trained.updates);
          }
          std::vector<Tensor> results = {trained.weight, trained.updates};
          results.insert(results.end(), trained.slots.begin(), trained.slots.end());
          return results;
        },
        2);
  }
}

// -- The verdict on a step -----------------------------------------------------------------------

Tensor Verdict(Executor& e, const Tensor& squares, double loss, const Tensor& moments,
               double clip_norm) {
  Tensor verdict = e.New({verdict::kElements}, DType::kFloat64);
  e.JudgeStep({.squares = OnDevice(e, squares),
               .loss = OnDevice(e, Filled({1}, loss)),
               .moments = OnDevice(e, moments)},
              clip_norm, verdict);
  return verdict.OnHost();
}

TEST_P(UpdateConformance, AStepIsAcceptedWhereAllIsFiniteAndClippedToItsLimit) {
  const Tensor squares = FromValues({3}, {4, 0, 12}), moments = Filled({5}, 1);
  const auto verdict = [&](double clip_norm) {
    return Verdict(tested(), squares, 2, moments, clip_norm);
  };
  EXPECT_TRUE(Equal(verdict(0), FromValues({3}, {1, 4, 1}))) << "never clip";
  EXPECT_TRUE(Equal(verdict(4), FromValues({3}, {1, 4, 1})));
  EXPECT_TRUE(Equal(verdict(8), FromValues({3}, {1, 4, 1}))) << "never up";
  EXPECT_TRUE(Equal(verdict(1), FromValues({3}, {1, 4, 0.25})));
  EXPECT_TRUE(Equal(Verdict(tested(), squares, 2, Filled({0}, 0), 0), FromValues({3}, {1, 4, 1})));
}

TEST_P(UpdateConformance, AStepIsNotAcceptedWhereAnythingIsNotFinite) {
  const auto accepted = [&](const Tensor& squares, double loss, const Tensor& moments) {
    const Tensor verdict = Verdict(tested(), squares, loss, moments, 1);
    EXPECT_EQ(verdict.Data<double>()[verdict::kScale], 1) << "where nothing is updated";
    return verdict.Data<double>()[verdict::kAccepted];
  };
  for (const double bad : {std::nan(""), HUGE_VAL, -HUGE_VAL}) {
    EXPECT_EQ(accepted(FromValues({2}, {1, std::abs(bad)}), 2, Filled({5}, 1)), 0);
    EXPECT_EQ(accepted(FromValues({2}, {1, 1}), bad, Filled({5}, 1)), 0);
    EXPECT_EQ(accepted(FromValues({2}, {1, 1}), 2, FromValues({2}, {bad, 0})), 0);
  }
}

}  // namespace
}  // namespace syncbn::backend
