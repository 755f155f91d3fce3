// Models by hand, what watches are told of a model, and models that cannot be built.
#include "nn/model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/nn/support.h"
#include "tests/support/test_device.h"

namespace syncbn::nn {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr InputSpec kCifar{.height = 32, .width = 32, .channels = 3, .classes = 10};
constexpr InputSpec kTiny{.height = 8, .width = 8, .channels = 2, .classes = 3};

TEST(LayersByHand, AreCalledByTheirIndexOrTheirName) {
  const auto model = MakeModel(
      "layers {conv {out: 4} name: 'stem'} layers {norm {}}"
      "layers {residual {body {conv {out: 4 padding: 1}} body {norm {} name: 'last'}"
      "                  shortcut {conv {out: 4 kernel: 1}}}}"
      "layers {global_average_pool {}} layers {linear {out: 3}}",
      kTiny);
  EXPECT_THAT(ParameterNames(*model),
              ElementsAre("stem.weight", "1.weight", "1.bias", "2.body.0.weight",
                          "2.body.last.weight", "2.body.last.bias", "2.shortcut.0.weight",
                          "2.shortcut.0.bias", "4.weight", "4.bias"));
}

TEST(LayersByHand, AConvolutionBeforeANormHasNoBiasUnlessAsked) {
  const auto has_bias = [](const std::string& layers) {
    return MakeModel(layers + " layers {flatten {}} layers {linear {out: 3}}", kTiny)
               ->parameters()
               .Find("0.bias") >= 0;
  };
  EXPECT_FALSE(has_bias("layers {conv {out: 2}} layers {norm {}}"));
  EXPECT_TRUE(has_bias("layers {conv {out: 2 bias: true}} layers {norm {}}"));
  EXPECT_TRUE(has_bias("layers {conv {out: 2}} layers {norm {kind: NORM_KIND_NONE}}"));
  EXPECT_TRUE(has_bias("layers {conv {out: 2}} layers {relu {}} layers {norm {}}"));
  EXPECT_FALSE(has_bias("layers {conv {out: 2 bias: false}}"));
}

TEST(LayersByHand, WrongOnesAreErrorsThatNameTheLayerAndTheShapes) {
  const auto error = [](const std::string& layers) {
    return ErrorOf([&] { MakeModel(layers, kTiny); });
  };
  EXPECT_THAT(error("layers {linear {out: 3}}"), AllOf(HasSubstr("layer 0"), HasSubstr("flatten")));
  EXPECT_THAT(error("layers {flatten {}} layers {conv {out: 3}}"),
              AllOf(HasSubstr("layer 1"), HasSubstr("[1, 128]")));
  EXPECT_THAT(error("layers {conv {out: 3 kernel: 9}}"),
              AllOf(HasSubstr("layer 0"), HasSubstr("kernel of 9"), HasSubstr("height of 8")));
  EXPECT_THAT(error("layers {conv {out: 3 groups: 2}}"),
              AllOf(HasSubstr("layer 0"), HasSubstr("groups = 2")));
  EXPECT_THAT(error("layers {max_pool {}} layers {max_pool {}} layers {max_pool {}} "
                    "layers {max_pool {} name: 'fourth'}"),
              AllOf(HasSubstr("layer fourth"), HasSubstr("height of 1")));
  EXPECT_THAT(error("layers {residual {body {conv {out: 4}}}}"),
              AllOf(HasSubstr("layer 0"), HasSubstr("[1, 6, 6, 4]"), HasSubstr("[1, 8, 8, 2]")));
  EXPECT_THAT(error("layers {relu {}} layers {norm {kind: NORM_KIND_WEIGHT}}"),
              AllOf(HasSubstr("layer 1"), HasSubstr("directly behind")));
  EXPECT_THAT(error("layers {relu {} name: 'a'} layers {tanh {} name: 'a'}"),
              HasSubstr("two layers are called \"a\""));
  EXPECT_THAT(error("layers {flatten {}} layers {linear {out: 4}}"),
              AllOf(HasSubstr("gives [1, 4]"), HasSubstr("must give [1, 3]")));
}

TEST(Model, RefusesAnUnknownArchitectureWithASuggestion) {
  EXPECT_THAT(ErrorOf([] { MakeModel(Named("resnet21"), kCifar); }),
              HasSubstr("did you mean resnet20"));
}

// What the schema knows and the models do not must not be computed as something else.
TEST(Model, ASettingThatNobodyHasTaughtItIsAnErrorAndNotAnotherOne) {
  const auto refused = [](const std::string& text) {
    return ErrorOf([&] { MakeModel(text, kCifar); });
  };
  const std::string unknown = " is not built into this program";
  for (const char* architecture : {"lenet", "resnet20", "vgg11", "mlp"}) {
    SCOPED_TRACE(architecture);
    EXPECT_THAT(refused(Named(architecture, "activation: 99")),
                HasSubstr("model.activation: 99" + unknown));
    EXPECT_THAT(refused(Named(architecture, "init {kind: 99}")),
                HasSubstr("model.init.kind: 99" + unknown));
    EXPECT_THAT(refused(Named(architecture, "norm {kind: 99}")),
                HasSubstr("model.norm.kind: 99" + unknown));
    EXPECT_THAT(refused(Named(architecture, "norm {placement: 99}")),
                HasSubstr("model.norm.placement: 99" + unknown));
    EXPECT_THAT(refused(Named(architecture, "norm {running {kind: 99}}")),
                HasSubstr("model.norm.running.kind: 99" + unknown));
    EXPECT_THAT(refused(Named(architecture, "norm {batch {scope: 99}}")),
                HasSubstr("model.norm.batch: 99" + unknown));
  }
}

TEST(Model, RefusesImagesOfAnotherSize) {
  const auto model = MakeModel(Named("mlp"), kTiny);
  EXPECT_THAT(ErrorOf([&] {
                RunPass(
                    *model,
                    {.parameters = RandomParameters(*model),
                     .running_statistics = InitialRunningStatistics(model->running_statistics())},
                    RandomPart({8, 9, 2, 3}, 2, "x"));
              }),
              AllOf(HasSubstr("8 x 8 x 2"), HasSubstr("[2, 8, 9, 2]")));
}

// Shapes of what a watch is told, by layer.
class ShapeWatch : public LayerWatch {
 public:
  void OnOutput(std::string_view layer, const Tensor& y) override {
    outputs.push_back(std::string(layer) + " " + y.shape().ToString());
  }
  void OnOutputGradient(std::string_view layer, const Tensor& dy) override {
    gradients.push_back(std::string(layer) + " " + dy.shape().ToString());
  }
  void OnActivation(std::string_view layer, backend::ActivationKind kind,
                    const Tensor& kept) override {
    activations.emplace_back(layer);
  }
  std::vector<std::string> outputs, activations, gradients;
};

TEST(Model, TellsAWatchOfEveryOutputThatItListsAndOfItsGradientInReverse) {
  const auto model = MakeModel(
      "layers {conv {out: 2 padding: 1}} layers {norm {}} layers {relu {}} "
      "layers {residual {body {conv {out: 2 padding: 1}} body {norm {}}}} layers {relu {}} "
      "layers {flatten {}} layers {linear {out: 3}}",
      kTiny, MakeCluster(1, {2}), {.fuse = false});
  const auto executor = backend::OnTestDevice(backend::MakeReferenceBackend)->MakeExecutor();
  const Tensor gradients = executor->New({model->parameters().flat_elements()});
  ShapeWatch watch;
  StepContext context({.executor = executor.get(),
                       .parameter_layout = &model->parameters(),
                       .running_statistics_layout = &model->running_statistics(),
                       .parameters = ParameterSet(ForExecutor(*executor, RandomParameters(*model))),
                       .running_statistics = ForExecutor(
                           *executor, InitialRunningStatistics(model->running_statistics())),
                       .gradients = gradients,
                       .watch = &watch});
  const Part part = RandomPart(kTiny, 2, "x");
  model->Forward(ForExecutor(*executor, part.images), context);
  model->Backward(ForExecutor(*executor, part.dlogits), context);

  std::vector<std::string> listed, activations;
  for (const LayerOutput& output : model->outputs()) {
    listed.push_back(output.layer + " " + output.sample.WithLeading(2).ToString());
    if (output.activation) activations.push_back(output.layer);
  }
  EXPECT_EQ(listed.size(), 9u);
  EXPECT_EQ(watch.outputs, listed);
  EXPECT_THAT(activations, ElementsAre("2", "4"));
  EXPECT_EQ(watch.activations, activations);
  std::ranges::reverse(watch.gradients);
  EXPECT_EQ(watch.gradients, listed);
}

TEST(Model, TellsAnObserverWhatEveryLayerGivesAndReceives) {
  const auto observed = [](bool fuse) {
    const auto model = MakeModel(
        "layers {conv {out: 2 padding: 1}} layers {norm {}} layers {relu {}} "
        "layers {residual {body {conv {out: 2 padding: 1}} body {norm {}}}} layers {relu {}} "
        "layers {residual {body {conv {out: 2 padding: 1}} body {norm {}}}} layers {flatten {}} "
        "layers {linear {out: 3}}",
        kTiny, MakeCluster(1, {2}), {.fuse = fuse});
    const auto executor = backend::OnTestDevice(backend::MakeReferenceBackend)->MakeExecutor();
    const Tensor gradients = executor->New({model->parameters().flat_elements()});
    std::vector<std::string> seen;
    StepContext context(
        {.executor = executor.get(),
         .parameter_layout = &model->parameters(),
         .running_statistics_layout = &model->running_statistics(),
         .parameters = ParameterSet(ForExecutor(*executor, RandomParameters(*model))),
         .running_statistics =
             ForExecutor(*executor, InitialRunningStatistics(model->running_statistics())),
         .gradients = gradients,
         .observer = [&](std::string_view layer, std::string_view what, const Tensor&) {
           seen.push_back(std::string(layer) + " " + std::string(what));
         }});
    const Part part = RandomPart(kTiny, 2, "x");
    model->Forward(ForExecutor(*executor, part.images), context);
    model->Backward(ForExecutor(*executor, part.dlogits), context);
    return seen;
  };
  EXPECT_THAT(observed(true),
              ElementsAre("0 output", "1 output behind ReLU", "3.body.0 output",
                          "3.body.1 sum with the shortcut, behind ReLU", "5.body.0 output",
                          "5.body.1 sum with the shortcut", "6 output", "7 output",
                          //
                          "7 gradient", "6 gradient", "5.body.1 gradient", "5.body.0 gradient",
                          "5 gradient", "3.body.1 gradient", "3.body.0 gradient", "3 gradient",
                          "1 gradient", "0 gradient"));
  EXPECT_THAT(observed(false),
              ElementsAre("0 output", "1 output", "2 output", "3.body.0 output", "3.body.1 output",
                          "3 output", "4 output", "5.body.0 output", "5.body.1 output", "5 output",
                          "6 output", "7 output",
                          //
                          "7 gradient", "6 gradient", "5.body.1 gradient", "5.body.0 gradient",
                          "5 gradient", "4 gradient", "3.body.1 gradient", "3.body.0 gradient",
                          "3 gradient", "2 gradient", "1 gradient", "0 gradient"));
}

}  // namespace
}  // namespace syncbn::nn
