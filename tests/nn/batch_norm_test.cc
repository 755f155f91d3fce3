// Batch norm within one replica: definition, properties, slices, running statistics.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "tests/nn/norm_support.h"
#include "tests/nn/support.h"
#include "tests/support/test_device.h"

namespace syncbn::nn {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kPlain[] = "affine: false";

int64_t ByChannel(int64_t, int64_t channel) {
  return channel;
}

Tensor Forward(const NormNet& net, const PassSettings& settings, const Part& part) {
  return net.AsImages(RunPass(*net.model, settings, part).logits);
}

TEST(BatchNorm, IsItsDefinition) {
  const NormNet net(3, 2, 4, kPlain);
  const Part part = net.Data(5);
  EXPECT_TRUE(
      Near(Forward(net, net.Settings(), part), Normalized(part.images, 1e-5, ByChannel), 1e-13));
  EXPECT_EQ(net.model->parameters().size(), 0) << "affine is off";
}

TEST(BatchNorm, ScalesAndShiftsByGammaAndBeta) {
  const NormNet net(2, 2, 3, "");
  const PassSettings settings = net.Settings();
  const Part part = net.Data(4);
  const Tensor gamma = net.model->parameters().View(settings.parameters, 0);
  const Tensor beta = net.model->parameters().View(settings.parameters, 1);
  Tensor expected = Normalized(part.images, 1e-5, ByChannel);
  for (int64_t i = 0; i < expected.elements(); ++i) {
    double& value = expected.Data<double>()[i];
    value = gamma.Data<double>()[i % 3] * value + beta.Data<double>()[i % 3];
  }
  EXPECT_TRUE(Near(Forward(net, settings, part), expected, 1e-13));
}

TEST(BatchNorm, TheInputGradientSumsToZeroAndIsOrthogonalToXhatUpToEpsilon) {
  const NormNet net(3, 2, 2, "epsilon: 1e-9");
  const Part part = net.Data(4);
  const PassResult result = RunPass(*net.model, net.Settings(), part);
  const Tensor xhat = Normalized(part.images, 1e-9, ByChannel);
  std::vector<double> sum(2), product(2);
  for (int64_t i = 0; i < xhat.elements(); ++i) {
    sum[static_cast<size_t>(i % 2)] += result.dimages.Data<double>()[i];
    product[static_cast<size_t>(i % 2)] +=
        result.dimages.Data<double>()[i] * xhat.Data<double>()[i];
  }
  EXPECT_GT(MaxAbsolute(result.dimages), 0.1);
  for (size_t c = 0; c < 2; ++c) {
    EXPECT_NEAR(sum[c], 0, 1e-13);
    EXPECT_NEAR(product[c], 0, 1e-7);
  }
}

constexpr InputSpec kImages{.height = 4, .width = 4, .channels = 3, .classes = 5};
constexpr char kConvNet[] =
    "layers {conv {out: 4 bias: true}} layers {norm {epsilon: 1e-12}} layers {tanh {}}"
    "layers {flatten {}} layers {linear {out: 5}}";

TEST(BatchNorm, DoesNotSeeTheScaleOfTheWeightsBeforeIt) {
  const auto model = MakeModel(kConvNet, kImages);
  PassSettings settings{
      .parameters = RandomParameters(*model),
      .running_statistics = InitialRunningStatistics(model->running_statistics())};
  const Part part = RandomPart(kImages, 3, "x");
  const PassResult plain = RunPass(*model, settings, part);
  Tensor weight = model->parameters().View(settings.parameters, 0);
  for (double& value : weight.Span<double>()) value *= 7;
  const PassResult scaled = RunPass(*model, settings, part);
  EXPECT_TRUE(Near(scaled.logits, plain.logits, 1e-10));
  // And the gradient of the weights falls with their scale.
  Tensor gradient = model->parameters().View(scaled.gradients, 0);
  for (double& value : gradient.Span<double>()) value *= 7;
  EXPECT_TRUE(Near(gradient, model->parameters().View(plain.gradients, 0), 1e-9));
}

TEST(BatchNorm, ABiasBeforeItHasNoGradient) {
  const auto model = MakeModel(kConvNet, kImages);
  const PassResult result =
      RunPass(*model,
              {.parameters = RandomParameters(*model),
               .running_statistics = InitialRunningStatistics(model->running_statistics())},
              RandomPart(kImages, 3, "x"));
  const ParameterLayout& layout = model->parameters();
  EXPECT_LT(MaxAbsolute(layout.View(result.gradients, layout.Find("0.bias"))), 1e-13);
  EXPECT_GT(MaxAbsolute(layout.View(result.gradients, layout.Find("0.weight"))), 0.1);
}

TEST(BatchNorm, OfOneElementIsZeroWithoutAGradient) {
  const NormNet net(1, 1, 3, "");
  const PassSettings settings = net.Settings();
  const PassResult result = RunPass(*net.model, settings, net.Data(1));
  const Tensor beta = net.model->parameters().View(settings.parameters, 1);
  EXPECT_TRUE(SameBits(result.logits, beta.Reshape({1, 3})));
  EXPECT_EQ(MaxAbsolute(result.dimages), 0);
}

TEST(BatchNorm, ThatWholeBatchesLeaveWithSingleNumbersIsRefused) {
  const auto error = [](const std::string& batch, const v1::ClusterSpec& cluster, int64_t side) {
    return ErrorOf([&] { NormNet(side, side, 3, "batch {" + batch + "}", cluster); });
  };
  const std::string replica = "scope: NORM_SCOPE_REPLICA";
  EXPECT_THAT(error("samples: 1", MakeCluster(1, {8}), 1),
              AllOf(HasSubstr("layer 0"), HasSubstr("8 x 1"), HasSubstr("3 channels")));
  EXPECT_THAT(error("samples: 2", MakeCluster(2, {3}), 1),
              HasSubstr("3 samples is cut into 2 + 1"));
  EXPECT_THAT(error(replica, MakeCluster(4, {5, 2, 1, 6}), 1), HasSubstr("a batch of 1 sample"));
  EXPECT_THAT(error("", MakeCluster(1, {1}), 1), HasSubstr("1 sample"));
  // Where there are several pixels, or several samples together, there is something to normalize.
  EXPECT_NO_THROW(NormNet(2, 2, 3, "batch {samples: 1}", MakeCluster(1, {8})));
  EXPECT_NO_THROW(NormNet(1, 1, 3, "", MakeCluster(4, {1})));
  EXPECT_NO_THROW(NormNet(1, 1, 3, "batch {" + replica + "}", MakeCluster(3, {2, 0, 4})));
}

TEST(BatchNorm, OfTwoElementsIsPlusAndMinusOne) {
  const NormNet net(1, 1, 3, "affine: false epsilon: 1e-12");
  const PassResult result = RunPass(*net.model, net.Settings(), net.Data(2));
  for (double value : result.logits.Span<double>()) EXPECT_NEAR(std::abs(value), 1, 1e-6);
}

TEST(BatchNorm, WithANormalizationBatchOfOneIsInstanceNorm) {
  const NormNet batch(3, 3, 4, "batch {samples: 1}", MakeCluster(1, {5}));
  const NormNet instance(3, 3, 4, "kind: NORM_KIND_INSTANCE", MakeCluster(1, {5}));
  const PassSettings settings = batch.Settings();
  const Part part = batch.Data(5);
  const PassResult a = RunPass(*batch.model, settings, part);
  const PassResult b = RunPass(
      *instance.model,
      {.parameters = settings.parameters,
       .running_statistics = InitialRunningStatistics(instance.model->running_statistics())},
      part);
  EXPECT_TRUE(Near(a.logits, b.logits, 1e-13));
  EXPECT_TRUE(Near(a.dimages, b.dimages, 1e-13));
  EXPECT_TRUE(Near(a.gradients, b.gradients, 1e-13));
}

// Batches that the slices divide evenly, and batches that they do not.
class SlicesTest : public ::testing::TestWithParam<std::vector<int64_t>> {};

TEST_P(SlicesTest, AreBatchesOfTheirOwn) {
  const std::vector<int64_t>& sizes = GetParam();
  int64_t batch = 0;
  for (int64_t size : sizes) batch += size;
  const std::string samples = "batch {samples: " + std::to_string(sizes[0]) + "}";
  const NormNet net(2, 2, 3, samples, MakeCluster(1, {static_cast<int>(batch)}));
  const NormNet plain(2, 2, 3, "");
  const PassSettings settings = net.Settings();
  const Part part = net.Data(batch);
  const PassResult whole = RunPass(*net.model, settings, part);

  Tensor gradients = Tensor::Zeros(whole.gradients.shape(), DType::kFloat64);
  int64_t begin = 0;
  for (int64_t size : sizes) {
    const int64_t end = begin + size;
    const PassResult slice =
        RunPass(*plain.model, settings,
                {.images = part.images.Rows(begin, end), .dlogits = part.dlogits.Rows(begin, end)});
    EXPECT_TRUE(Near(whole.logits.Rows(begin, end), slice.logits, 1e-13));
    EXPECT_TRUE(Near(whole.dimages.Rows(begin, end), slice.dimages, 1e-13));
    for (int64_t i = 0; i < gradients.elements(); ++i) {
      gradients.Data<double>()[i] += slice.gradients.Data<double>()[i];
    }
    begin = end;
  }
  EXPECT_TRUE(Near(whole.gradients, gradients, 1e-13));
  // The running statistics see the whole batch.
  EXPECT_TRUE(Near(whole.moments, MomentsOf(part.images), 1e-13));
}

INSTANTIATE_TEST_SUITE_P(BatchNorm, SlicesTest,
                         ::testing::Values(std::vector<int64_t>{4, 4}, std::vector<int64_t>{3, 2},
                                           std::vector<int64_t>{4, 4, 3},
                                           std::vector<int64_t>{1, 1, 1}));

TEST(BatchNorm, SlicesComeFromTheActualBatch) {
  // Built for batches of 8 cut into 4 + 4; the last batch of an epoch has 5 samples.
  const NormNet net(1, 1, 2, "affine: false batch {samples: 4}", MakeCluster(1, {8}));
  const Part part = net.Data(5);
  const Tensor expected = Normalized(part.images, 1e-5, [](int64_t sample, int64_t channel) {
    return (sample < 3 ? 0 : 2) + channel;
  });
  EXPECT_TRUE(Near(Forward(net, net.Settings(), part), expected, 1e-13));
}

TEST(BatchNorm, InferenceUsesTheRunningStatistics) {
  const NormNet net(2, 2, 3, kPlain);
  PassSettings settings = net.Settings(Mode::kEvaluate);
  const Part part = net.Data(3);
  const double* state = settings.running_statistics.Data<double>();
  Tensor expected(part.images.shape(), DType::kFloat64);
  for (int64_t i = 0; i < expected.elements(); ++i) {
    expected.Data<double>()[i] =
        (part.images.Data<double>()[i] - state[i % 3]) / std::sqrt(state[3 + i % 3] + 1e-5);
  }
  EXPECT_TRUE(Near(Forward(net, settings, part), expected, 1e-14));
  const PassResult result = RunPass(*net.model, settings, part);
  EXPECT_EQ(MaxAbsolute(result.moments), 0) << "inference logs nothing";
}

TEST(BatchNorm, InferenceIsIndependentOfTheOtherSamples) {
  const NormNet net(2, 2, 3, "");
  const PassSettings settings = net.Settings(Mode::kEvaluate);
  const Part part = net.Data(4);
  const Tensor whole = RunPass(*net.model, settings, part).logits;
  for (int64_t i = 0; i < 4; ++i) {
    const Part one{.images = part.images.Rows(i, i + 1), .dlogits = part.dlogits.Rows(i, i + 1)};
    EXPECT_TRUE(SameBits(RunPass(*net.model, settings, one).logits, whole.Rows(i, i + 1)));
  }
}

TEST(BatchNorm, WithoutRunningStatisticsInferenceUsesItsBatch) {
  const NormNet net(2, 2, 3, "running {kind: RUNNING_KIND_NONE}");
  EXPECT_EQ(net.model->running_statistics().flat_elements(), 0);
  EXPECT_EQ(net.model->running_rule().kind, RunningRule::Kind::kNone);
  const Part part = net.Data(4);
  EXPECT_TRUE(SameBits(RunPass(*net.model, net.Settings(Mode::kEvaluate), part).logits,
                       RunPass(*net.model, net.Settings(), part).logits));
}

TEST(BatchNorm, BatchStatisticsModeIsTrainingWithoutATape) {
  const NormNet net(2, 2, 3, "");
  const Part part = net.Data(4);
  const PassResult train = RunPass(*net.model, net.Settings(), part);
  const PassResult batch = RunPass(*net.model, net.Settings(Mode::kBatchStatistics), part);
  EXPECT_TRUE(SameBits(batch.logits, train.logits));
  EXPECT_TRUE(SameBits(batch.moments, train.moments));
  EXPECT_TRUE(Near(batch.moments, MomentsOf(part.images), 1e-13));
}

TEST(BatchNorm, AnEmptyBatchGivesEmptyOutputsAndZeroGradients) {
  for (const char* norm : {"", "batch {samples: 2}"}) {
    const NormNet net(2, 2, 3, norm);
    const PassResult result = RunPass(*net.model, net.Settings(), net.Data(0));
    EXPECT_EQ(result.logits.shape(), (Shape{0, 12}));
    EXPECT_EQ(result.dimages.shape(), (Shape{0, 2, 2, 3}));
    EXPECT_EQ(MaxAbsolute(result.gradients), 0);
    EXPECT_EQ(MaxAbsolute(result.moments), 0);
  }
}

TEST(BatchNorm, KeepsAMeanThatIsLargeAgainstTheDeviation) {
  const NormNet net(4, 4, 2, kPlain);
  const Part part = net.Data(8, "x", 1e5);
  EXPECT_TRUE(
      Near(Forward(net, net.Settings(), part), Normalized(part.images, 1e-5, ByChannel), 1e-9));
}

TEST(BatchNorm, NamesTheLayerWhoseRunningRuleDiffers) {
  EXPECT_THAT(ErrorOf([] {
                MakeModel(
                    "layers {norm {}} layers {norm {running {momentum: 0.2}}}"
                    "layers {flatten {}}",
                    {1, 1, 2, 2});
              }),
              AllOf(HasSubstr("layer 1"), HasSubstr("another rule")));
}

TEST(BatchNorm, NamesTheLayerWhoseNormalizationBatchDoesNotFit) {
  EXPECT_THAT(ErrorOf([] {
                MakeModel("layers {norm {batch {samples: 12}}} layers {flatten {}}", {1, 1, 2, 2},
                          MakeCluster(4, {8}));
              }),
              AllOf(HasSubstr("layer 0"), HasSubstr("any number up to 8, 16 or 32")));
}

TEST(BatchNorm, AppliedTwiceLogsTheMomentsOfBoth) {
  const NormNet net(1, 1, 2, kPlain);
  RunningStatisticsLayout state = net.model->running_statistics();
  const auto executor = backend::OnTestDevice(backend::MakeReferenceBackend)->MakeExecutor();
  StepContext context({.executor = executor.get(),
                       .parameter_layout = &net.model->parameters(),
                       .running_statistics_layout = &net.model->running_statistics(),
                       .parameters = ParameterSet(executor->New({0})),
                       .running_statistics = ForExecutor(
                           *executor, InitialRunningStatistics(net.model->running_statistics())),
                       .mode = Mode::kBatchStatistics});
  const Part first = net.Data(3, "first"), second = net.Data(4, "second");
  net.model->Forward(ForExecutor(*executor, first.images), context);
  net.model->Forward(ForExecutor(*executor, second.images), context);
  EXPECT_TRUE(
      Near(context.moments().OnHost(), MomentsOf(Stacked({first.images, second.images})), 1e-13));
}

// -- Every norm, placement and fusion -----------------------------------------------------------

class NormGradientTest
    : public ::testing::TestWithParam<std::tuple<std::string, std::string, bool>> {};

TEST_P(NormGradientTest, MatchesDifferences) {
  const auto& [norm, rest, affine] = GetParam();
  const NormNet net(3, 2, 4, norm + (affine ? "" : " affine: false"), MakeCluster(1, {5}), rest);
  EXPECT_TRUE(GradientsHold(*net.model, net.Settings(), net.Data(5, norm + rest),
                            {.step = 1e-5, .tolerance = 1e-6}));
}

INSTANTIATE_TEST_SUITE_P(
    AllNorms, NormGradientTest,
    ::testing::Combine(
        ::testing::Values("", "batch {samples: 2}", "batch {samples: 4}", "batch {samples: 1}",
                          "kind: NORM_KIND_LAYER", "kind: NORM_KIND_INSTANCE",
                          "kind: NORM_KIND_GROUP groups: 2",
                          "kind: NORM_KIND_ITERATIVE group_channels: 3",
                          "kind: NORM_KIND_ITERATIVE iterations: 1",
                          "kind: NORM_KIND_ITERATIVE batch {samples: 2} group_channels: 2",
                          "noise {shift: 0.5 scale: 1.25 spread: 0.1}"),
        ::testing::Values("", "layers {relu {}}", "layers {sigmoid {}}",
                          "layers {residual {body {tanh {}} body {norm {}}}} layers {relu {}}"),
        ::testing::Bool()));

class NormFusionTest : public ::testing::TestWithParam<std::tuple<std::string, std::string>> {};

TEST_P(NormFusionTest, DoesNotChangeTheResult) {
  const auto& [norm, rest] = GetParam();
  const v1::ClusterSpec cluster = MakeCluster(1, {5});
  const NormNet fused(3, 2, 4, norm, cluster, rest);
  const NormNet apart(3, 2, 4, norm, cluster, rest, {.fuse = false});
  const Part part = fused.Data(5);
  const PassResult a = RunPass(*fused.model, fused.Settings(), part);
  const PassResult b = RunPass(*apart.model, apart.Settings(), part);
  EXPECT_TRUE(SameBits(a.logits, b.logits));
  EXPECT_TRUE(SameBits(a.dimages, b.dimages));
  EXPECT_TRUE(SameBits(a.gradients, b.gradients));
  EXPECT_TRUE(SameBits(a.moments, b.moments));
}

INSTANTIATE_TEST_SUITE_P(
    AllNorms, NormFusionTest,
    ::testing::Combine(
        ::testing::Values("", "batch {samples: 2}", "kind: NORM_KIND_LAYER",
                          "kind: NORM_KIND_INSTANCE", "kind: NORM_KIND_GROUP groups: 2",
                          "kind: NORM_KIND_BATCH_RENORM", "kind: NORM_KIND_ITERATIVE",
                          "noise {shift: 0.5 scale: 1.25 spread: 0.1}"),
        ::testing::Values(
            "layers {relu {}}", "layers {residual {body {norm {}}}}",
            "layers {residual {body {norm {}}}} layers {relu {}}",
            "layers {residual {body {norm {}} shortcut {norm {}}}} layers {relu {}}")));

}  // namespace
}  // namespace syncbn::nn
