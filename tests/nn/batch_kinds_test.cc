// Batch renormalization, iterative normalization and noise: what they are, and that replicas agree
// on it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "nn/batch_renorm.h"
#include "tests/nn/cluster.h"
#include "tests/nn/norm_support.h"

namespace syncbn::nn {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr double kTolerance = 1e-11;

std::vector<double> ValuesOf(const Tensor& x) {
  return {x.Span<double>().begin(), x.Span<double>().end()};
}

// The covariance of the rows of x, with 1 / n.
std::vector<double> CovarianceOf(const Tensor& x) {
  const int64_t d = x.shape().channels(), rows = x.shape().rows();
  std::vector<double> mean(static_cast<size_t>(d)), result(static_cast<size_t>(d * d));
  const double* in = x.Data<double>();
  for (int64_t i = 0; i < x.elements(); ++i) {
    mean[static_cast<size_t>(i % d)] += in[i] / static_cast<double>(rows);
  }
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < d; ++i) {
      for (int64_t j = 0; j < d; ++j) {
        result[static_cast<size_t>(i * d + j)] += (in[r * d + i] - mean[static_cast<size_t>(i)]) *
                                                  (in[r * d + j] - mean[static_cast<size_t>(j)]) /
                                                  static_cast<double>(rows);
      }
    }
  }
  return result;
}

// Running statistics so far from any batch that r and d are at their limits, where they are
// constants.
Tensor FarAway(const Model& model) {
  Tensor state = InitialRunningStatistics(model.running_statistics());
  for (const NormStatistics& norm : model.running_statistics().norms()) {
    double* values = state.Data<double>() + norm.offset;
    for (int64_t c = 0; c < norm.channels; ++c) {
      values[c] = c % 3 == 0 ? 1000 : -1000;
      values[norm.channels + c] = c % 2 == 0 ? 1e3 : 1e-3;
    }
  }
  return state;
}

// -- Over replicas -------------------------------------------------------------------------------

constexpr InputSpec kImages{.height = 4, .width = 4, .channels = 2, .classes = 3};

std::string Net(const std::string& norm) {
  return "norm {" + norm +
         "} layers {conv {out: 5 padding: 1}} layers {norm {}} layers {tanh {}}"
         "layers {residual {body {conv {out: 4 stride: 2 padding: 1}} body {norm {}}"
         "                  shortcut {conv {out: 4 stride: 2 kernel: 1}} shortcut {norm {}}}}"
         "layers {sigmoid {}} layers {global_average_pool {}} layers {linear {out: 3}}";
}

class BatchKindTest : public ::testing::TestWithParam<std::string> {
 protected:
  PassSettings SettingsOf(const Model& model) const {
    return {.parameters = RandomParameters(model),
            .running_statistics = GetParam().find("RENORM") != std::string::npos
                                      ? FarAway(model)
                                      : RandomRunningStatistics(model)};
  }
};

TEST_P(BatchKindTest, ReplicasTogetherAreOneWithAllSamples) {
  const auto synchronized = MakeModel(Net(GetParam()), kImages, MakeCluster(4, {5, 4, 2, 0}));
  const auto plain = MakeModel(Net(GetParam()), kImages);
  ASSERT_TRUE(synchronized->statistics_cross_replicas());
  const PassSettings settings = SettingsOf(*plain);
  const std::vector<Part> parts = UnequalParts(kImages, {5, 4, 2, 0});
  const PassResult whole = RunPass(*plain, settings, StackedParts(parts));
  Cluster cluster(4, 2);
  const PassResult joined = Joined(*synchronized, cluster.Run(*synchronized, settings, parts));
  EXPECT_TRUE(Near(joined.logits, whole.logits, kTolerance));
  EXPECT_TRUE(Near(joined.dimages, whole.dimages, kTolerance));
  EXPECT_TRUE(Near(joined.gradients, whole.gradients, kTolerance));
  EXPECT_TRUE(Near(joined.moments, whole.moments, kTolerance));
}

