#include "train/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/train/parts_support.h"
#include "train/tensor_names.h"

namespace syncbn::train {
namespace {

Manifest ExampleManifest() {
  return {.counters = {.step = 1234, .epoch = 3, .samples = 157952, .skipped_steps = 2},
          .optimizer_updates = 1232,
          .test_accuracy = 0.1 + 0.2,
          .attempt = 4,
          .figures = {{"loss", 1.0 / 3}, {"nan", std::numeric_limits<double>::quiet_NaN()}},
          .run_file = "name: \"x\"\nseed: 1\n",
          .state_digest = {.high = 1, .low = 2},
          .files = {{"model.safetensors", {.high = 3, .low = 4}}},
          .environment = {{"oneDNN", "2.6.3"}},
          .environment_changes = {{.step = 7, .what = "back end: b, the checkpoint has a"}},
          .created = "2026-01-31T12:34:56.789012Z"};
}

TEST(Manifest, ReadsBackAsItWas) {
  const Manifest written = ExampleManifest();
  const Manifest read = Manifest::FromJson(written.ToJson(), "m");
  EXPECT_EQ(read.counters.step, 1234);
  EXPECT_EQ(read.counters.epoch, 3);
  EXPECT_EQ(read.counters.samples, 157952);
  EXPECT_EQ(read.counters.skipped_steps, 2);
  EXPECT_EQ(read.optimizer_updates, 1232);
  EXPECT_EQ(read.test_accuracy, 0.1 + 0.2);
  EXPECT_EQ(read.attempt, 4);
  EXPECT_EQ(read.figures.at("loss"), 1.0 / 3);
  EXPECT_TRUE(std::isnan(read.figures.at("nan")));
  EXPECT_EQ(read.run_file, written.run_file);
  EXPECT_EQ(read.state_digest, written.state_digest);
  EXPECT_EQ(read.files, written.files);
  EXPECT_EQ(read.environment_changes, written.environment_changes);
  EXPECT_EQ(read.environment, written.environment);
  EXPECT_EQ(read.created, written.created);
  EXPECT_EQ(read.ToJson(), written.ToJson());
}

TEST(Manifest, ARunWithoutEvaluationHasNoAccuracy) {
  Manifest manifest = ExampleManifest();
  manifest.test_accuracy.reset();
  EXPECT_EQ(Manifest::FromJson(manifest.ToJson(), "m").test_accuracy, std::nullopt);
}

TEST(Manifest, ARunFileThatIsNotUtf8IsNoObstacle) {
  Manifest manifest = ExampleManifest();
  manifest.run_file = "path: /data/\xff";
  EXPECT_EQ(Manifest::FromJson(manifest.ToJson(), "m").run_file, "path: /data/\uFFFD");
}

TEST(Manifest, DamageIsNamed) {
  const std::string whole = ExampleManifest().ToJson();
  auto damage = [](const std::string& text) {
    return ErrorOf([&] { Manifest::FromJson(text, "manifest.json"); });
  };
  EXPECT_EQ(damage(""), "DATA_LOSS: manifest.json is damaged: it is not JSON (at byte 1)");
  EXPECT_EQ(damage("{}"),
            "DATA_LOSS: manifest.json is damaged: an entry is missing or of the wrong type");
  EXPECT_EQ(damage("[1]"),
            "DATA_LOSS: manifest.json is damaged: an entry is missing or of the wrong type");
  EXPECT_EQ(damage(R"({"format":"syncbn checkpoint 3"})"),
            "DATA_LOSS: manifest.json is damaged: its format is 'syncbn checkpoint 3', not 'syncbn "
            "checkpoint 2'");
  std::string changed = whole;
  changed.replace(changed.find("1234"), 4, "1235");
  EXPECT_EQ(damage(changed),
            "DATA_LOSS: manifest.json is damaged: its content does not match its digest");
  for (size_t length = 0; length + 2 < whole.size(); ++length) {
    EXPECT_TRUE(damage(whole.substr(0, length)).starts_with("DATA_LOSS")) << length;
  }
}

class RestoreTest : public testing::Test {
 protected:
  RestoreTest() {
    spec_.set_kind(v1::OPTIMIZER_KIND_ADAMW);
    optimizer_.emplace(spec_, model_.parameters);
    layouts_ = {&model_.parameters, &model_.running_statistics, &*optimizer_};
    state_ = {.parameters = Ramp(model_.parameters, DType::kFloat32, 1, 0.1),
              .running_statistics = nn::InitialRunningStatistics(model_.running_statistics),
              .optimizer = {.slots = {Ramp(model_.parameters, DType::kFloat32, 7),
                                      Ramp(model_.parameters, DType::kFloat32, 9)},
                            .updates = UpdateCount(17)}};
    for (double& value : state_.running_statistics.Span<double>()) value += 2;
    manifest_.optimizer_updates = 17;
    manifest_.state_digest = StateDigest(model_.parameters, model_.running_statistics,
                                         state_.parameters, state_.running_statistics);
  }

