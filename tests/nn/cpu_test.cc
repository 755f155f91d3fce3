// Models in float32 on the CPU back end, against the reference back end in double.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/nn/cluster.h"
#include "tests/nn/norm_support.h"
#include "tests/support/test_device.h"

namespace syncbn::nn {
namespace {

const backend::Backend& Cpu() {
  static const std::unique_ptr<backend::Backend> backend =
      backend::OnTestDevice(backend::MakeCpuBackend);
  return *backend;
}

PassSettings SettingsOf(const Model& model, Mode mode = Mode::kTrain) {
  return {.parameters = RandomParameters(model),
          .running_statistics = RandomRunningStatistics(model),
          .mode = mode};
}

// Calls visit(name, a, b) for every tensor of two passes, gradients one by one.
template <typename Visit>
void ForEachTensor(const Model& model, const PassResult& a, const PassResult& b, Visit visit) {
  visit("logits", a.logits, b.logits);
  visit("input gradient", a.dimages, b.dimages);
  for (int i = 0; i < model.parameters().size(); ++i) {
    visit("gradient of " + model.parameters()[i].name, model.parameters().View(a.gradients, i),
          model.parameters().View(b.gradients, i));
  }
  const auto state = [&](const PassResult& result) {
    return UpdatedOnHost(model.running_statistics(), model.running_rule(),
                         InitialRunningStatistics(model.running_statistics()), result.moments);
  };
  const Tensor state_a = state(a), state_b = state(b);
  for (const NormStatistics& norm : model.running_statistics().norms()) {
    const auto view = [&](const Tensor& tensor, int64_t row) {
      return tensor.Slice(norm.offset + row * norm.channels, {norm.channels});
    };
    visit(norm.name + ".running_mean", view(state_a, 0), view(state_b, 0));
    visit(norm.name + ".running_var", view(state_a, 1), view(state_b, 1));
  }
}

struct ModelCase {
  std::string name;
  std::string text;
  InputSpec input;
};

std::ostream& operator<<(std::ostream& out, const ModelCase& c) {
  return out << c.text;
}

class CpuModelTest : public ::testing::TestWithParam<ModelCase> {};

// Of the largest element. One rounding is 6e-8; the 53 norms of ResNet-50, the last ones over 24
// elements, make some 5e-5 of it.
constexpr double kFloatTolerance = 1e-4;

TEST_P(CpuModelTest, MatchesTheReferenceInDouble) {
  const ModelCase& c = GetParam();
  const auto model = MakeModel(c.text, c.input);
  const PassSettings settings = SettingsOf(*model);
  const Part part = RandomPart(c.input, 6, c.name);
  const PassResult exact = RunPass(*model, settings, part);
  const PassResult actual = RunPass(*model, *Cpu().MakeExecutor(), settings, part);
  ForEachTensor(
      *model, actual, exact, [](const std::string& what, const Tensor& a, const Tensor& b) {
        EXPECT_LE(MaxDifference(a, b), kFloatTolerance * std::max(MaxAbsolute(b), 1e-2)) << what;
      });
}

TEST_P(CpuModelTest, InferenceMatchesTheReferenceInDouble) {
  const ModelCase& c = GetParam();
  const auto model = MakeModel(c.text, c.input);
  const PassSettings settings = SettingsOf(*model, Mode::kEvaluate);
  const Part part = RandomPart(c.input, 6, c.name);
  EXPECT_TRUE(Near(RunPass(*model, *Cpu().MakeExecutor(), settings, part).logits,
                   RunPass(*model, settings, part).logits, kFloatTolerance));
}

constexpr InputSpec kSmall{.height = 16, .width = 16, .channels = 3, .classes = 10};

INSTANTIATE_TEST_SUITE_P(
    Models, CpuModelTest,
    ::testing::Values(
        ModelCase{"resnet20", "architecture: 'resnet20' dropout: 0.2", kSmall},
        ModelCase{"resnet50", "architecture: 'resnet50' width: 0.125", kSmall},
        ModelCase{"vgg11", "architecture: 'vgg11' width: 0.25 dropout: 0.2", kSmall},
        ModelCase{"vgg11none", "architecture: 'vgg11' width: 0.25 norm {kind: NORM_KIND_NONE}",
                  kSmall},
        ModelCase{"vgg11after",
                  "architecture: 'vgg11' width: 0.25 activation: ACTIVATION_SIGMOID "
                  "norm {placement: NORM_PLACEMENT_AFTER_ACTIVATION}",
                  kSmall},
        ModelCase{"resnet20slices", "architecture: 'resnet20' width: 0.5 norm {batch {samples: 4}}",
                  kSmall},
        ModelCase{"resnet20layer",
                  "architecture: 'resnet20' width: 0.5 norm {kind: NORM_KIND_LAYER}", kSmall},
        ModelCase{"resnet20group",
                  "architecture: 'resnet20' width: 0.5 norm {kind: NORM_KIND_GROUP groups: 4}",
                  kSmall},
        ModelCase{"resnet20instance",
                  "architecture: 'resnet20' width: 0.5 norm {kind: NORM_KIND_INSTANCE}", kSmall},
        ModelCase{"resnet20weight",
                  "architecture: 'resnet20' width: 0.5 norm {kind: NORM_KIND_WEIGHT}", kSmall},
        ModelCase{"lenet", "architecture: 'lenet' dropout: 0.2", {28, 28, 1, 10}},
        ModelCase{"mlp",
                  "architecture: 'mlp' hidden: [50, 50] activation: ACTIVATION_TANH",
                  {28, 28, 1, 10}}),
    [](const auto& info) { return info.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Kinds, CpuModelTest,
    ::testing::Values(
        ModelCase{"iterative",
                  "architecture: 'vgg_small' activation: ACTIVATION_GELU norm {kind: "
                  "NORM_KIND_ITERATIVE}",
                  kSmall},
        ModelCase{"iterativegroups",
                  "architecture: 'cnn_small' activation: ACTIVATION_SILU norm {kind: "
                  "NORM_KIND_ITERATIVE group_channels: 12 batch {samples: 3}}",
                  kSmall},
        ModelCase{"renorm",
                  "architecture: 'cnn_small' activation: ACTIVATION_GELU norm {kind: "
                  "NORM_KIND_BATCH_RENORM}",
                  kSmall},
        ModelCase{"noise",
                  "architecture: 'vgg_small' activation: ACTIVATION_SILU norm {noise {shift: 0.5 "
                  "scale: 1.25 spread: 0.1}} dropout: 0.1 dropout_place: "
                  "DROPOUT_PLACE_AFTER_ACTIVATION",
                  kSmall},
        ModelCase{"inception", "architecture: 'inception_bn_small' activation: ACTIVATION_GELU",
                  kSmall}),
    [](const auto& info) { return info.param.name; });

constexpr InputSpec kRows{.height = 12, .width = 9, .channels = 2, .classes = 10};

INSTANTIATE_TEST_SUITE_P(
    Recurrent, CpuModelTest,
    ::testing::Values(
        ModelCase{"rnn", "architecture: 'rnn' norm {kind: NORM_KIND_NONE}", kRows},
        ModelCase{"rnnbatch", "architecture: 'rnn' norm {initial_scale: 0.1}", kRows},
        ModelCase{"lstm", "architecture: 'lstm' norm {kind: NORM_KIND_NONE}", kRows},
        ModelCase{"lstmbatch", "architecture: 'lstm' recurrent {hidden: 37}", kRows},
        ModelCase{"lstmslices", "architecture: 'lstm' norm {batch {samples: 4}}", kRows},
        ModelCase{"lstmshared",
                  "architecture: 'lstm' recurrent {statistics: RECURRENT_STATISTICS_SHARED}",
                  kRows},
        ModelCase{"lstmlayer", "architecture: 'lstm' norm {kind: NORM_KIND_LAYER}", kRows}),
    [](const auto& info) { return info.param.name; });

TEST(CpuModel, AWeightThatChangesBetweenPassesOfOneVersionIsSeen) {
  // Weight normalization makes its weight anew in every pass, in memory that is used again.
  const auto model =
      MakeModel("architecture: 'resnet20' width: 0.5 norm {kind: NORM_KIND_WEIGHT}", kSmall);
  const auto executor = Cpu().MakeExecutor();
  const Part part = RandomPart(kSmall, 4, "x");
  for (uint64_t seed : {1, 2, 3}) {
    PassSettings settings = SettingsOf(*model);
    settings.parameters = RandomParameters(*model, seed);
    EXPECT_TRUE(SameBits(RunPass(*model, *executor, settings, part).logits,
                         RunPass(*model, *Cpu().MakeExecutor(), settings, part).logits));
  }
}

TEST(CpuModel, APassNeverUsesWeightsThatWerePackedOfOtherValues) {
  const auto model = MakeModel("architecture: 'resnet20' width: 0.5", kSmall);
  const auto executor = Cpu().MakeExecutor();
  const Part part = RandomPart(kSmall, 4, "x");
  ParameterSet written(executor->Clone(ForExecutor(*executor, RandomParameters(*model))));
  // Who holds a copy knows nothing of what becomes of them.
  const ParameterSet held = written;
  const auto logits = [&] {
    StepContext context(
        {.executor = executor.get(),
         .parameter_layout = &model->parameters(),
         .running_statistics_layout = &model->running_statistics(),
         .parameters = held,
         .running_statistics =
             executor->ToDevice(RandomRunningStatistics(*model), DType::kFloat64),
         .mode = Mode::kEvaluate,
         .sample_ids = part.ids});
    return model->Forward(ForExecutor(*executor, part.images), context).OnHost();
  };
  for (const uint64_t seed : {1, 2, 3}) {
    PassSettings settings = SettingsOf(*model, Mode::kEvaluate);
    settings.parameters = RandomParameters(*model, seed);
    written.Write([&](Tensor& values) {
      executor->Copy(ForExecutor(*executor, settings.parameters), values);
    });
    const Tensor fresh = RunPass(*model, *Cpu().MakeExecutor(), settings, part).logits;
    EXPECT_TRUE(SameBits(logits(), fresh)) << seed;
    EXPECT_TRUE(SameBits(logits(), fresh)) << seed << ", with what is packed";
  }
}

// -- Replicas -----------------------------------------------------------------------------------

// The smallest |x| that any activation of the model is applied to.
double DistanceFromKinks(const std::string& text, const InputSpec& input, const Part& part) {
  const auto model = MakeModel(text, input, MakeCluster(1, {4}), {.fuse = false});
  const auto executor = backend::OnTestDevice(backend::MakeReferenceBackend)->MakeExecutor();
  Tensor previous;
  double smallest = std::numeric_limits<double>::infinity();
  StepContext context(
      {.executor = executor.get(),
       .parameter_layout = &model->parameters(),
       .running_statistics_layout = &model->running_statistics(),
       .parameters = ParameterSet(ForExecutor(*executor, RandomParameters(*model))),
       .running_statistics = ForExecutor(*executor, RandomRunningStatistics(*model)),
       .mode = Mode::kBatchStatistics,
       .observer = [&](std::string_view layer, std::string_view, const Tensor& tensor) {
         if (layer.find("relu") != std::string_view::npos || layer.starts_with("act")) {
           smallest = std::min(smallest, DistanceFromZero(previous));
         }
         previous = tensor.Clone();
       }});
  model->Forward(ForExecutor(*executor, part.images), context);
  return smallest;
}

struct SplitCase {
  std::string text;
  InputSpec input;
  int64_t batch = 0;
  int replicas = 0;
  bool relu = false;
};

std::ostream& operator<<(std::ostream& out, const SplitCase& c) {
  return out << c.text << ", " << c.batch << " samples on " << c.replicas;
}

class CpuSplitTest : public ::testing::TestWithParam<SplitCase> {
 protected:
  // Where an activation sits on the kink of ReLU, a rounding decides whether a gradient passes at
  // all, in one replica as in many: such data say nothing about the statistics. Roundings reach
  // about 1e-6.
  std::vector<Part> MakeDraws(size_t count) const {
    const SplitCase& c = GetParam();
    std::vector<Part> draws;
    for (int i = 0; draws.size() < count; ++i) {
      if (i == 200) throw Error(ErrorCode::kInternal, "too few data away from the kinks of ReLU");
      Part part = RandomPart(c.input, c.batch, c.text + std::to_string(i));
      if (!c.relu || DistanceFromKinks(c.text, c.input, part) > 1e-5) draws.push_back(part);
    }
    return draws;
  }
};

// How far a tensor is from the truth is an accident of rounding: of four numbers all may be right to
// the last digit by luck. What either way of computing can do shows over some draws of the data; a
// single draw is within twice for all but a few of the smallest tensors.
TEST_P(CpuSplitTest, ReplicasAreNoFartherFromTheTruthThanTwiceOneReplica) {
  const SplitCase& c = GetParam();
  const int64_t each = c.batch / c.replicas;
  const auto whole_model = MakeModel(c.text, c.input);
  const auto split_model =
      MakeModel(c.text, c.input, MakeCluster(c.replicas, {static_cast<int>(each)}));
  const PassSettings settings = SettingsOf(*whole_model);
  struct Apart {
    double one = 0, many = 0;  // the farthest of all draws
  };
  std::map<std::string, Apart> apart;
  for (const Part& whole : MakeDraws(10)) {
    std::vector<Part> parts;
    for (int64_t begin = 0; begin < c.batch; begin += each) {
      parts.push_back({.images = whole.images.Rows(begin, begin + each),
                       .dlogits = whole.dlogits.Rows(begin, begin + each)});
    }
    const PassResult exact = RunPass(*whole_model, settings, whole);
    const PassResult one = RunPass(*whole_model, *Cpu().MakeExecutor(), settings, whole);
    Cluster cluster(c.replicas, c.replicas, Cpu());
    const PassResult many = Joined(*split_model, cluster.Run(*split_model, settings, parts));
    ForEachTensor(*whole_model, one, exact,
                  [&](const std::string& what, const Tensor& a, const Tensor& b) {
                    apart[what].one = std::max(apart[what].one, MaxDifference(a, b));
                  });
    ForEachTensor(*split_model, many, exact,
                  [&](const std::string& what, const Tensor& a, const Tensor& b) {
                    apart[what].many = std::max(apart[what].many, MaxDifference(a, b));
                  });
  }
  double logs = 0;
  for (const auto& [what, distance] : apart) {
    EXPECT_LE(distance.many, 2 * distance.one) << what;
    if (distance.many > 0) logs += std::log(distance.many / distance.one);
  }
  // And on the whole no farther at all.
  EXPECT_LE(std::exp(logs / static_cast<double>(apart.size())), 1.2);
}

INSTANTIATE_TEST_SUITE_P(
    Models, CpuSplitTest,
    ::testing::Values(
        SplitCase{"architecture: 'resnet20' activation: ACTIVATION_TANH", kSmall, 16, 2},
        SplitCase{"architecture: 'resnet20' activation: ACTIVATION_TANH", kSmall, 16, 8},
        SplitCase{"architecture: 'resnet20' width: 0.25", {8, 8, 3, 10}, 16, 2, true},
        SplitCase{"architecture: 'resnet20' width: 0.25", {8, 8, 3, 10}, 16, 8, true},
        SplitCase{"architecture: 'vgg11' width: 0.25 activation: ACTIVATION_TANH", kSmall, 16, 4},
        SplitCase{"architecture: 'lenet'", {16, 16, 1, 10}, 12, 3, true},
        SplitCase{"architecture: 'mlp' hidden: [50, 50] activation: ACTIVATION_SIGMOID",
                  {28, 28, 1, 10},
                  32,
                  4}));

class CpuBitsTest : public ::testing::TestWithParam<std::string> {};

TEST_P(CpuBitsTest, AreEqualAtEveryNumberOfProcesses) {
  const auto model =
      MakeModel("architecture: 'resnet20' width: 0.5 dropout: 0.2 norm {" + GetParam() + "}",
                kSmall, MakeCluster(6, {4}));
  const PassSettings settings = SettingsOf(*model);
  const std::vector<Part> parts = UnequalParts(kSmall, {4, 4, 3, 4, 4, 0});
  std::vector<PassResult> first;
  for (int processes : {1, 2, 4, 5, 6}) {
    Cluster cluster(6, processes, Cpu());
    const std::vector<PassResult> results = cluster.Run(*model, settings, parts);
    if (first.empty()) first = results;
    for (size_t r = 0; r < results.size(); ++r) {
      EXPECT_TRUE(SameBits(results[r].logits, first[r].logits)) << processes << " replica " << r;
      EXPECT_TRUE(SameBits(results[r].dimages, first[r].dimages)) << processes << " replica " << r;
      EXPECT_TRUE(SameBits(results[r].gradients, first[r].gradients)) << processes;
      EXPECT_TRUE(SameBits(results[r].moments, first[r].moments)) << processes;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(SyncBatchNorm, CpuBitsTest,
                         ::testing::Values("", "batch {samples: 8}", "batch {samples: 3}",
                                           "batch {scope: NORM_SCOPE_REPLICA}"));

// -- Accuracy of the statistics -----------------------------------------------------------------

TEST(CpuMoments, HoldTheVarianceOfEightReplicasForEveryMeanAndCount) {
  const int64_t channels = 16;
  for (int64_t per_replica : {1, 2, 50}) {
    for (double ratio : {0.0, 1e2, 1e3, 1e4, 1e5}) {
      const NormNet net(1, 1, channels, "affine: false",
                        MakeCluster(8, {static_cast<int>(per_replica)}));
      std::vector<Part> parts;
      std::vector<Tensor> images;
      for (int r = 0; r < 8; ++r) {
        parts.push_back(net.Data(per_replica, std::to_string(r), ratio));
        images.push_back(parts.back().images);
      }
      Cluster cluster(8, 4, Cpu());
      const PassResult joined = Joined(*net.model, cluster.Run(*net.model, net.Settings(), parts));
      const Tensor all = Stacked(images);
      const int64_t count = 8 * per_replica;
      for (int64_t c = 0; c < channels; ++c) {
        long double mean = 0, m2 = 0;
        for (int64_t i = 0; i < count; ++i) mean += all.Data<double>()[i * channels + c];
        mean /= static_cast<long double>(count);
        for (int64_t i = 0; i < count; ++i) {
          const long double d = all.Data<double>()[i * channels + c] - mean;
          m2 += d * d;
        }
        const double expected = static_cast<double>(m2);
        EXPECT_NEAR(joined.moments.Data<double>()[1 + channels + c], expected, 1e-6 * expected)
            << "mean/std " << ratio << ", " << count << " samples, channel " << c;
      }
    }
  }
}

}  // namespace
}  // namespace syncbn::nn