TEST_P(BatchKindTest, GradientsAcrossReplicasMatchDifferences) {
  const auto model = MakeModel(Net(GetParam()), kImages, MakeCluster(4, {5, 4, 2, 0}));
  const PassSettings settings = SettingsOf(*model);
  const std::vector<Part> parts = UnequalParts(kImages, {5, 4, 2, 0});
  Cluster cluster(4, 1);
  const std::vector<PassResult> results = cluster.Run(*model, settings, parts);
  const PassResult joined = Joined(*model, results);
  std::vector<Tensor> gradients;
  for (int i = 0; i < model->parameters().size(); ++i) {
    gradients.push_back(model->parameters().View(joined.gradients, i));
  }
  for (const PassResult& result : results) gradients.push_back(result.dimages);
  PassSettings forward = settings;
  forward.backward = false;
  const auto loss = [&](std::span<const Tensor>) {
    const std::vector<PassResult> moved = cluster.Run(*model, forward, parts);
    double sum = 0;
    for (size_t r = 0; r < parts.size(); ++r) sum += Dot(moved[r].logits, parts[r].dlogits);
    return sum;
  };
  EXPECT_TRUE(GradientsMatch(loss, CheckedInputs(*model, settings.parameters, parts), gradients,
                             {.step = 1e-5, .tolerance = 1e-6, .max_elements = 6}));
}

TEST_P(BatchKindTest, SendsOneMessageALayerAndPass) {
  const auto model = MakeModel(Net(GetParam()), kImages, MakeCluster(2, {4}));
  Cluster cluster(2, 2);
  PassSettings settings = SettingsOf(*model);
  const std::vector<Part> parts = UnequalParts(kImages, {4, 4});
  EXPECT_EQ(cluster.Run(*model, settings, parts)[1].statistics_messages, 2 * 3);
  settings.mode = Mode::kEvaluate;
  EXPECT_EQ(cluster.Run(*model, settings, parts)[1].statistics_messages, 0);
}

TEST_P(BatchKindTest, GradientsOfSlicesMatchDifferences) {
  const auto model =
      MakeModel(Net(GetParam() + " batch {samples: 2}"), kImages, MakeCluster(1, {5}));
  EXPECT_TRUE(GradientsHold(*model, SettingsOf(*model), RandomPart(kImages, 5, "slices"),
                            {.step = 1e-5, .tolerance = 1e-6, .max_elements = 6}));
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, BatchKindTest,
    ::testing::Values("kind: NORM_KIND_BATCH_RENORM renorm {r_max: 2 d_max: 1.5}",
                      "kind: NORM_KIND_ITERATIVE", "kind: NORM_KIND_ITERATIVE group_channels: 2"));

// -- Batch renormalization -----------------------------------------------------------------------

TEST(BatchRenorm, WithinItsLimitsTrainingGivesWhatInferenceGives) {
  const NormNet net(3, 2, 4, "kind: NORM_KIND_BATCH_RENORM renorm {r_max: 1000 d_max: 1000}");
  const Part part = net.Data(5);
  EXPECT_TRUE(Near(RunPass(*net.model, net.Settings(), part).logits,
                   RunPass(*net.model, net.Settings(Mode::kEvaluate), part).logits, 1e-12));
}

TEST(BatchRenorm, HeldItIsBatchNormToTheLastBit) {
  const NormNet held(3, 2, 4, "kind: NORM_KIND_BATCH_RENORM renorm {hold_steps: 1}"),
      batch(3, 2, 4, "");
  const Part part = held.Data(5);
  const PassResult a = RunPass(*held.model, held.Settings(), part);
  const PassResult b = RunPass(*batch.model, batch.Settings(), part);
  EXPECT_TRUE(SameBits(a.logits, b.logits));
  EXPECT_TRUE(SameBits(a.dimages, b.dimages));
  EXPECT_TRUE(SameBits(a.gradients, b.gradients));
  EXPECT_TRUE(SameBits(a.moments, b.moments));
}

TEST(BatchRenorm, AtItsLimitsScalesAndShiftsWhatBatchNormGives) {
  const NormNet net(3, 2, 4,
                    "kind: NORM_KIND_BATCH_RENORM affine: false renorm {r_max: 2 d_max: 1.5}"),
      batch(3, 2, 4, "affine: false");
  PassSettings settings = net.Settings();
  settings.running_statistics = FarAway(*net.model);
  const Part part = net.Data(5);
  const Tensor y = net.AsImages(RunPass(*net.model, settings, part).logits);
  const Tensor xhat = batch.AsImages(RunPass(*batch.model, settings, part).logits);
  for (int64_t i = 0; i < y.elements(); ++i) {
    const int64_t c = i % 4;
    const double r = c % 2 == 0 ? 0.5 : 2, d = c % 3 == 0 ? -1.5 : 1.5;
    EXPECT_NEAR(y.Data<double>()[i], r * xhat.Data<double>()[i] + d, 1e-12) << i;
  }
}

