// Batch norm whose statistics cross replicas.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/nn/cluster.h"
#include "tests/nn/norm_support.h"
#include "tests/support/test_device.h"

namespace syncbn::nn {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr double kTolerance = 1e-12;
const std::vector<int64_t> kCounts = {5, 4, 2, 0};

constexpr InputSpec kImages{.height = 4, .width = 4, .channels = 2, .classes = 3};

std::string ConvNet(const std::string& norm) {
  return "norm {" + norm +
         "} layers {conv {out: 3 padding: 1}} layers {norm {}} layers {tanh {}}"
         "layers {residual {body {conv {out: 4 stride: 2 padding: 1}} body {norm {}}"
         "                  shortcut {conv {out: 4 stride: 2 kernel: 1}} shortcut {norm {}}}}"
         "layers {relu {}} layers {global_average_pool {}} layers {norm {}} layers {linear {out: "
         "3}}";
}

v1::ClusterSpec FourReplicas() {
  return MakeCluster(4, {5, 4, 2, 0});
}

PassSettings SettingsOf(const Model& model, Mode mode = Mode::kTrain) {
  return {.parameters = RandomParameters(model),
          .running_statistics = RandomRunningStatistics(model),
          .mode = mode};
}

void ExpectSame(const PassResult& actual, const PassResult& expected) {
  EXPECT_TRUE(Near(actual.logits, expected.logits, kTolerance));
  EXPECT_TRUE(Near(actual.dimages, expected.dimages, kTolerance));
  EXPECT_TRUE(Near(actual.gradients, expected.gradients, kTolerance));
  EXPECT_TRUE(Near(actual.moments, expected.moments, kTolerance));
}

TEST(SyncBatchNorm, EqualsBatchNormOverAllReplicas) {
  const auto synchronized = MakeModel(ConvNet(""), kImages, FourReplicas());
  const auto plain = MakeModel(ConvNet(""), kImages);
  ASSERT_TRUE(synchronized->statistics_cross_replicas());
  ASSERT_FALSE(plain->statistics_cross_replicas());
  const PassSettings settings = SettingsOf(*plain);
  const PassResult whole =
      RunPass(*plain, settings, StackedParts(UnequalParts(kImages, {5, 4, 2, 0})));
  for (const std::vector<int64_t>& counts :
       {kCounts, std::vector<int64_t>{0, 0, 11, 0}, std::vector<int64_t>{1, 1, 1, 8}}) {
    // The same eleven samples, cut in other places.
    const Part all = StackedParts(UnequalParts(kImages, {5, 4, 2, 0}));
    std::vector<Part> parts;
    int64_t begin = 0;
    for (int64_t count : counts) {
      parts.push_back({.images = all.images.Rows(begin, begin + count),
                       .dlogits = all.dlogits.Rows(begin, begin + count)});
      begin += count;
    }
    Cluster cluster(4, 2);
    ExpectSame(Joined(*synchronized, cluster.Run(*synchronized, settings, parts)), whole);
  }
}

// The gradient of a convolution is computed while the sums of the norm before it are under way, and
// nothing but the time at which it is computed is another.
TEST(SyncBatchNorm, WeightsGradientsWaitForTheTimeOfAMessage) {
  const auto model = MakeModel(
      "norm {} layers {conv {out: 3 padding: 1}} layers {norm {}} layers {relu {}}"
      "layers {conv {out: 4 padding: 1}} layers {norm {}} layers {relu {}}"
      "layers {global_average_pool {}} layers {linear {out: 3}}",
      kImages, MakeCluster(2, {4, 4}));
  PassSettings settings = SettingsOf(*model);
  const std::vector<Part> parts = UnequalParts(kImages, {4, 4});
  Cluster deferring(2, 2), at_once(2, 2);
  const std::vector<PassResult> late = deferring.Run(*model, settings, parts);
  settings.defer = false;
  const std::vector<PassResult> early = at_once.Run(*model, settings, parts);
  const std::vector<std::string> names = ParameterNames(*model);
  for (size_t replica = 0; replica < 2; ++replica) {
    EXPECT_EQ(MaxDifference(late[replica].gradients, early[replica].gradients), 0);
    EXPECT_EQ(MaxDifference(late[replica].dimages, early[replica].dimages), 0);
    ASSERT_EQ(late[replica].ready.size(), names.size());
    ASSERT_EQ(early[replica].ready.size(), names.size());
    for (size_t i = 0; i < names.size(); ++i) {
      const ReadyGradient a = late[replica].ready[i], b = early[replica].ready[i];
      // In backward order either way.
      EXPECT_EQ(a.parameter, static_cast<int>(names.size() - 1 - i));
      EXPECT_EQ(a.parameter, b.parameter);
      const std::string& name = names[static_cast<size_t>(a.parameter)];
      // Those of a norm are complete after its message has gone in any case; before the first
      // convolution there is no norm whose message it could wait for.
      if (name == "3.weight" || name.starts_with("7.")) {
        EXPECT_GT(a.messages, b.messages) << name;
      } else {
        EXPECT_EQ(a.messages, b.messages) << name;
      }
    }
  }
}

TEST(SyncBatchNorm, GradientsAcrossReplicasMatchDifferences) {
  const auto model = MakeModel(ConvNet(""), kImages, FourReplicas());
  const PassSettings settings = SettingsOf(*model);
  const std::vector<Part> parts = UnequalParts(kImages, kCounts);
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
                             {.step = 1e-5, .tolerance = 1e-6, .max_elements = 12}));
}

