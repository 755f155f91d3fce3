// Every layer's gradient against differences, and what a layer promises beside its gradient.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "nn/composite.h"
#include "nn/simple_layers.h"
#include "nn/weighted_layers.h"
#include "tests/nn/support.h"
#include "tests/support/test_device.h"

namespace syncbn::nn {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr InputSpec kImages{.height = 6, .width = 5, .channels = 3, .classes = 4};

struct LayerCase {
  std::string name;
  std::string layers;
};

std::ostream& operator<<(std::ostream& out, const LayerCase& layer) {
  return out << layer.name;
}

class LayerGradientTest : public ::testing::TestWithParam<LayerCase> {};

// The layers under test stand between a convolution, so that their input gradient is needed, and a
// head.
TEST_P(LayerGradientTest, MatchesDifferences) {
  const auto model = MakeModel("layers {conv {out: 4 padding: 1}} " + GetParam().layers, kImages);
  const PassSettings settings{
      .parameters = RandomParameters(*model),
      .running_statistics = InitialRunningStatistics(model->running_statistics())};
  // A small step: the data must not come near a kink of relu or a tie of a maximum.
  EXPECT_TRUE(GradientsHold(*model, settings, RandomPart(kImages, 3, GetParam().name),
                            {.step = 1e-6, .tolerance = 1e-7}));
}

constexpr char kHead[] = " layers {flatten {}} layers {linear {out: 4}}";

INSTANTIATE_TEST_SUITE_P(
    Layers, LayerGradientTest,
    ::testing::Values(
        LayerCase{"Linear", kHead},
        LayerCase{"LinearWithoutBias", "layers {flatten {}} layers {linear {out: 4 bias: false}}"},
        LayerCase{"Conv",
                  std::string("layers {conv {out: 5 kernel: 3 stride: 2 padding: 1}}") + kHead},
        LayerCase{"ConvGroups", std::string("layers {conv {out: 6 kernel: 1 groups: 2}}") + kHead},
        LayerCase{"ConvWithoutBias",
                  std::string("layers {conv {out: 2 kernel: 2 bias: false}}") + kHead},
        LayerCase{
            "WeightNormConv",
            std::string("layers {conv {out: 3}} layers {norm {kind: NORM_KIND_WEIGHT}}") + kHead},
        LayerCase{"WeightNormLinear",
                  "layers {flatten {}} layers {linear {out: 4}}"
                  "layers {norm {kind: NORM_KIND_WEIGHT}}"},
        LayerCase{"Relu", std::string("layers {relu {}}") + kHead},
        LayerCase{"Sigmoid", std::string("layers {sigmoid {}}") + kHead},
        LayerCase{"Tanh", std::string("layers {tanh {}}") + kHead},
        LayerCase{"Gelu", std::string("layers {gelu {}}") + kHead},
        LayerCase{"Silu", std::string("layers {silu {}}") + kHead},
        LayerCase{"Noise", std::string("layers {norm {noise {shift: 0.5 scale: 1.25 spread: 0.1}}}"
                                       " layers {sigmoid {}}") +
                               kHead},
        LayerCase{"NoiseBehindABlock",
                  std::string("layers {residual {body {conv {out: 4 padding: 1}}"
                              " body {norm {noise {shift: 0.5 scale: 2 spread: 0.3}}}}}") +
                      kHead},
        LayerCase{"Concat",
                  std::string("layers {concat {branches {body {conv {out: 3 padding: 1}}"
                              " body {norm {}} body {relu {}}}"
                              " branches {} branches {body {max_pool {kernel: 3 stride: 1 padding:"
                              " 1}} body {conv {out: 2 kernel: 1}}}}} layers {tanh {}}") +
                      kHead},
        LayerCase{"ConcatOfFeatures",
                  "layers {flatten {}} layers {concat {branches {body {linear {out: 3}}}"
                  " branches {body {linear {out: 2}} body {tanh {}}}}} layers {linear {out: 4}}"},
        LayerCase{"ConcatInConcat",
                  std::string("layers {concat {branches {body {concat {branches {body {silu {}}}"
                              " branches {}}}} branches {body {residual {body {norm {}}}}}}}") +
                      kHead},
        LayerCase{"MaxPool", std::string("layers {max_pool {kernel: 2}}") + kHead},
        LayerCase{"MaxPoolOverlapping",
                  std::string("layers {max_pool {kernel: 3 stride: 2 padding: 1}}") + kHead},
        LayerCase{"AveragePool",
                  std::string("layers {average_pool {kernel: 3 stride: 2 padding: 1}}") + kHead},
        LayerCase{"GlobalAveragePool", "layers {global_average_pool {}} layers {linear {out: 4}}"},
        LayerCase{"Dropout", std::string("layers {dropout {probability: 0.4}}") + kHead},
        LayerCase{
            "ResidualIdentity",
            std::string("layers {residual {body {tanh {}} body {conv {out: 4 padding: 1}}}}") +
                kHead},
        LayerCase{"ResidualProjection",
                  std::string("layers {residual {body {conv {out: 5 stride: 2 padding: 1}}"
                              " body {norm {}} shortcut {conv {out: 5 kernel: 1 stride: 2}}"
                              " shortcut {norm {}}}} layers {relu {}}") +
                      kHead},
        LayerCase{"ResidualWithoutNorm",
                  std::string("layers {residual {body {conv {out: 4 padding: 1}}}}"
                              " layers {relu {}}") +
                      kHead},
        LayerCase{"ResidualInResidual",
                  std::string("layers {residual {body {residual {body {norm {}}}}"
                              " body {sigmoid {}}}} layers {relu {}}") +
                      kHead}),
    [](const auto& info) { return info.param.name; });

// A context for layers outside a model.
class LayerTest : public ::testing::Test {
 protected:
  StepContext MakeContext(Mode mode = Mode::kTrain) {
    gradients_ = ForExecutor(*executor_, RandomNormal({layout_.flat_elements()}, "garbage"));
    return StepContext({.executor = executor_.get(),
                        .parameter_layout = &layout_,
                        .running_statistics_layout = &running_statistics_layout_,
                        .parameters = ParameterSet(ForExecutor(*executor_, parameters_)),
                        .running_statistics = ForExecutor(
                            *executor_, InitialRunningStatistics(running_statistics_layout_)),
                        .gradients = gradients_,
                        .mode = mode,
                        .seed = 3,
                        .epoch = epoch_,
                        .sample_ids = ids_});
  }