TEST(BatchRenorm, WithStatisticsOfTheBatchForInferenceIsBatchNorm) {
  const NormNet net(3, 2, 4, "kind: NORM_KIND_BATCH_RENORM"), batch(3, 2, 4, "");
  const Part part = net.Data(5);
  EXPECT_TRUE(SameBits(RunPass(*net.model, net.Settings(Mode::kBatchStatistics), part).logits,
                       RunPass(*batch.model, batch.Settings(Mode::kBatchStatistics), part).logits));
}

TEST(RenormSchedule, HoldsAndThenGrowsEvenly) {
  const RenormSchedule schedule{.last = {.r_max = 3, .d_max = 5}, .hold = 10, .ramp = 4};
  const auto at = [&](int64_t step) {
    const backend::RenormLimits limits = schedule.At(step);
    return std::pair(limits.r_max, limits.d_max);
  };
  EXPECT_EQ(at(0), std::pair(1.0, 0.0));
  EXPECT_EQ(at(10), std::pair(1.0, 0.0));
  EXPECT_EQ(at(12), std::pair(2.0, 2.5));
  EXPECT_EQ(at(14), std::pair(3.0, 5.0));
  EXPECT_EQ(at(1000), std::pair(3.0, 5.0));
  EXPECT_EQ(RenormSchedule({.last = {.r_max = 3, .d_max = 5}}).At(0).r_max, 3.0);
}

TEST(BatchRenorm, WithoutRunningStatisticsIsRefused) {
  EXPECT_THAT(ErrorOf([] {
                NormNet(3, 2, 4, "kind: NORM_KIND_BATCH_RENORM running {kind: RUNNING_KIND_NONE}");
              }),
              AllOf(HasSubstr("layer 0"), HasSubstr("running")));
}

// -- Iterative normalization ---------------------------------------------------------------------

TEST(IterativeNorm, MakesTheChannelsOfAGroupUncorrelated) {
  const NormNet net(4, 4, 6,
                    "kind: NORM_KIND_ITERATIVE affine: false iterations: 20 group_channels: 4 "
                    "epsilon: 1e-9");
  Part part = net.Data(6);
  // Channels 0 to 3 are correlated, and so are 4 and 5.
  double* x = part.images.Data<double>();
  for (int64_t i = 0; i < part.images.elements(); i += 6) {
    x[i + 1] += 2 * x[i];
    x[i + 3] -= x[i + 2];
    x[i + 5] += x[i + 4];
  }
  const std::vector<double> covariance =
      CovarianceOf(net.AsImages(RunPass(*net.model, net.Settings(), part).logits));
  bool across = false;
  for (int64_t i = 0; i < 6; ++i) {
    for (int64_t j = 0; j < 6; ++j) {
      const double value = covariance[static_cast<size_t>(6 * i + j)];
      if ((i < 4) == (j < 4)) {
        EXPECT_NEAR(value, i == j ? 1 : 0, 1e-6) << i << ", " << j;
      } else {
        across |= std::abs(value) > 1e-3;
      }
    }
  }
  EXPECT_TRUE(across) << "channels of different groups are left as they are";
}

TEST(IterativeNorm, OfSingleChannelsIsBatchNorm) {
  const NormNet iterative(3, 2, 4, "kind: NORM_KIND_ITERATIVE group_channels: 1 iterations: 1"),
      batch(3, 2, 4, "");
  const Part part = iterative.Data(5);
  const PassResult a = RunPass(*iterative.model, iterative.Settings(), part);
  const PassResult b = RunPass(*batch.model, batch.Settings(), part);
  EXPECT_TRUE(Near(a.logits, b.logits, 1e-12));
  EXPECT_TRUE(Near(a.dimages, b.dimages, 1e-12));
  EXPECT_TRUE(Near(a.gradients, b.gradients, 1e-12));
}

