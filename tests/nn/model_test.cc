// The architectures: names, shapes, counts, initial values.
#include "nn/model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "tests/nn/support.h"

namespace syncbn::nn {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr InputSpec kCifar{.height = 32, .width = 32, .channels = 3, .classes = 10};
constexpr InputSpec kImageNet{.height = 224, .width = 224, .channels = 3, .classes = 1000};

const Parameter& Find(const Model& model, const std::string& name) {
  const int index = model.parameters().Find(name);
  EXPECT_GE(index, 0) << name;
  return model.parameters()[index];
}

// -- Counts known from torchvision and from the papers ------------------------------------------

struct CountCase {
  std::string text;
  InputSpec input;
  int64_t parameters;
};

std::ostream& operator<<(std::ostream& out, const CountCase& c) {
  return out << c.text;
}

class CountTest : public ::testing::TestWithParam<CountCase> {};

TEST_P(CountTest, ParametersAreAsManyAsTheOriginalHas) {
  EXPECT_EQ(MakeModel(GetParam().text, GetParam().input)->parameters().elements(),
            GetParam().parameters);
}

constexpr int64_t kVggHead = 512 * 10 + 10;
// Option B: 1 x 1 convolutions 16 -> 32 and 32 -> 64 and their norms, over option A's counts.
constexpr int64_t kProjections = 16 * 32 + 64 + 32 * 64 + 128;

INSTANTIATE_TEST_SUITE_P(
    Architectures, CountTest,
    ::testing::Values(
        CountCase{Named("resnet18"), kImageNet, 11689512},
        CountCase{Named("resnet34"), kImageNet, 21797672},
        CountCase{Named("resnet50"), kImageNet, 25557032},
        CountCase{Named("resnet101"), kImageNet, 44549160},
        CountCase{Named("resnet152"), kImageNet, 60192808},
        CountCase{Named("resnet20"), kCifar, 269722 + kProjections},
        CountCase{Named("resnet32"), kCifar, 464154 + kProjections},
        CountCase{Named("resnet44"), kCifar, 658586 + kProjections},
        CountCase{Named("resnet56"), kCifar, 853018 + kProjections},
        CountCase{Named("resnet110"), kCifar, 1727962 + kProjections},
        CountCase{Named("vgg11", "norm {kind: NORM_KIND_NONE}"), kCifar, 9220480 + kVggHead},
        CountCase{Named("vgg13", "norm {kind: NORM_KIND_NONE}"), kCifar, 9404992 + kVggHead},
        CountCase{Named("vgg16", "norm {kind: NORM_KIND_NONE}"), kCifar, 14714688 + kVggHead},
        CountCase{Named("vgg19", "norm {kind: NORM_KIND_NONE}"), kCifar, 20024384 + kVggHead},
        // torchvision.models.vgg11 and so on; of vgg11_bn the biases before norms are left out.
        CountCase{Named("vgg11", "norm {kind: NORM_KIND_NONE}"), kImageNet, 132863336},
        CountCase{Named("vgg13", "norm {kind: NORM_KIND_NONE}"), kImageNet, 133047848},
        CountCase{Named("vgg16", "norm {kind: NORM_KIND_NONE}"), kImageNet, 138357544},
        CountCase{Named("vgg19", "norm {kind: NORM_KIND_NONE}"), kImageNet, 143667240},
        CountCase{Named("vgg11"), kImageNet, 132868840 - 2752},
        CountCase{Named("vgg13"), kImageNet, 133053736 - 2944},
        CountCase{Named("vgg16"), kImageNet, 138365992 - 4224},
        CountCase{Named("vgg19"), kImageNet, 143678248 - 5504},
        // 2752 biases less, 2752 scales and shifts more.
        CountCase{Named("vgg11"), kCifar, 9220480 + 2752 + kVggHead},
        CountCase{Named("lenet", "norm {kind: NORM_KIND_NONE}"), {28, 28, 1, 10}, 431080},
        CountCase{Named("mlp", "hidden: [100, 100, 100] norm {kind: NORM_KIND_NONE}"),
                  {28, 28, 1, 10},
                  78500 + 10100 + 10100 + 1010}));

// -- Names --------------------------------------------------------------------------------------

TEST(ResNet18, HasTorchvisionsNamesAndShapes) {
  const auto model = MakeModel(Named("resnet18"), kImageNet);
  EXPECT_EQ(Find(*model, "conv1.weight").shape, (Shape{64, 3, 7, 7}));
  EXPECT_EQ(Find(*model, "bn1.weight").shape, (Shape{64}));
  EXPECT_EQ(Find(*model, "layer1.0.conv1.weight").shape, (Shape{64, 64, 3, 3}));
  EXPECT_EQ(Find(*model, "layer2.0.downsample.0.weight").shape, (Shape{128, 64, 1, 1}));
  EXPECT_EQ(Find(*model, "layer2.0.downsample.1.bias").shape, (Shape{128}));
  EXPECT_EQ(Find(*model, "layer4.1.bn2.bias").shape, (Shape{512}));
  EXPECT_EQ(Find(*model, "fc.weight").shape, (Shape{1000, 512}));
  EXPECT_THAT(ParameterNames(*model), Not(Contains("layer1.0.downsample.0.weight")));
  EXPECT_THAT(ParameterNames(*model), Not(Contains("conv1.bias")));
  EXPECT_EQ(model->running_statistics().size(), 20);
  EXPECT_EQ(model->running_statistics()[0].name, "bn1");
}

TEST(ResNet50, HasBottlenecksWithTheStrideInTheMiddle) {
  const auto model = MakeModel(Named("resnet50"), kImageNet);
  EXPECT_EQ(Find(*model, "layer1.0.conv3.weight").shape, (Shape{256, 64, 1, 1}));
  EXPECT_EQ(Find(*model, "layer1.0.downsample.0.weight").shape, (Shape{256, 64, 1, 1}));
  EXPECT_EQ(Find(*model, "layer3.5.bn3.weight").shape, (Shape{1024}));
  EXPECT_EQ(model->running_statistics().size(), 53);
}

TEST(ResNet18, HasASmallStemForSmallImages) {
  EXPECT_EQ(Find(*MakeModel(Named("resnet18"), kCifar), "conv1.weight").shape,
            (Shape{64, 3, 3, 3}));
}

TEST(ResNet20, HasNineBlocksOfTwo) {
  const auto model = MakeModel(Named("resnet20"), kCifar);
  EXPECT_EQ(Find(*model, "layer3.2.conv2.weight").shape, (Shape{64, 64, 3, 3}));
  EXPECT_EQ(Find(*model, "layer2.0.conv1.weight").shape, (Shape{32, 16, 3, 3}));
  EXPECT_EQ(model->parameters().Find("layer1.3.conv1.weight"), -1);
  EXPECT_EQ(model->running_statistics().size(), 19 + 2);
}

TEST(ResNet, HasNoBiasDirectlyBeforeANorm) {
  for (const char* kind : {"BATCH", "LAYER"}) {
    const auto model =
        MakeModel(Named("resnet20", "norm {kind: NORM_KIND_" + std::string(kind) +
                                        " placement: NORM_PLACEMENT_AFTER_ACTIVATION}"),
                  kCifar);
    EXPECT_THAT(ParameterNames(*model), Contains("layer2.0.conv1.bias")) << "an activation follows";
    EXPECT_THAT(ParameterNames(*model), Contains("layer2.0.downsample.0.weight"));
    EXPECT_THAT(ParameterNames(*model), Not(Contains("layer2.0.downsample.0.bias"))) << kind;
  }
  for (const char* kind : {"NONE", "WEIGHT"}) {
    EXPECT_THAT(ParameterNames(*MakeModel(
                    Named("resnet20", "norm {kind: NORM_KIND_" + std::string(kind) + "}"), kCifar)),
                Contains("layer2.0.downsample.0.bias"));
  }
}

// Instance norm leaves each channel of each image with the mean of its shift.
TEST(Models, ThatTakeTheMeanOfAnInstanceNormAreRefused) {
  const auto error = [](const std::string& text,
                        const v1::ClusterSpec& cluster = MakeCluster(1, {4})) {
    return ErrorOf([&] { MakeModel(text, {8, 8, 3, 10}, cluster); });
  };
  const std::string after = " placement: NORM_PLACEMENT_AFTER_ACTIVATION";
  const auto refused = AllOf(HasSubstr("same for every image"), HasSubstr("learn nothing"));
  EXPECT_THAT(error(Named("resnet20", "norm {kind: NORM_KIND_INSTANCE" + after + "}")),
              AllOf(refused, HasSubstr("avgpool")));
  EXPECT_THAT(
      error(Named("resnet20", "width: 0.5 norm {kind: NORM_KIND_GROUP groups: 32" + after + "}")),
      refused);
  EXPECT_THAT(error(Named("resnet20", "norm {batch {samples: 1}" + after + "}")), refused);
  const auto by_hand = [&](const std::string& between) {
    return error("layers {conv {out: 4}} layers {norm {kind: NORM_KIND_INSTANCE}} " + between +
                 "layers {flatten {}} layers {linear {out: 10}}");
  };
  const std::string pool = "layers {global_average_pool {}} ";
  const auto head = [&](const std::string& between) {
    return error("layers {conv {out: 4 padding: 1}} layers {norm {kind: NORM_KIND_INSTANCE}} " +
                 between + "layers {linear {out: 10}}");
  };
  EXPECT_THAT(head(pool), refused);
  EXPECT_THAT(head("layers {dropout {}} " + pool), refused);
  EXPECT_THAT(head("layers {conv {out: 6 kernel: 1}} " + pool), refused);
  EXPECT_THAT(head("layers {average_pool {kernel: 2}} " + pool), refused);
  EXPECT_THAT(by_hand("layers {average_pool {kernel: 6}} "), refused);

  const auto fine = [](const std::string& between) {
    MakeModel("layers {conv {out: 4 padding: 1}} layers {norm {kind: NORM_KIND_INSTANCE}} " +
                  between + "layers {global_average_pool {}} layers {linear {out: 10}}",
              {8, 8, 3, 10});
  };
  for (const char* between :
       {"layers {relu {}} ", "layers {max_pool {kernel: 2}} ", "layers {conv {out: 6}} ",
        "layers {residual {body {conv {out: 4 padding: 1}}}} "}) {
    EXPECT_NO_THROW(fine(between)) << between;
  }
  EXPECT_NO_THROW(
      MakeModel(Named("resnet20", "norm {kind: NORM_KIND_LAYER" + after + "}"), kCifar));
  EXPECT_NO_THROW(
      MakeModel(Named("resnet20", "norm {kind: NORM_KIND_GROUP groups: 32" + after + "}"), kCifar));
}

TEST(Vgg11, IsNumberedAsTorchvisionsWithAndWithoutNorm) {
  const auto plain = MakeModel(Named("vgg11", "norm {kind: NORM_KIND_NONE}"), kCifar);
  std::vector<std::string> weights;
  for (int n : {0, 3, 6, 8, 11, 13, 16, 18}) {
    weights.push_back("features." + std::to_string(n) + ".weight");
    weights.push_back("features." + std::to_string(n) + ".bias");
  }
  weights.push_back("classifier.weight");
  weights.push_back("classifier.bias");
  EXPECT_EQ(ParameterNames(*plain), weights);

  const auto normed = MakeModel(Named("vgg11"), kCifar);
  std::vector<std::string> convs, norms;
  for (int n : {0, 4, 8, 11, 15, 18, 22, 25}) {
    EXPECT_EQ(Find(*normed, "features." + std::to_string(n) + ".weight").shape.rank(), 4);
    EXPECT_EQ(Find(*normed, "features." + std::to_string(n + 1) + ".weight").shape.rank(), 1);
    norms.push_back("features." + std::to_string(n + 1));
  }
  std::vector<std::string> tracked;
  for (const NormStatistics& norm : normed->running_statistics().norms())
    tracked.push_back(norm.name);
  EXPECT_EQ(tracked, norms);
}

TEST(Vgg16, TakesImagesTooSmallForFivePools) {
  const auto model = MakeModel(Named("vgg16", "width: 0.1"), {28, 28, 1, 10});
  EXPECT_EQ(Find(*model, "features.40.weight").shape, (Shape{51, 51, 3, 3})) << "numbers stay";
}

TEST(Vgg11, EndsInTorchvisionsLinearLayersForLargeImages) {
  const std::string text = "width: 0.125 dropout: 0.5";
  const auto model = MakeModel(Named("vgg11", text), kImageNet);
  EXPECT_EQ(Find(*model, "classifier.0.weight").shape, (Shape{512, 64 * 49}));
  EXPECT_EQ(Find(*model, "classifier.3.weight").shape, (Shape{512, 512}));
  EXPECT_EQ(Find(*model, "classifier.6.weight").shape, (Shape{1000, 512}));
  ASSERT_EQ(model->dropouts().size(), 2u);
  EXPECT_EQ(model->dropouts()[0].layer, "classifier.2");
  EXPECT_EQ(model->dropouts()[1].layer, "classifier.5");
  // Larger: the same parameters, behind means of 2 x 2, of which two share a pixel in 8 x 8.
  for (const int64_t side : {448, 256}) {
    EXPECT_EQ(MakeModel(Named("vgg11", text), {side, side, 3, 1000})->parameters().elements(),
              model->parameters().elements());
  }
  try {
    MakeModel(Named("vgg11", text), {288, 288, 3, 1000});
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.message(),
                HasSubstr("give 9 x 9: they must be square, of a multiple of 224"));
  }
  EXPECT_EQ(Find(*MakeModel(Named("vgg11", text), {192, 192, 3, 1000}), "classifier.weight").shape,
            (Shape{1000, 64}));
}