  // On the executor's device, and back.
  Tensor There(const Tensor& x) { return ForExecutor(*executor_, x); }

  std::unique_ptr<backend::Executor> executor_ =
      backend::OnTestDevice(backend::MakeReferenceBackend)->MakeExecutor();
  ParameterLayout layout_;
  RunningStatisticsLayout running_statistics_layout_;
  Tensor parameters_ = Tensor::Zeros({0}, DType::kFloat64);
  Tensor gradients_;
  std::vector<uint64_t> ids_;
  int64_t epoch_ = 0;
};

TEST_F(LayerTest, UsedTwiceInAStepAddsBothParameterGradients) {
  const int weight =
      layout_.Add({.name = "w", .shape = {3, 3}, .initializer = {Initializer::Kind::kNormal, 1}});
  const int bias =
      layout_.Add({.name = "b", .shape = {3}, .initializer = {Initializer::Kind::kNormal, 1}});
  parameters_ = InitialParameters(layout_, 1, DType::kFloat64);
  const Linear linear("fc", 3, 3, {.weight = weight, .bias = bias}, false);
  const Activation tanh("tanh", backend::ActivationKind::kTanh);
  const Tensor x = RandomNormal({2, 3}, "x"), dy = RandomNormal({2, 3}, "dy");
  const auto forward = [&](StepContext& context) {
    Tensor h = tanh.Forward(linear.Forward(There(x), context), context);
    return linear.Forward(std::move(h), context);
  };
  StepContext context = MakeContext();
  forward(context);
  Tensor dx = linear.Backward(There(dy), context);
  dx = linear.Backward(tanh.Backward(std::move(dx), context), context);
  context.FinishGradients();

  const auto loss = [&](std::span<const Tensor>) {
    StepContext again = MakeContext(Mode::kBatchStatistics);
    return Dot(forward(again).OnHost(), dy);
  };
  const Tensor gradients = gradients_.OnHost();
  const Tensor dw = layout_.View(gradients, weight), db = layout_.View(gradients, bias);
  EXPECT_TRUE(
      GradientsMatch(loss, {layout_.View(parameters_, weight), layout_.View(parameters_, bias), x},
                     {dw, db, dx.OnHost()}));
}

TEST_F(LayerTest, DropoutDropsTheSameOfASampleWhereverItLies) {
  const Dropout dropout("drop", 0.5);
  const Tensor x = RandomNormal({4, 2, 2, 3}, "x", 5);
  ids_ = {10, 11, 12, 13};
  StepContext whole = MakeContext();
  const Tensor y = dropout.Forward(There(x), whole).OnHost();
  ids_ = {13, 11};
  StepContext part = MakeContext();
  const Tensor z = dropout.Forward(There(Stacked({x.Rows(3, 4), x.Rows(1, 2)})), part).OnHost();
  EXPECT_TRUE(SameBits(z.Rows(0, 1), y.Rows(3, 4)));
  EXPECT_TRUE(SameBits(z.Rows(1, 2), y.Rows(1, 2)));
}

TEST_F(LayerTest, DropoutDropsOthersInAnotherCallEpochAndLayer) {
  const Dropout dropout("drop", 0.5), other("drop2", 0.5);
  const Tensor x = RandomNormal({2, 40}, "x", 5);
  ids_ = {1, 2};
  StepContext context = MakeContext();
  const Tensor first = dropout.Forward(There(x), context).OnHost(),
               second = dropout.Forward(There(x), context).OnHost();
  EXPECT_GT(MaxDifference(first, second), 1);
  EXPECT_GT(MaxDifference(first, other.Forward(There(x), context).OnHost()), 1);
  epoch_ = 1;
  StepContext later = MakeContext();
  EXPECT_GT(MaxDifference(first, dropout.Forward(There(x), later).OnHost()), 1);
}

TEST_F(LayerTest, DropoutDropsInBackwardWhatItDroppedInForward) {
  const Dropout dropout("drop", 0.5);
  const Tensor x = RandomNormal({2, 40}, "x", 5);
  ids_ = {1, 2};
  StepContext context = MakeContext();
  const Tensor first = dropout.Forward(There(x), context).OnHost(),
               second = dropout.Forward(There(x), context).OnHost();
  EXPECT_TRUE(SameBits(dropout.Backward(There(x), context).OnHost(), second));
  EXPECT_TRUE(SameBits(dropout.Backward(There(x), context).OnHost(), first));
}

TEST_F(LayerTest, DropoutKeepsItsShareAndTheMean) {
  const Dropout dropout("drop", 0.25);
  Tensor x(Shape{100, 400}, DType::kFloat64);
  for (double& value : x.Span<double>()) value = 1;
  for (uint64_t i = 0; i < 100; ++i) ids_.push_back(i);
  StepContext context = MakeContext();
  const Tensor y = dropout.Forward(There(x), context).OnHost();
  double kept = 0;
  for (double value : y.Span<double>()) {
    EXPECT_TRUE(value == 0 || value == 1 / 0.75) << value;
    kept += value != 0;
  }
  EXPECT_NEAR(kept / 40000, 0.75, 5 * std::sqrt(0.75 * 0.25 / 40000));
}

TEST_F(LayerTest, DropoutIsTheIdentityOutsideTraining) {
  const Dropout dropout("drop", 0.5);
  const Tensor x = RandomNormal({2, 5}, "x");
  for (Mode mode : {Mode::kEvaluate, Mode::kBatchStatistics}) {
    StepContext context = MakeContext(mode);
    EXPECT_TRUE(SameBits(dropout.Forward(There(x), context).OnHost(), x));
  }
}

TEST_F(LayerTest, FlattenPutsChannelsFirst) {
  const Flatten flatten("flatten");
  Tensor x(Shape{1, 2, 1, 3}, DType::kFloat64);
  for (int64_t i = 0; i < 6; ++i) x.Data<double>()[i] = static_cast<double>(i);
  StepContext context = MakeContext();
  const Tensor y = flatten.Forward(There(x), context).OnHost();
  EXPECT_THAT(std::vector<double>(y.Span<double>().begin(), y.Span<double>().end()),
              ::testing::ElementsAre(0, 3, 1, 4, 2, 5));
}

TEST_F(LayerTest, BackwardOutOfOrderNamesTheLayer) {
  const Activation first("first", backend::ActivationKind::kTanh);
  const Activation second("second", backend::ActivationKind::kTanh);
  StepContext context = MakeContext();
  const Tensor x = There(RandomNormal({2, 5}, "x"));
  RunForward(second, RunForward(first, x, context), context);
  EXPECT_THAT(ErrorOf([&] { RunBackward(first, x, context); }),
              AllOf(HasSubstr("reverse order of forward"), HasSubstr("layer first")));
}

TEST_F(LayerTest, BackwardAfterEvaluationIsRefused) {
  const Activation tanh("act", backend::ActivationKind::kTanh);
  StepContext context = MakeContext(Mode::kEvaluate);
  const Tensor y = RunForward(tanh, There(RandomNormal({2, 5}, "x")), context);
  EXPECT_THAT(ErrorOf([&] { RunBackward(tanh, y, context); }), HasSubstr("training mode"));
}

TEST(WeightNorm, StartsAsThePlainLayerAndNamesItsParametersAsPyTorchDoes) {
  const std::string head = "layers {conv {out: 3 bias: true}} ";
  const std::string tail = "layers {flatten {}} layers {linear {out: 4}}";
  const auto plain = MakeModel(head + "layers {norm {kind: NORM_KIND_NONE}}" + tail, kImages);
  const auto normed = MakeModel(head + "layers {norm {kind: NORM_KIND_WEIGHT}}" + tail, kImages);
  const ParameterLayout& layout = normed->parameters();
  EXPECT_EQ(layout[layout.Find("0.weight_v")].shape, (Shape{3, 3, 3, 3}));
  EXPECT_EQ(layout[layout.Find("0.weight_g")].shape, (Shape{3, 1, 1, 1}));
  EXPECT_GE(layout.Find("0.bias"), 0);
  EXPECT_GE(layout.Find("3.weight"), 0) << "no norm follows the head";
  const auto logits = [&](const Model& model) {
    return RunPass(model,
                   {.parameters = InitialParameters(model.parameters(), 1, DType::kFloat64),
                    .running_statistics = InitialRunningStatistics(model.running_statistics())},
                   RandomPart(kImages, 2, "x"))
        .logits;
  };
  EXPECT_TRUE(Near(logits(*normed), logits(*plain), 1e-14));
}

TEST(Model, SparesTheGradientOfTheImagesWhenNobodyAsks) {
  for (const char* layers : {"layers {conv {out: 4}} layers {norm {}} layers {flatten {}} "
                             "layers {linear {out: 4}}",
                             "layers {flatten {}} layers {linear {out: 4}}"}) {
    const auto model = MakeModel(layers, kImages);
    PassSettings settings{
        .parameters = RandomParameters(*model),
        .running_statistics = InitialRunningStatistics(model->running_statistics())};
    const Part part = RandomPart(kImages, 3, "x");
    const PassResult with = RunPass(*model, settings, part);
    settings.input_gradient = false;
    const PassResult without = RunPass(*model, settings, part);
    EXPECT_TRUE(with.dimages.defined());
    EXPECT_FALSE(without.dimages.defined());
    EXPECT_TRUE(SameBits(without.gradients, with.gradients));
  }
}

}  // namespace
}  // namespace syncbn::nn
