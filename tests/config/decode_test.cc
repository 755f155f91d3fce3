#include "config/decode.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "syncbn/v1/run.pb.h"

namespace syncbn::config {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

template <typename Message>
Message Decode(const std::string& text, const std::vector<std::string>& overrides = {}) {
  Message message;
  Decoded decoded = DecodeYaml(text, "test.yaml", message, overrides);
  EXPECT_TRUE(decoded.diagnostics.empty()) << decoded.diagnostics.Format("test.yaml");
  return message;
}

template <typename Message>
std::string Faults(const std::string& text) {
  Message message;
  return DecodeYaml(text, "test.yaml", message).diagnostics.Format("test.yaml");
}

TEST(Decode, FillsInDefaultsOfMessagesThatAreNotMentioned) {
  const auto spec = Decode<v1::RunSpec>("data: {dataset: shapes}\nmodel: {architecture: mlp}\n");
  EXPECT_EQ(spec.name(), "run");
  EXPECT_EQ(spec.seed(), 1u);
  EXPECT_EQ(spec.data().shapes().train_samples(), 8192);
  EXPECT_TRUE(spec.data().standardize());
  EXPECT_EQ(spec.data().last_batch(), v1::LAST_BATCH_KEEP);
  EXPECT_EQ(spec.model().norm().kind(), v1::NORM_KIND_BATCH);
  EXPECT_EQ(spec.model().norm().batch().scope(), v1::NORM_SCOPE_GLOBAL);
  EXPECT_EQ(spec.model().norm().running().momentum(), 0.1);
  EXPECT_THAT(spec.model().hidden(), ElementsAre(128, 128));
  EXPECT_EQ(spec.train().learning_rate().schedule(), v1::SCHEDULE_CONSTANT);
  EXPECT_THAT(spec.train().evaluate().with(), ElementsAre(v1::EVALUATION_MODE_RUNNING));
  EXPECT_EQ(spec.output().every_steps(), 1);
}

TEST(Decode, ATextThatIsDecodedAgainIsAsIfItWereReadAgain) {
  const std::string text = "data: {dataset: shapes}\nmodel: {architecture: mlp}\ntrian: 3\n";
  const YamlText parsed(text, "test.yaml");
  for (const std::vector<std::string>& overrides :
       {std::vector<std::string>{"train.epochs=3", "model={architecture: lenet}"},
        {},
        {"train.epochs=-1"}}) {
    v1::RunSpec again, anew;
    const Decoded decoded = parsed.Decode(again, overrides);
    const Decoded expected = DecodeYaml(text, "test.yaml", anew, overrides);
    EXPECT_EQ(again.DebugString(), anew.DebugString());
    EXPECT_EQ(decoded.diagnostics.Format("test.yaml"), expected.diagnostics.Format("test.yaml"));
    EXPECT_THAT(decoded.diagnostics.Format("test.yaml"), HasSubstr("test.yaml:3:1: trian"));
    EXPECT_EQ(decoded.origins.Describe("train.epochs"), expected.origins.Describe("train.epochs"));
  }
}

TEST(Decode, FillsInDefaultsOfFieldsWithoutEffectToo) {
  const auto optimizer = Decode<v1::OptimizerSpec>("kind: adamw");
  EXPECT_EQ(optimizer.trust_coefficient(), 0.001);
  EXPECT_EQ(optimizer.beta2(), 0.999);
}

TEST(Decode, AGivenZeroIsNotReplacedByTheDefault) {
  const auto evaluate = Decode<v1::EvaluateSpec>("every_epochs: 0");
  EXPECT_EQ(evaluate.every_epochs(), 0);
  EXPECT_FALSE(Decode<v1::DataSpec>("{dataset: shapes, shuffle: false}").shuffle());
  EXPECT_EQ(Decode<v1::DataSpec>("{dataset: shapes, prefetch: 0}").prefetch(), 0);
}

TEST(Decode, ReadsEveryMessageOfTheSchemaByItself) {
  const auto cluster = Decode<v1::ClusterSpec>("replicas: 3\nbatch_per_replica: [5, 4, 0]\n");
  EXPECT_THAT(cluster.batch_per_replica(), ElementsAre(5, 4, 0));
  EXPECT_THAT(Faults<v1::ClusterSpec>("replica: 3"), HasSubstr("did you mean `replicas`?"));
}

TEST(Decode, OneBatchStandsForAllReplicas) {
  const auto cluster = Decode<v1::ClusterSpec>("{replicas: 3, batch_per_replica: 16}");
  EXPECT_THAT(cluster.batch_per_replica(), ElementsAre(16, 16, 16));
  EXPECT_THAT(Decode<v1::ClusterSpec>("replicas: 2").batch_per_replica(), ElementsAre(32, 32));
}

TEST(Decode, ShortFormsMeanTheFieldThatAcceptsThem) {
  EXPECT_EQ(Decode<v1::NormSpec>("layer").kind(), v1::NORM_KIND_LAYER);
  const auto norm = Decode<v1::NormSpec>("{batch: 32, running: cumulative}");
  EXPECT_EQ(norm.batch().samples(), 32);
  EXPECT_EQ(norm.batch().scope(), v1::NORM_SCOPE_UNSPECIFIED);
  EXPECT_EQ(norm.running().kind(), v1::RUNNING_KIND_CUMULATIVE);
  const auto other = Decode<v1::NormSpec>("{batch: replica, running: 0.01}");
  EXPECT_EQ(other.batch().scope(), v1::NORM_SCOPE_REPLICA);
  EXPECT_EQ(other.batch().samples(), 0);
  EXPECT_EQ(other.running().kind(), v1::RUNNING_KIND_MOMENTUM);
  EXPECT_EQ(other.running().momentum(), 0.01);
  EXPECT_EQ(Decode<v1::TrainSpec>("learning_rate: 0.5").learning_rate().base(), 0.5);
}

TEST(Decode, ALayerWithoutSettingsIsItsName) {
  const auto model =
      Decode<v1::ModelSpec>("layers: [conv: {out: 8}, norm, relu, max_pool: 3, {tanh: }]");
  ASSERT_EQ(model.layers_size(), 5);
  EXPECT_EQ(model.layers(0).conv().out(), 8);
  EXPECT_TRUE(model.layers(1).has_norm());
  EXPECT_TRUE(model.layers(2).has_relu());
  EXPECT_EQ(model.layers(3).max_pool().kernel(), 3);
  EXPECT_TRUE(model.layers(4).has_tanh());
}

TEST(Decode, ANormOfALayerTakesWhatItDoesNotSayFromModelNorm) {
  const auto spec = Decode<v1::RunSpec>(R"(data: {dataset: shapes}
model:
  layers:
    - norm
    - norm: {epsilon: 1e-3}
    - norm: {batch: replica}
    - norm: {kind: group}
    - residual:
        body: [norm: {running: {momentum: 0.5}}]
  norm: {batch: 64, epsilon: 1e-4, running: 0.2, affine: false, placement: after_activation}
)");
  const auto& layers = spec.model().layers();
  EXPECT_EQ(layers[0].norm().SerializeAsString(), spec.model().norm().SerializeAsString());
  EXPECT_EQ(layers[1].norm().epsilon(), 1e-3);
  EXPECT_EQ(layers[1].norm().batch().samples(), 64);
  EXPECT_FALSE(layers[1].norm().affine());
  EXPECT_EQ(layers[2].norm().batch().scope(), v1::NORM_SCOPE_REPLICA);
  EXPECT_EQ(layers[2].norm().batch().samples(), 0);
  EXPECT_EQ(layers[2].norm().epsilon(), 1e-4);
  EXPECT_EQ(layers[3].norm().kind(), v1::NORM_KIND_GROUP);
  EXPECT_EQ(layers[3].norm().groups(), 32);
  EXPECT_EQ(layers[4].residual().body(0).norm().running().momentum(), 0.5);
  EXPECT_EQ(layers[4].residual().body(0).norm().epsilon(), 1e-4);
}

TEST(Decode, OriginsKnowTheLineOfEveryValue) {
  v1::TrainSpec train;
  const Decoded decoded = DecodeYaml("epochs: 3\noptimizer:\n  momentum: 0.5\n", "a.yaml", train,
                                     std::vector<std::string>{"clip_norm=2"});
  EXPECT_EQ(decoded.origins.Describe("epochs"), "a.yaml:1");
  EXPECT_EQ(decoded.origins.Describe("optimizer.momentum"), "a.yaml:3");
  EXPECT_EQ(decoded.origins.Describe("optimizer.nesterov"), "default");
  EXPECT_EQ(decoded.origins.Describe("clip_norm"), "--set clip_norm=2");
  EXPECT_EQ(decoded.origins.ValueLocation("optimizer.momentum").column(), 13);
  EXPECT_TRUE(decoded.origins.Given("optimizer"));
  EXPECT_FALSE(decoded.origins.Given("learning_rate"));
}

TEST(Decode, NumbersHaveOneMeaning) {
  EXPECT_EQ(Decode<v1::RunSpec>("seed: 18446744073709551615\ndata: {dataset: shapes}\nmodel: {}\n")
                .seed(),
            18446744073709551615u);
  EXPECT_EQ(Decode<v1::TrainSpec>("epochs: +2").epochs(), 2);
  EXPECT_EQ(Decode<v1::TrainSpec>("epochs: .5").epochs(), 0.5);
  EXPECT_EQ(Decode<v1::TrainSpec>("epochs: 5.").epochs(), 5);
  EXPECT_EQ(Decode<v1::TrainSpec>("epochs: 1E+2").epochs(), 100);
  EXPECT_EQ(Decode<v1::TrainSpec>("clip_norm: 0.1").clip_norm(), 0.1);
  EXPECT_FALSE(std::signbit(Decode<v1::TrainSpec>("clip_norm: -0.0").clip_norm()));
  for (const char* text : {"010", "0x1", "0o7", "1_0", "1e400", "1e-400", ".inf", "nan", "--1",
                           "1..2", "e5", ".", "1e", "٣", "1 2"}) {
    EXPECT_THAT(Faults<v1::TrainSpec>(std::string("epochs: ") + text), HasSubstr("1 error"))
        << text;
  }
}

TEST(Decode, TextInQuotationMarksIsText) {
  EXPECT_EQ(Decode<v1::DataSpec>("{dataset: mnist, path: \"a \\\"b\\\" #c\"}").path(),
            "a \"b\" #c");
  EXPECT_EQ(Decode<v1::DataSpec>("{dataset: mnist, path: 'it''s'}").path(), "it's");
  EXPECT_EQ(Decode<v1::DataSpec>("{dataset: \"mnist\", path: \"010\"}").path(), "010");
}

TEST(Decode, WindowsLineEndsAreRead) {
  const auto train = Decode<v1::TrainSpec>("epochs: 3\r\noptimizer:\r\n  momentum: 0.5\r\n");
  EXPECT_EQ(train.epochs(), 3);
  EXPECT_EQ(train.optimizer().momentum(), 0.5);
}

TEST(Decode, OtherEncodingsAreRefused) {
  EXPECT_THAT(Faults<v1::TrainSpec>("\xef\xbb\xbf"
                                    "epochs: 3\n"),
              HasSubstr("byte order mark"));
  EXPECT_THAT(Faults<v1::TrainSpec>("epochs: 3 # \xe9t\xe9\n"),
              HasSubstr("1:13: this is not UTF-8"));
  EXPECT_THAT(Faults<v1::TrainSpec>(std::string("epochs: 3\0\n", 11)),
              HasSubstr("control character"));
  EXPECT_THAT(Faults<v1::TrainSpec>(std::string("\xff\xfe"
                                                "e\0",
                                                4)),
              HasSubstr("not UTF-8"));
}

TEST(Decode, FaultsBeyondAHundredAreCounted) {
  std::string text = "batch_per_replica: [x";
  for (int i = 0; i < 499; ++i) text += ", x";
  Diagnostics diagnostics;
  v1::ClusterSpec cluster;
  const Decoded decoded = DecodeYaml(text + "]", "a.yaml", cluster);
  EXPECT_EQ(decoded.diagnostics.all().size(), 100u);
  EXPECT_THAT(decoded.diagnostics.Format("a.yaml"),
              HasSubstr("500 errors in a.yaml; the first 100 are shown"));
}

// -- Overrides
// ---------------------------------------------------------------------------------------

TEST(Override, ReplacesWhatTheFileSays) {
  const auto cluster = Decode<v1::ClusterSpec>("{replicas: 2, batch_per_replica: [8, 4]}",
                                               {"replicas=3", "batch_per_replica=[1, 2, 3]"});
  EXPECT_THAT(cluster.batch_per_replica(), ElementsAre(1, 2, 3));
}

TEST(Override, GivesWhatTheFileLeavesOut) {
  const auto spec = Decode<v1::RunSpec>(
      "model: {architecture: lenet}",
      {"data.dataset=mnist", "data.path=/m", "model.norm={kind: batch, batch: replica}"});
  EXPECT_EQ(spec.data().dataset(), v1::DATASET_MNIST);
  EXPECT_EQ(spec.model().norm().batch().scope(), v1::NORM_SCOPE_REPLICA);
}

TEST(Override, TheLastOneOfAPathCounts) {
  EXPECT_EQ(Decode<v1::TrainSpec>("epochs: 1", {"epochs=2", "epochs=3"}).epochs(), 3);
}

TEST(Override, AMappingReplacesTheWholeMapping) {
  const auto train = Decode<v1::TrainSpec>("optimizer: {momentum: 0.9, nesterov: true}",
                                           {"optimizer={kind: lars}"});
  EXPECT_EQ(train.optimizer().kind(), v1::OPTIMIZER_KIND_LARS);
  EXPECT_EQ(train.optimizer().momentum(), 0);
  EXPECT_FALSE(train.optimizer().nesterov());
}

TEST(Override, ReachesIntoAShortForm) {
  const auto model = Decode<v1::ModelSpec>("{architecture: resnet20, norm: batch}",
                                           {"norm.batch.samples=16", "norm.epsilon=1e-3"});
  EXPECT_EQ(model.norm().kind(), v1::NORM_KIND_BATCH);
  EXPECT_EQ(model.norm().batch().samples(), 16);
  EXPECT_EQ(model.norm().epsilon(), 1e-3);
}

TEST(Override, TakesTheOtherWayToSayTheSameAway) {
  const auto norm = Decode<v1::NormSpec>("batch: global", {"batch.samples=16"});
  EXPECT_EQ(norm.batch().samples(), 16);
  EXPECT_EQ(norm.batch().scope(), v1::NORM_SCOPE_UNSPECIFIED);
}

TEST(Override, ChangesAnElementOfAList) {
  const std::vector<std::string> sets = {"layers.1.linear.out=7", "layers.0=tanh",
                                         "layers.2.conv={out: 3}"};
  const auto model = Decode<v1::ModelSpec>("layers: [relu, linear: 5, norm]", sets);
  EXPECT_TRUE(model.layers(0).has_tanh());
  EXPECT_EQ(model.layers(1).linear().out(), 7);
  EXPECT_TRUE(model.layers(2).has_conv());
  const auto cluster = Decode<v1::ClusterSpec>("{replicas: 2, batch_per_replica: [8, 4]}",
                                               {"batch_per_replica.1=6"});
  EXPECT_THAT(cluster.batch_per_replica(), ElementsAre(8, 6));
}

TEST(Override, DropsWhatItTakesTheSenseFrom) {
  // An arm of an experiment changes the kind alone.
  const auto norm = Decode<v1::NormSpec>("{kind: batch, batch: 32, running: 0.01}", {"kind=group"});
  EXPECT_EQ(norm.kind(), v1::NORM_KIND_GROUP);
  EXPECT_EQ(norm.batch().samples(), 0);
  EXPECT_EQ(norm.batch().scope(), v1::NORM_SCOPE_GLOBAL);
  EXPECT_EQ(norm.running().momentum(), 0.1);
}

}  // namespace
}  // namespace syncbn::config