TEST(Models, StartTheArmsOfAStudyFromTheSameWeights) {
  const auto weights = [](const Model& model) {
    const Tensor flat = InitialParameters(model.parameters(), 4, DType::kFloat64);
    std::vector<Tensor> result;
    for (int i = 0; i < model.parameters().size(); ++i) {
      if (model.parameters()[i].role == ParameterRole::kWeight) {
        result.push_back(model.parameters().View(flat, i));
      }
    }
    return result;
  };
  for (const char* architecture : {"vgg11", "resnet20", "lenet", "mlp"}) {
    const auto model = [&](const char* kind) {
      return MakeModel(
          Named(architecture, "width: 0.1 norm {kind: NORM_KIND_" + std::string(kind) + "}"),
          kCifar);
    };
    const std::vector<Tensor> expected = weights(*model("BATCH"));
    for (const char* kind : {"NONE", "LAYER", "GROUP", "WEIGHT"}) {
      const std::vector<Tensor> actual = weights(*model(kind));
      ASSERT_EQ(actual.size(), expected.size());
      for (size_t i = 0; i < actual.size(); ++i) EXPECT_TRUE(SameBits(actual[i], expected[i]));
    }
  }
}

TEST(Models, WidthScalesChannels) {
  const auto model = MakeModel(Named("resnet20", "width: 0.5"), kCifar);
  EXPECT_EQ(Find(*model, "conv1.weight").shape, (Shape{8, 3, 3, 3}));
  EXPECT_EQ(Find(*model, "fc.weight").shape, (Shape{10, 32}));
  EXPECT_EQ(Find(*MakeModel(Named("vgg11", "width: 0.001"), kCifar), "classifier.weight").shape,
            (Shape{10, 1}));
}

