#include "train/optimizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "backend/backend.h"
#include "tests/support/test_device.h"
#include "tests/train/parts_support.h"
#include "train/tensor_names.h"

namespace syncbn::train {
namespace {

v1::OptimizerSpec Spec(v1::OptimizerKind kind) {
  v1::OptimizerSpec spec;
  spec.set_kind(kind);
  spec.set_weight_decay_mode(v1::WEIGHT_DECAY_MODE_COUPLED);
  spec.set_decay_norms_and_biases(true);
  spec.set_trust_coefficient(0.001);
  spec.set_beta1(0.9);
  spec.set_beta2(0.999);
  spec.set_epsilon(1e-8);
  return spec;
}

// The reference back end: F64.
class OptimizerTest : public testing::Test {
 protected:
  Tensor Filled(double value) {
    Tensor flat = Tensor::Zeros({model_.parameters.flat_elements()}, DType::kFloat64);
    for (int i = 0; i < model_.parameters.size(); ++i) {
      for (double& x : model_.parameters.View(flat, i).Span<double>()) x = value;
    }
    return flat;
  }
  // The first element of a parameter.
  double At(const Tensor& flat, std::string_view name) {
    const int index = model_.parameters.Find(name);
    EXPECT_GE(index, 0) << name;
    return model_.parameters.View(flat, index).Span<double>()[0];
  }
  double NormOf(const Tensor& flat, std::string_view name) {
    double sum = 0;
    for (double x : model_.parameters.View(flat, model_.parameters.Find(name)).Span<double>()) {
      sum += x * x;
    }
    return std::sqrt(sum);
  }

  struct Step {
    double learning_rate = 0;
    // Of clipping.
    double gradient_scale = 1;
    Tensor gradients;
    bool accepted = true;
  };
  // An update on the device, of tensors of the host.
  void Update(const Optimizer& optimizer, const Step& step, Tensor& weights,
              OptimizerState& state) {
    backend::Executor& e = *executor_;
    Tensor verdict = Tensor::Zeros({backend::verdict::kElements}, DType::kFloat64);
    verdict.Data<double>()[backend::verdict::kAccepted] = step.accepted ? 1 : 0;
    verdict.Data<double>()[backend::verdict::kScale] = step.gradient_scale;
    const Tensor gradients = e.Clone(step.gradients);
    Tensor there = e.Clone(weights);
    OptimizerState state_there = state.Clone(e);
    optimizer.Update(e,
                     {.learning_rate = step.learning_rate,
                      .gradients = gradients,
                      .squares = SquaredNorms(e, model_.parameters, gradients),
                      .verdict = e.Clone(verdict)},
                     there, state_there);
    weights = there.OnHost();
    state = state_there.OnHost();
  }
  std::vector<double> SquaresOf(const Tensor& flat) {
    const Tensor squares =
        SquaredNorms(*executor_, model_.parameters, executor_->Clone(flat)).OnHost();
    return {squares.Span<double>().begin(), squares.Span<double>().end()};
  }