  SmallModel model_;
  v1::OptimizerSpec spec_;
  std::optional<Optimizer> optimizer_;
  TensorLayouts layouts_;
  TrainingState state_;
  Manifest manifest_;
};

TEST_F(RestoreTest, GivesTheSameStateInOwnMemory) {
  const TrainingState restored = RestoreState(layouts_, DType::kFloat32, manifest_,
                                              CheckpointTensors(layouts_, state_).All(), "X");
  EXPECT_TRUE(std::ranges::equal(restored.parameters.Bytes(), state_.parameters.Bytes()));
  EXPECT_TRUE(
      std::ranges::equal(restored.running_statistics.Bytes(), state_.running_statistics.Bytes()));
  ASSERT_EQ(restored.optimizer.slots.size(), 2u);
  for (int slot : {0, 1}) {
    EXPECT_TRUE(std::ranges::equal(restored.optimizer.slots[slot].Bytes(),
                                   state_.optimizer.slots[slot].Bytes()));
  }
  EXPECT_EQ(UpdatesOf(restored.optimizer), 17);
  EXPECT_NE(restored.parameters.Data<float>(), state_.parameters.Data<float>());
}

TEST_F(RestoreTest, AnotherModelIsRefusedByName) {
  const std::vector<NamedTensor> tensors = CheckpointTensors(layouts_, state_).All();
  SmallModel other;
  other.parameters.Add({.name = "extra.weight", .shape = {4}});
  const Optimizer optimizer(spec_, other.parameters);
  EXPECT_EQ(ErrorOf([&] {
              RestoreState({&other.parameters, &other.running_statistics, &optimizer},
                           DType::kFloat32, manifest_, tensors, "OUT/checkpoints/step-00000017");
            }),
            "FAILED_PRECONDITION: OUT/checkpoints/step-00000017 does not fit the model of the run "
            "file; missing: extra.weight [4] F32, optimizer.mean.extra.weight [4] F32, "
            "optimizer.square.extra.weight [4] F32");
}

TEST_F(RestoreTest, AnotherElementTypeIsRefused) {
  EXPECT_EQ(
      ErrorOf([&] {
        RestoreState(layouts_, DType::kFloat64, manifest_,
                     CheckpointTensors(layouts_, state_).All(), "X");
      }),
      "FAILED_PRECONDITION: X does not fit the model of the run file; different: conv1.weight "
      "is [2, 1, 3, 3] F32 but must be [2, 1, 3, 3] F64, bn1.weight is [2] F32 but must be "
      "[2] F64, bn1.bias is [2] F32 but must be [2] F64, fc.weight_g is [3] F32 but must be "
      "[3] F64 and 14 more");
}

TEST_F(RestoreTest, AStateWithAnotherDigestIsRefused) {
  const Digest digest = manifest_.state_digest;
  manifest_.state_digest.low ^= 1;
  EXPECT_EQ(ErrorOf([&] {
              RestoreState(layouts_, DType::kFloat32, manifest_,
                           CheckpointTensors(layouts_, state_).All(), "X");
            }),
            "DATA_LOSS: X is damaged: parameters and running statistics have digest " +
                digest.Hex() + ", its manifest says " + manifest_.state_digest.Hex());
}

TEST(CheckContinues, RefusesDifferencesAndNamesThem) {
  EXPECT_NO_THROW(CheckContinues({}, "X"));
  EXPECT_EQ(ErrorOf([] {
              CheckContinues({"seed: 2, the checkpoint has 1",
                              "model.architecture: lenet, the "
                              "checkpoint has mlp"},
                             "OUT/checkpoints/step-00000017");
            }),
            "FAILED_PRECONDITION: OUT/checkpoints/step-00000017 cannot be continued with this run "
            "file, which differs in what changes the result:\n"
            "  seed: 2, the checkpoint has 1\n"
            "  model.architecture: lenet, the checkpoint has mlp\n"
            "Use the run file of the checkpoint, or start a new run in another folder");
}

}  // namespace
}  // namespace syncbn::train
