// Gradients through whole models, against differences.
#include <gtest/gtest.h>

#include <span>
#include <string>
#include <vector>

#include "nn/model.h"
#include "tests/nn/support.h"
#include "tests/support/test_device.h"

namespace syncbn::nn {
namespace {

struct GradientCase {
  std::string name;
  std::string text;
  InputSpec input;
  int64_t elements = 2;
};

std::ostream& operator<<(std::ostream& out, const GradientCase& c) {
  return out << c.text;
}

class ModelGradientTest : public ::testing::TestWithParam<GradientCase> {};

TEST_P(ModelGradientTest, MatchesDifferences) {
  const GradientCase& c = GetParam();
  const auto model = MakeModel(c.text, c.input);
  const PassSettings settings{
      .parameters = RandomParameters(*model),
      .running_statistics = InitialRunningStatistics(model->running_statistics())};
  EXPECT_TRUE(GradientsHold(*model, settings, RandomPart(c.input, 3, c.name),
                            {.step = 1e-6, .tolerance = 1e-5, .max_elements = c.elements}));
}

constexpr InputSpec kTiny{.height = 8, .width = 8, .channels = 2, .classes = 3};
constexpr char kAfter[] = "norm {placement: NORM_PLACEMENT_AFTER_ACTIVATION}";

INSTANTIATE_TEST_SUITE_P(
    Architectures, ModelGradientTest,
    ::testing::Values(
        GradientCase{"resnet20", Named("resnet20", "width: 0.125 dropout: 0.3"), kTiny},
        GradientCase{"resnet20after", Named("resnet20", std::string("width: 0.125 ") + kAfter),
                     kTiny},
        GradientCase{"resnet18", Named("resnet18", "width: 0.04"), kTiny},
        GradientCase{"resnet50", Named("resnet50", "width: 0.04"), kTiny, 1},
        GradientCase{"vgg11", Named("vgg11", "width: 0.04 dropout: 0.3"), kTiny},
        GradientCase{"vgg11after", Named("vgg11", std::string("width: 0.04 ") + kAfter), kTiny},
        GradientCase{"vgg11sigmoid", Named("vgg11", "width: 0.04 activation: ACTIVATION_SIGMOID"),
                     kTiny},
        GradientCase{"vgg11tanh", Named("vgg11", "width: 0.04 activation: ACTIVATION_TANH"), kTiny},
        GradientCase{"vgg11gelu", Named("vgg11", "width: 0.04 activation: ACTIVATION_GELU"), kTiny},
        GradientCase{"resnet20silu", Named("resnet20", "width: 0.125 activation: ACTIVATION_SILU"),
                     kTiny},
        GradientCase{"vgg11beforenorm",
                     Named("vgg11",
                           "width: 0.04 dropout: 0.3 dropout_place: "
                           "DROPOUT_PLACE_BEFORE_NORM"),
                     kTiny},
        GradientCase{"mlpafteractivation",
                     Named("mlp",
                           "hidden: [7, 5] dropout: 0.3 dropout_place: "
                           "DROPOUT_PLACE_AFTER_ACTIVATION"),
                     {4, 4, 1, 3},
                     100},
        GradientCase{"cnnsmall", Named("cnn_small", "width: 0.2 dropout: 0.3"), kTiny, 4},
        GradientCase{"vggsmall", Named("vgg_small", "width: 0.3"), kTiny, 4},
        GradientCase{"vggsmallafter", Named("vgg_small", std::string("width: 0.3 ") + kAfter),
                     kTiny, 4},
        GradientCase{"inception", Named("inception_bn_small", "width: 0.15"), kTiny},
        GradientCase{"inceptioniterative",
                     Named("inception_bn_small", "width: 0.15 norm {kind: NORM_KIND_ITERATIVE}"),
                     kTiny, 1},
        GradientCase{"vggsmallnoise",
                     Named("vgg_small",
                           "width: 0.3 norm {noise {shift: 0.5 scale: 1.25 spread: "
                           "0.1}}"),
                     kTiny},
        GradientCase{
            "cnnsmalliterative",
            Named("cnn_small", "width: 0.2 norm {kind: NORM_KIND_ITERATIVE group_channels: 5}"),
            kTiny, 4},
        GradientCase{"vgg11none", Named("vgg11", "width: 0.04 norm {kind: NORM_KIND_NONE}"), kTiny},
        GradientCase{"vgg11weight", Named("vgg11", "width: 0.04 norm {kind: NORM_KIND_WEIGHT}"),
                     kTiny},
        GradientCase{"vgg11layer", Named("vgg11", "width: 0.04 norm {kind: NORM_KIND_LAYER}"),
                     kTiny},
        GradientCase{"vgg11group",
                     Named("vgg11", "width: 0.04 norm {kind: NORM_KIND_GROUP groups: 2}"), kTiny},
        GradientCase{"resnet20instance",
                     Named("resnet20", "width: 0.125 norm {kind: NORM_KIND_INSTANCE}"), kTiny},
        GradientCase{"resnet20weight",
                     Named("resnet20", "width: 0.125 norm {kind: NORM_KIND_WEIGHT}"), kTiny},
        GradientCase{"lenet", Named("lenet", "dropout: 0.3"), {16, 16, 1, 3}, 3},
        GradientCase{
            "lenetinstance", Named("lenet", "norm {kind: NORM_KIND_INSTANCE}"), {20, 20, 1, 3}},
        GradientCase{"mlp", Named("mlp", "hidden: [7, 5] dropout: 0.3"), {4, 4, 1, 3}, 100},
        GradientCase{
            "mlpafter", Named("mlp", std::string("hidden: [7, 5] ") + kAfter), {4, 4, 1, 3}, 100}),
    [](const auto& info) { return info.param.name; });

TEST(Loss, GradientThroughAModelMatchesDifferences) {
  const auto model = MakeModel(Named("mlp", "hidden: [6]"), {3, 3, 1, 4});
  const PassSettings settings{
      .parameters = RandomParameters(*model),
      .running_statistics = InitialRunningStatistics(model->running_statistics())};
  Part part = RandomPart(model->input(), 5, "x");
  Tensor labels(Shape{5}, DType::kInt32);
  for (int i = 0; i < 5; ++i) labels.Data<int32_t>()[i] = i % 4;
  const auto executor = backend::OnTestDevice(backend::MakeReferenceBackend)->MakeExecutor();
  const auto loss_of = [&](const Tensor& logits, bool gradient) {
    return executor->SoftmaxCrossEntropy(ForExecutor(*executor, logits), executor->Clone(labels),
                                         0.1, 0.2, gradient);
  };
  PassSettings forward = settings;
  forward.backward = false;
  part.dlogits =
      loss_of(RunPass(*model, *executor, forward, part).logits, /*gradient=*/true).dlogits.OnHost();
  const PassResult result = RunPass(*model, *executor, settings, part);
  std::vector<Tensor> gradients;
  for (int i = 0; i < model->parameters().size(); ++i) {
    gradients.push_back(model->parameters().View(result.gradients, i));
  }
  gradients.push_back(result.dimages);
  const auto loss = [&](std::span<const Tensor>) {
    double sum = 0;
    const Tensor losses =
        loss_of(RunPass(*model, *executor, forward, part).logits, /*gradient=*/false)
            .losses.OnHost();
    for (double value : losses.Span<double>()) sum += 0.2 * value;
    return sum;
  };
  EXPECT_TRUE(GradientsMatch(loss, CheckedInputs(*model, settings.parameters, {part}), gradients,
                             {.step = 1e-5, .tolerance = 1e-6}));
}

}  // namespace
}  // namespace syncbn::nn