TEST(SyncBatchNorm, OneLayerMatchesDifferencesInEveryInput) {
  const NormNet net(1, 2, 2, "", FourReplicas());
  const PassSettings settings = net.Settings();
  const std::vector<Part> parts = UnequalParts(net.input, kCounts);
  Cluster cluster(4, 1);
  const std::vector<PassResult> results = cluster.Run(*net.model, settings, parts);
  std::vector<Tensor> gradients = {Tensor(), Tensor()};
  for (const PassResult& result : results) gradients.push_back(result.dimages);
  PassSettings forward = settings;
  forward.backward = false;
  const auto loss = [&](std::span<const Tensor>) {
    const std::vector<PassResult> moved = cluster.Run(*net.model, forward, parts);
    double sum = 0;
    for (size_t r = 0; r < parts.size(); ++r) sum += Dot(moved[r].logits, parts[r].dlogits);
    return sum;
  };
  EXPECT_TRUE(
      GradientsMatch(loss, CheckedInputs(*net.model, settings.parameters, parts), gradients));
}

TEST(SyncBatchNorm, AGroupIsABatchOfItsOwn) {
  // Groups of two replicas: 5 + 4 and 2 + 7.
  const v1::ClusterSpec four = MakeCluster(4, {5, 4, 2, 7});
  const auto grouped = MakeModel(ConvNet("batch {samples: 9}"), kImages, four);
  const auto plain = MakeModel(ConvNet(""), kImages);
  const PassSettings settings = SettingsOf(*plain);
  const std::vector<Part> parts = UnequalParts(kImages, {5, 4, 2, 7});
  Cluster cluster(4, 2);
  const std::vector<PassResult> results = cluster.Run(*grouped, settings, parts);
  for (size_t group : {0, 1}) {
    const size_t first = 2 * group;
    ExpectSame(Joined(*grouped, {results[first], results[first + 1]}),
               RunPass(*plain, settings, StackedParts({parts[first], parts[first + 1]})));
  }
}

TEST(SyncBatchNorm, AGroupWithoutSamplesWorks) {
  const auto grouped = MakeModel(ConvNet("batch {samples: 8}"), kImages, MakeCluster(4, {4}));
  const auto plain = MakeModel(ConvNet(""), kImages);
  const PassSettings settings = SettingsOf(*plain);
  // The last batch of an epoch: five samples are left.
  const std::vector<Part> parts = UnequalParts(kImages, {3, 2, 0, 0});
  Cluster cluster(4, 2);
  const std::vector<PassResult> results = cluster.Run(*grouped, settings, parts);
  ExpectSame(Joined(*grouped, results),
             RunPass(*plain, settings, StackedParts({parts[0], parts[1]})));
  EXPECT_EQ(MaxAbsolute(results[3].gradients), 0);
}

TEST(SyncBatchNorm, RunningStatisticsAreThoseOfOneReplicaWithAllSamples) {
  // Whatever the normalization batch: the moments of all samples of the step are merged.
  const auto plain = MakeModel("layers {norm {}} layers {flatten {}}", {2, 2, 2, 8});
  const PassSettings settings = SettingsOf(*plain);
  const std::vector<Part> parts = UnequalParts(plain->input(), {4, 4, 4, 4});
  const auto updated = [&](const Model& model, const PassResult& result) {
    return UpdatedOnHost(model.running_statistics(), model.running_rule(),
                         settings.running_statistics, result.moments);
  };
  const Tensor expected = updated(*plain, RunPass(*plain, settings, StackedParts(parts)));
  for (const char* batch : {"scope: NORM_SCOPE_GLOBAL", "scope: NORM_SCOPE_REPLICA", "samples: 8",
                            "samples: 3", "samples: 1"}) {
    const auto model =
        MakeModel("layers {norm {batch {" + std::string(batch) + "}}} layers {flatten {}}",
                  plain->input(), MakeCluster(4, {4}));
    Cluster cluster(4, 2);
    EXPECT_TRUE(Near(updated(*model, Joined(*model, cluster.Run(*model, settings, parts))),
                     expected, kTolerance))
        << batch;
  }
}