  SmallModel model_;
  std::unique_ptr<backend::Executor> executor_ =
      backend::OnTestDevice(backend::MakeReferenceBackend)->MakeExecutor();
};

TEST_F(OptimizerTest, ARuleThatNobodyHasTaughtItIsAnError) {
  EXPECT_THROW(Optimizer(Spec(static_cast<v1::OptimizerKind>(99)), model_.parameters), Error);
  v1::OptimizerSpec spec = Spec(v1::OPTIMIZER_KIND_SGD);
  spec.set_weight_decay_mode(static_cast<v1::WeightDecayMode>(99));
  EXPECT_THROW(Optimizer(spec, model_.parameters), Error);
}

TEST_F(OptimizerTest, SgdWithoutMomentumKeepsNoState) {
  const Optimizer optimizer(Spec(v1::OPTIMIZER_KIND_SGD), model_.parameters);
  OptimizerState state = optimizer.InitialState(DType::kFloat64);
  EXPECT_TRUE(state.slots.empty());
  EXPECT_TRUE(optimizer.StateTensors(state).empty());
  Tensor weights = Filled(2);
  Update(optimizer, {.learning_rate = 0.5, .gradients = Filled(0.25)}, weights, state);
  EXPECT_EQ(At(weights, "conv1.weight"), 2 - 0.5 * 0.25);
  EXPECT_EQ(UpdatesOf(state), 1);
}

TEST_F(OptimizerTest, MomentumKeepsAVelocityWithoutTheRate) {
  v1::OptimizerSpec spec = Spec(v1::OPTIMIZER_KIND_SGD);
  spec.set_momentum(0.5);
  const Optimizer optimizer(spec, model_.parameters);
  OptimizerState state = optimizer.InitialState(DType::kFloat64);
  Tensor weights = Filled(2);
  Update(optimizer, {.learning_rate = 0.5, .gradients = Filled(1)}, weights, state);
  EXPECT_EQ(At(state.slots[0], "conv1.weight"), 1);
  EXPECT_EQ(At(weights, "conv1.weight"), 1.5);
  // Another rate acts on the whole velocity.
  Update(optimizer, {.learning_rate = 0.25, .gradients = Filled(1)}, weights, state);
  EXPECT_EQ(At(state.slots[0], "conv1.weight"), 1.5);
  EXPECT_EQ(At(weights, "conv1.weight"), 1.5 - 0.25 * 1.5);
  EXPECT_EQ(UpdatesOf(state), 2);
}

TEST_F(OptimizerTest, NesterovLooksAhead) {
  v1::OptimizerSpec spec = Spec(v1::OPTIMIZER_KIND_SGD);
  spec.set_momentum(0.5);
  spec.set_nesterov(true);
  const Optimizer optimizer(spec, model_.parameters);
  OptimizerState state = optimizer.InitialState(DType::kFloat64);
  Tensor weights = Filled(2);
  Update(optimizer, {.learning_rate = 0.5, .gradients = Filled(1)}, weights, state);
  EXPECT_EQ(At(weights, "conv1.weight"), 2 - 0.5 * (1 + 0.5 * 1));
}

TEST_F(OptimizerTest, TheGradientIsScaledBeforeDecayIsAdded) {
  v1::OptimizerSpec spec = Spec(v1::OPTIMIZER_KIND_SGD);
  spec.set_weight_decay(0.125);
  const Optimizer optimizer(spec, model_.parameters);
  OptimizerState state = optimizer.InitialState(DType::kFloat64);
  Tensor weights = Filled(2);
  Update(optimizer, {.learning_rate = 0.5, .gradient_scale = 0.25, .gradients = Filled(1)}, weights,
         state);
  EXPECT_EQ(At(weights, "conv1.weight"), 2 - 0.5 * (0.25 + 0.125 * 2));
}

TEST_F(OptimizerTest, DecoupledDecayStaysOutOfTheVelocity) {
  v1::OptimizerSpec spec = Spec(v1::OPTIMIZER_KIND_SGD);
  spec.set_weight_decay(0.125);
  spec.set_momentum(0.5);
  spec.set_weight_decay_mode(v1::WEIGHT_DECAY_MODE_DECOUPLED);
  const Optimizer optimizer(spec, model_.parameters);
  OptimizerState state = optimizer.InitialState(DType::kFloat64);
  Tensor weights = Filled(2);
  Update(optimizer, {.learning_rate = 0.5, .gradients = Filled(1)}, weights, state);
  EXPECT_EQ(At(state.slots[0], "conv1.weight"), 1);
  EXPECT_EQ(At(weights, "conv1.weight"), 2 - 0.5 * 0.125 * 2 - 0.5 * 1);
}

TEST_F(OptimizerTest, NormsAndBiasesAreExemptFromDecayUnlessAskedFor) {
  v1::OptimizerSpec spec = Spec(v1::OPTIMIZER_KIND_SGD);
  spec.set_weight_decay(0.125);
  for (bool all : {false, true}) {
    spec.set_decay_norms_and_biases(all);
    const Optimizer optimizer(spec, model_.parameters);
    OptimizerState state = optimizer.InitialState(DType::kFloat64);
    Tensor weights = Filled(2);
    Update(optimizer, {.learning_rate = 1, .gradients = Filled(0)}, weights, state);
    for (const char* name : {"conv1.weight", "fc.weight_v"}) EXPECT_EQ(At(weights, name), 1.75);
    for (const char* name : {"bn1.weight", "bn1.bias", "fc.weight_g", "fc.bias"}) {
      EXPECT_EQ(At(weights, name), all ? 1.75 : 2) << name;
    }
  }
}

TEST_F(OptimizerTest, LarsScalesEachTensorByItsTrustRatio) {
  v1::OptimizerSpec spec = Spec(v1::OPTIMIZER_KIND_LARS);
  spec.set_weight_decay(0.25);
  spec.set_momentum(0.5);
  spec.set_trust_coefficient(0.125);
  spec.set_decay_norms_and_biases(false);
  const Optimizer optimizer(spec, model_.parameters);
  OptimizerState state = optimizer.InitialState(DType::kFloat64);
  Tensor weights = Ramp(model_.parameters, DType::kFloat64, 1);
  const Tensor before = weights.Clone();
  const Tensor gradients = Ramp(model_.parameters, DType::kFloat64, -7, 0.5);
  Update(optimizer, {.learning_rate = 2, .gradient_scale = 0.5, .gradients = gradients}, weights,
         state);
  for (const char* name : {"conv1.weight", "fc.weight_v"}) {
    const double w = NormOf(before, name), g = 0.5 * NormOf(gradients, name);
    const double trust = 0.125 * w / (g + 0.25 * w);
    const double moved = trust * (0.5 * At(gradients, name) + 0.25 * At(before, name));
    EXPECT_NEAR(At(state.slots[0], name), moved, 1e-12) << name;
    EXPECT_NEAR(At(weights, name), At(before, name) - 2 * moved, 1e-12) << name;
  }
  // Exempt: neither decay nor trust.
  EXPECT_EQ(At(weights, "bn1.weight"),
            At(before, "bn1.weight") - 2 * 0.5 * At(gradients, "bn1.weight"));
}

TEST_F(OptimizerTest, LarsDoesNotDependOnTheScaleOfTheGradients) {
  v1::OptimizerSpec spec = Spec(v1::OPTIMIZER_KIND_LARS);
  const Optimizer optimizer(spec, model_.parameters);
  const Tensor gradients = Ramp(model_.parameters, DType::kFloat64, 1);
  Tensor a = Ramp(model_.parameters, DType::kFloat64, 3), b = a.Clone();
  OptimizerState state = optimizer.InitialState(DType::kFloat64);
  Update(optimizer, {.learning_rate = 1, .gradients = gradients}, a, state);
  Update(optimizer, {.learning_rate = 1, .gradient_scale = 0x1p-20, .gradients = gradients}, b,
         state);
  EXPECT_THAT(a.Span<double>(), testing::Pointwise(testing::DoubleEq(), b.Span<double>()));
}

TEST_F(OptimizerTest, LarsMovesATensorOfZeros) {
  const Optimizer optimizer(Spec(v1::OPTIMIZER_KIND_LARS), model_.parameters);
  OptimizerState state = optimizer.InitialState(DType::kFloat64);
  Tensor weights = Filled(0);
  Update(optimizer, {.learning_rate = 0.5, .gradients = Filled(1)}, weights, state);
  EXPECT_EQ(At(weights, "conv1.weight"), -0.5);
}

TEST_F(OptimizerTest, DecoupledLarsLeavesDecayOutOfTrust) {
  v1::OptimizerSpec spec = Spec(v1::OPTIMIZER_KIND_LARS);
  spec.set_weight_decay(0.25);
  spec.set_weight_decay_mode(v1::WEIGHT_DECAY_MODE_DECOUPLED);
  spec.set_trust_coefficient(0.5);
  const Optimizer optimizer(spec, model_.parameters);
  OptimizerState state = optimizer.InitialState(DType::kFloat64);
  Tensor weights = Filled(4);
  Update(optimizer, {.learning_rate = 0.5, .gradients = Filled(1)}, weights, state);
  // trust = 0.5 * 4 / 1
  EXPECT_EQ(At(weights, "conv1.weight"), 4 - 0.5 * 0.25 * 4 - 0.5 * 2);
}

TEST_F(OptimizerTest, AdamWMovesByTheRateAtItsFirstUpdateAndCorrectsItsMeans) {
  v1::OptimizerSpec spec = Spec(v1::OPTIMIZER_KIND_ADAMW);
  spec.set_weight_decay(0.25);
  spec.set_decay_norms_and_biases(false);
  const Optimizer optimizer(spec, model_.parameters);
  EXPECT_THAT(optimizer.slots(), testing::ElementsAre("mean", "square"));
  OptimizerState state = optimizer.InitialState(DType::kFloat64);
  Tensor weights = Filled(2);
  Update(optimizer, {.learning_rate = 0.5, .gradients = Filled(3)}, weights, state);
  EXPECT_NEAR(At(weights, "conv1.weight"), 2 - 0.5 * 0.25 * 2 - 0.5, 1e-8);
  EXPECT_NEAR(At(weights, "fc.bias"), 2 - 0.5, 1e-8);
  EXPECT_NEAR(At(state.slots[0], "fc.bias"), 0.3, 1e-15);
  EXPECT_NEAR(At(state.slots[1], "fc.bias"), 0.009, 1e-15);
  Update(optimizer, {.learning_rate = 0.5, .gradients = Filled(1)}, weights, state);
  const double m = (0.9 * 0.3 + 0.1 * 1) / (1 - 0.81);
  const double s = (0.999 * 0.009 + 0.001 * 1) / (1 - 0.999 * 0.999);
  EXPECT_NEAR(At(weights, "fc.bias"), 1.5 - 0.5 * m / std::sqrt(s), 1e-7);
  EXPECT_EQ(UpdatesOf(state), 2);
}

TEST_F(OptimizerTest, AnUpdateIsAFunctionOfItsArguments) {
  v1::OptimizerSpec spec = Spec(v1::OPTIMIZER_KIND_ADAMW);
  const Optimizer optimizer(spec, model_.parameters);
  const Tensor gradients = Ramp(model_.parameters, DType::kFloat64, -3, 0.1);
  Tensor a = Ramp(model_.parameters, DType::kFloat64, 1);
  OptimizerState state_a = optimizer.InitialState(DType::kFloat64);
  Update(optimizer, {.learning_rate = 0.1, .gradients = gradients}, a, state_a);
  Tensor b = a.Clone();
  OptimizerState state_b = state_a;
  Update(optimizer, {.learning_rate = 0.1, .gradients = gradients}, a, state_a);
  Update(optimizer, {.learning_rate = 0.1, .gradients = gradients}, b, state_b);
  EXPECT_THAT(a.Span<double>(), testing::ElementsAreArray(b.Span<double>()));
  EXPECT_EQ(DigestOf(optimizer.StateTensors(state_a)), DigestOf(optimizer.StateTensors(state_b)));
  EXPECT_EQ(UpdatesOf(state_b), 2);
}

TEST_F(OptimizerTest, AStepThatIsNotAcceptedMovesNothingAndIsNotCounted) {
  for (const auto kind :
       {v1::OPTIMIZER_KIND_SGD, v1::OPTIMIZER_KIND_LARS, v1::OPTIMIZER_KIND_ADAMW}) {
    v1::OptimizerSpec spec = Spec(kind);
    spec.set_momentum(0.9);
    const Optimizer optimizer(spec, model_.parameters);
    const Tensor before = Ramp(model_.parameters, DType::kFloat64, 1);
    Tensor weights = before.Clone();
    OptimizerState state = optimizer.InitialState(DType::kFloat64);
    Update(optimizer, {.learning_rate = 0.5, .gradients = Filled(1), .accepted = false}, weights,
           state);
    EXPECT_THAT(weights.Span<double>(), testing::ElementsAreArray(before.Span<double>()));
    for (const Tensor& slot : state.slots) {
      EXPECT_THAT(slot.Span<double>(), testing::Each(0));
    }
    EXPECT_EQ(UpdatesOf(state), 0);
  }
}

TEST_F(OptimizerTest, StateIsNamedAfterSlotAndParameter) {
  v1::OptimizerSpec spec = Spec(v1::OPTIMIZER_KIND_SGD);
  spec.set_momentum(0.9);
  const Optimizer optimizer(spec, model_.parameters);
  std::vector<std::string> names;
  for (const NamedTensor& entry : optimizer.StateTensors(optimizer.InitialState(DType::kFloat64))) {
    names.push_back(entry.name);
  }
  EXPECT_THAT(names, testing::ElementsAre(
                         "optimizer.velocity.conv1.weight", "optimizer.velocity.bn1.weight",
                         "optimizer.velocity.bn1.bias", "optimizer.velocity.fc.weight_g",
                         "optimizer.velocity.fc.weight_v", "optimizer.velocity.fc.bias"));
}

TEST_F(OptimizerTest, SquaredNormsAreThoseOfEachParameterAndIgnorePadding) {
  Tensor gradients = Filled(0.5);
  gradients.Data<double>()[model_.parameters[1].offset + 7] =
      std::numeric_limits<double>::quiet_NaN();  // bn1.weight has 2 elements
  EXPECT_THAT(SquaresOf(gradients), testing::ElementsAre(4.5, 0.5, 0.5, 0.75, 1.5, 0.75));
}

TEST_F(OptimizerTest, SquaredNormsShowWhatIsNotFinite) {
  for (double bad :
       {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(),
        -std::numeric_limits<double>::infinity()}) {
    for (int parameter = 0; parameter < model_.parameters.size(); ++parameter) {
      Tensor gradients = Filled(1);
      model_.parameters.View(gradients, parameter).Span<double>().back() = bad;
      const std::vector<double> squares = SquaresOf(gradients);
      for (int i = 0; i < model_.parameters.size(); ++i) {
        EXPECT_EQ(std::isfinite(squares.at(static_cast<size_t>(i))), i != parameter) << parameter;
      }
    }
  }
}

}  // namespace
}  // namespace syncbn::train