TEST(Models, KnowWhetherStatisticsCrossReplicas) {
  const auto crosses = [](const std::string& norm) {
    return MakeModel(Named("lenet", "norm {" + norm + "}"), {28, 28, 1, 10}, MakeCluster(4, {8}))
        ->statistics_cross_replicas();
  };
  EXPECT_TRUE(crosses(""));
  EXPECT_TRUE(crosses("batch {samples: 16}"));
  EXPECT_FALSE(crosses("batch {samples: 8}"));
  EXPECT_FALSE(crosses("batch {scope: NORM_SCOPE_REPLICA}"));
  EXPECT_FALSE(crosses("kind: NORM_KIND_LAYER"));
}

TEST(Models, NameTheGroupsOfReplicasThatShareStatisticsWhateverLayerAsksForThem) {
  const auto groups = [](const std::string& spec) {
    return MakeModel(spec, {28, 28, 1, 10}, MakeCluster(4, {8}))->statistics_groups();
  };
  EXPECT_THAT(groups(Named("lenet")), ElementsAre(comm::Group{0, 4}));
  EXPECT_THAT(groups(Named("lenet", "norm {batch {samples: 16}}")),
              ElementsAre(comm::Group{0, 2}, comm::Group{2, 4}));
  EXPECT_THAT(groups(Named("lenet", "norm {batch {samples: 4}}")), ElementsAre());
  // By hand, one layer of its own kind, inside a block; what no layer uses is no group.
  const std::string norm_of_16 = "layers {norm {batch {samples: 16}}}";
  const std::string head = " layers {flatten {}} layers {linear {out: 10}}";
  EXPECT_THAT(groups("norm {batch {scope: NORM_SCOPE_REPLICA}} layers {residual {body {norm {batch "
                     "{samples: 16}}} body {norm {batch {scope: NORM_SCOPE_GLOBAL}}}}}" +
                     head),
              ElementsAre(comm::Group{0, 2}, comm::Group{2, 4}, comm::Group{0, 4}));
  EXPECT_THAT(groups("norm {batch {scope: NORM_SCOPE_GLOBAL}} " + norm_of_16 + head),
              ElementsAre(comm::Group{0, 2}, comm::Group{2, 4}));
}