TEST(SyncBatchNorm, SendsOneMessageALayerAndPass) {
  const auto count = [](const std::string& norm, Mode mode) {
    const auto model = MakeModel(ConvNet(norm), kImages, MakeCluster(2, {4}));
    Cluster cluster(2, 2);
    return cluster.Run(*model, SettingsOf(*model, mode), UnequalParts(kImages, {4, 4}))[1]
        .statistics_messages;
  };
  EXPECT_EQ(count("", Mode::kTrain), 2 * 4);
  EXPECT_EQ(count("", Mode::kBatchStatistics), 4);
  EXPECT_EQ(count("", Mode::kEvaluate), 0);
  EXPECT_EQ(count("running {kind: RUNNING_KIND_NONE}", Mode::kEvaluate), 4);
  EXPECT_EQ(count("batch {scope: NORM_SCOPE_REPLICA}", Mode::kTrain), 0);
  EXPECT_EQ(count("batch {samples: 3}", Mode::kTrain), 0);
  EXPECT_EQ(count("kind: NORM_KIND_GROUP groups: 1", Mode::kTrain), 0);
}

TEST(SyncBatchNorm, WithoutTheReplicasItWasBuiltForSaysSo) {
  const auto model = MakeModel(ConvNet(""), kImages, FourReplicas());
  const PassSettings settings = SettingsOf(*model);
  EXPECT_THAT(
      ErrorOf([&] { RunPass(*model, settings, RandomPart(kImages, 3, "x")); }),
      AllOf(HasSubstr("shared by 4 replicas"), HasSubstr("no reducer"), HasSubstr("layer 1")));
  Cluster cluster(2, 1);
  EXPECT_THAT(ErrorOf([&] {
                cluster.Run(*model, settings, UnequalParts(kImages, {3, 3}));
              }),
              AllOf(HasSubstr("shared by 4 replicas"), HasSubstr("there are 2")));
}

TEST(SyncBatchNorm, AFailingReplicaFailsTheOthersNamingTheLayerTheyWaitedIn) {
  const auto model = MakeModel(ConvNet(""), kImages, MakeCluster(2, {3}));
  const PassSettings settings = SettingsOf(*model);
  const auto backend = backend::OnTestDevice(backend::MakeReferenceBackend);
  InProcessReducers reducers(2, {.replicas = 2, .backend = backend.get()});
  std::vector<Error> errors;
  RunReplicas(
      reducers,
      [&](comm::ReplicaLink link) {
        if (link.replica == 1) throw Error(ErrorCode::kDataLoss, "image 7 is damaged");
        const auto executor = backend->MakeExecutor();
        PassSettings own = settings;
        own.link = link;
        RunPass(*model, *executor, own, RandomPart(kImages, 3, "x"));
      },
      errors);
  ASSERT_EQ(errors.size(), 2u);
  const Error& waiting = errors[1];
  EXPECT_EQ(waiting.code(), ErrorCode::kAborted) << waiting.what();
  EXPECT_THAT(waiting.what(), AllOf(HasSubstr("image 7 is damaged"), HasSubstr("layer 1")));
}

// -- Equal bits ---------------------------------------------------------------------------------

class EqualBitsTest : public ::testing::TestWithParam<std::tuple<int, std::string>> {};

TEST_P(EqualBitsTest, AtEveryNumberOfProcesses) {
  const auto& [replicas, norm] = GetParam();
  const InputSpec input{.height = 8, .width = 8, .channels = 3, .classes = 4};
  const auto model =
      MakeModel("architecture: 'resnet20' width: 0.25 dropout: 0.2 norm {" + norm + "}", input,
                MakeCluster(replicas, {4}));
  const PassSettings settings = SettingsOf(*model);
  // The last batch of an epoch: unequal, and one replica is empty.
  std::vector<int64_t> counts(static_cast<size_t>(replicas), 4);
  counts[1] = 3;
  counts.back() = 0;
  const std::vector<Part> parts = UnequalParts(input, counts);
  std::vector<PassResult> first;
  for (int processes = 1; processes <= replicas; ++processes) {
    Cluster cluster(replicas, processes);
    const std::vector<PassResult> results = cluster.Run(*model, settings, parts);
    if (processes == 1) {
      first = results;
      continue;
    }
    for (size_t r = 0; r < results.size(); ++r) {
      EXPECT_TRUE(SameBits(results[r].logits, first[r].logits)) << processes << " replica " << r;
      EXPECT_TRUE(SameBits(results[r].dimages, first[r].dimages)) << processes << " replica " << r;
      EXPECT_TRUE(SameBits(results[r].gradients, first[r].gradients)) << processes;
      EXPECT_TRUE(SameBits(results[r].moments, first[r].moments)) << processes;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    SyncBatchNorm, EqualBitsTest,
    ::testing::Combine(::testing::Values(4, 6),
                       ::testing::Values("", "batch {samples: 8}", "batch {samples: 3}",
                                         "batch {scope: NORM_SCOPE_REPLICA}",
                                         "noise {shift: 0.5 scale: 1.25 spread: 0.1}",
                                         "kind: NORM_KIND_BATCH_RENORM",
                                         "kind: NORM_KIND_BATCH_RENORM batch {samples: 8}",
                                         "kind: NORM_KIND_ITERATIVE group_channels: 3",
                                         "kind: NORM_KIND_ITERATIVE batch {samples: 8}",
                                         "kind: NORM_KIND_ITERATIVE batch {samples: 3}")));

}  // namespace
}  // namespace syncbn::nn