TEST(IterativeNorm, InferenceWithTheRunningStatisticsOfABatchGivesWhatTrainingGives) {
  const NormNet net(3, 2, 5, "kind: NORM_KIND_ITERATIVE group_channels: 3 running {momentum: 1}");
  const Part part = net.Data(40);
  const PassResult trained = RunPass(*net.model, net.Settings(), part);
  PassSettings settings = net.Settings(Mode::kEvaluate);
  Tensor state = UpdatedOnHost(net.model->running_statistics(), net.model->running_rule(),
                               settings.running_statistics, trained.moments);
  // The running covariance is the unbiased one.
  const double shrink = (240.0 - 1) / 240;
  for (const backend::RunningBlock& block : net.model->running_statistics().running_blocks()) {
    const int64_t d = block.size();
    for (int64_t i = 0; i < d * d; ++i) state.Data<double>()[block.running + d + i] *= shrink;
  }
  settings.running_statistics = state;
  EXPECT_TRUE(Near(RunPass(*net.model, settings, part).logits, trained.logits, 1e-11));
}

TEST(IterativeNorm, TheMomentsOfItsChannelsAreThoseOfBatchNorm) {
  const NormNet net(3, 2, 5, "kind: NORM_KIND_ITERATIVE group_channels: 3"), batch(3, 2, 5, "");
  const Part part = net.Data(4);
  const Tensor moments = RunPass(*net.model, net.Settings(), part).moments;
  const std::vector<double> channels =
      net.model->running_statistics()[0].ChannelMoments(moments.Span<double>());
  const std::vector<double> expected =
      ValuesOf(RunPass(*batch.model, batch.Settings(), part).moments);
  ASSERT_EQ(channels.size(), expected.size());
  for (size_t i = 0; i < channels.size(); ++i) EXPECT_NEAR(channels[i], expected[i], 1e-12) << i;
}

// -- Noise ---------------------------------------------------------------------------------------

constexpr char kNoisy[] = "noise {shift: 0.5 scale: 1.25 spread: 0}";

TEST(NormNoise, WithoutShiftAndScaleThereIsNone) {
  const NormNet net(3, 2, 4, "noise {spread: 0.7}");
  EXPECT_TRUE(net.model->noises().empty());
  ASSERT_EQ(NormNet(3, 2, 4, kNoisy).model->noises().size(), 1u);
  EXPECT_EQ(NormNet(3, 2, 4, kNoisy).model->noises()[0].layer, "0.noise");
}

TEST(NormNoise, EveryReplicaDrawsTheSameForAChannelAndOtherwiseInTheNextStep) {
  const NormNet net(3, 2, 4, std::string(kNoisy) + " affine: false", MakeCluster(2, {3}));
  const NormNet plain(3, 2, 4, "affine: false", MakeCluster(2, {3}));
  const std::vector<Part> parts = UnequalParts(net.input, {3, 3});
  Cluster cluster(2, 2);
  const auto outputs = [&](const NormNet& of, int64_t step) {
    PassSettings settings = of.Settings();
    settings.step = step;
    return Joined(*of.model, cluster.Run(*of.model, settings, parts)).logits;
  };
  const Tensor xhat = net.AsImages(outputs(plain, 0));
  std::vector<double> slopes;
  for (const int64_t step : {0, 1}) {
    const Tensor y = net.AsImages(outputs(net, step));
    for (int64_t c = 0; c < 4; ++c) {
      const auto at = [&](const Tensor& x, int64_t row) { return x.Data<double>()[row * 4 + c]; };
      // Without spread all elements of a channel lie on one line, those of both replicas.
      const double slope = (at(y, 1) - at(y, 0)) / (at(xhat, 1) - at(xhat, 0));
      const double shift = at(y, 0) - slope * at(xhat, 0);
      EXPECT_GE(slope, 1 - 1e-9);
      EXPECT_LE(slope, 1.25 + 1e-9);
      EXPECT_LE(std::abs(shift), 0.5 + 1e-9);
      for (int64_t row = 0; row < 36; ++row) {
        EXPECT_NEAR(at(y, row), slope * at(xhat, row) + shift, 1e-9) << "step " << step;
      }
      slopes.push_back(slope);
    }
  }
  EXPECT_NE(slopes[0], slopes[4]);
}

TEST(NormNoise, IsForTrainingOnly) {
  const NormNet net(3, 2, 4, kNoisy), plain(3, 2, 4, "");
  const Part part = net.Data(5);
  for (const Mode mode : {Mode::kEvaluate, Mode::kBatchStatistics}) {
    EXPECT_TRUE(SameBits(RunPass(*net.model, net.Settings(mode), part).logits,
                         RunPass(*plain.model, plain.Settings(mode), part).logits));
  }
}

}  // namespace
}  // namespace syncbn::nn