// -- Initial values -----------------------------------------------------------------------------

double Std(const Model& model, const std::string& name) {
  const Tensor flat = InitialParameters(model.parameters(), 1, DType::kFloat64);
  double squares = 0;
  const Tensor values = model.parameters().View(flat, model.parameters().Find(name));
  for (double value : values.Span<double>()) squares += value * value;
  return std::sqrt(squares / static_cast<double>(values.elements()));
}

TEST(Init, FollowsTheRuleAskedFor) {
  const auto std_of = [](const std::string& init, const std::string& name) {
    return Std(*MakeModel(Named("resnet20", "init {" + init + "}"), kCifar), name);
  };
  const std::string conv = "layer3.0.conv1.weight", linear = "fc.weight";  // 32 -> 64, 64 -> 10
  // Five standard errors of 18,432 and of 640 values.
  constexpr double kConv = 0.026, kLinear = 0.14;
  const auto near = [](double actual, double expected, double share) {
    EXPECT_NEAR(actual / expected, 1, share);
  };
  near(std_of("", conv), std::sqrt(2.0 / (64 * 9)), kConv);
  near(std_of("", linear), std::sqrt(2.0 / 64), kLinear);
  near(std_of("scale: 10", conv), 10 * std::sqrt(2.0 / (64 * 9)), kConv);
  near(std_of("kind: INIT_KIND_XAVIER", conv), std::sqrt(2.0 / ((32 + 64) * 9)), kConv);
  near(std_of("kind: INIT_KIND_XAVIER", linear), std::sqrt(2.0 / 74), kLinear);
  near(std_of("kind: INIT_KIND_NORMAL std: 0.02", conv), 0.02, kConv);
}

TEST(Init, ZeroLastGammaIsInTheLastNormOfEveryBlockOnly) {
  const auto model = MakeModel(Named("resnet20", "init {zero_last_gamma: true}"), kCifar);
  const Tensor flat = InitialParameters(model->parameters(), 1, DType::kFloat64);
  for (int i = 0; i < model->parameters().size(); ++i) {
    const Parameter& parameter = model->parameters()[i];
    if (parameter.role != ParameterRole::kNormScale) continue;
    const bool last = parameter.name.find(".bn2.") != std::string::npos;
    EXPECT_EQ(model->parameters().View(flat, i).Data<double>()[0], last ? 0 : 1) << parameter.name;
  }
}

TEST(Init, ZeroLastGammaIsRefusedWhereItWouldSilenceTheNetOrDoNothing) {
  for (const char* norm :
       {"placement: NORM_PLACEMENT_AFTER_ACTIVATION", "kind: NORM_KIND_NONE", "affine: false"}) {
    EXPECT_THAT(ErrorOf([&] {
                  MakeModel(Named("resnet20",
                                  "init {zero_last_gamma: true} norm {" + std::string(norm) + "}"),
                            kCifar);
                }),
                HasSubstr("zero_last_gamma"));
  }
}

}  // namespace
}  // namespace syncbn::nn
