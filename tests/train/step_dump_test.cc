#include "train/step_dump.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/full_disk.h"
#include "tests/support/temp_folder.h"
#include "tests/train/parts_support.h"
#include "train/safetensors.h"
#include "train/tensor_names.h"

namespace syncbn::train {
namespace {

class StepDumpTest : public testing::Test {
 protected:
  StepDumpTest() {
    dump_ = {.step = 7,
             .epoch = 1,
             .learning_rate = 0.1,
             .loss = 1.0 / 3,
             .gradient_scale = 0.5,
             .images = Tensor::Zeros({3, 4, 5, 2}, DType::kFloat32),
             .labels = Tensor::Zeros({3}, DType::kInt32),
             .replica = Tensor::Zeros({3}, DType::kInt32),
             .sample_ids = Tensor::Zeros({3}, DType::kInt64),
             .dropouts = {{"drop1", Tensor::Zeros({3, 2, 2, 2}, DType::kFloat64)},
                          {"drop2", Tensor::Zeros({3, 6}, DType::kFloat32)}},
             .logits = Tensor::Zeros({3, 10}, DType::kFloat32),
             .gradients = Ramp(model_.parameters, DType::kFloat32, 200),
             .before = State(0, 5),
             .after = State(100, 6),
             .notes = {{"run", "demo"}}};
    // Sample 1, row 2, column 3, channel 1.
    dump_.images.Span<float>()[((1 * 4 + 2) * 5 + 3) * 2 + 1] = 2.5f;
    // Sample 2, row 0, column 1, channel 1.
    dump_.dropouts[0].tensor.Span<double>()[((2 * 2 + 0) * 2 + 1) * 2 + 1] = 1.25;
    dump_.dropouts[1].tensor.Span<float>()[7] = 2;
    dump_.logits.Span<float>()[12] = -3;
    dump_.replica.Span<int32_t>()[2] = 1;
    dump_.sample_ids.Span<int64_t>()[1] = int64_t{1} << 40;
    dump_.after.running_statistics.Span<double>()[0] = 0.75;
  }

  TrainingState State(double first, int64_t updates) const {
    return {.parameters = Ramp(model_.parameters, DType::kFloat32, first),
            .running_statistics = nn::InitialRunningStatistics(model_.running_statistics),
            .optimizer = {.slots = {Ramp(model_.parameters, DType::kFloat32, first + 1000)},
                          .updates = UpdateCount(updates)}};
  }
  static v1::OptimizerSpec Momentum() {
    v1::OptimizerSpec spec;
    spec.set_kind(v1::OPTIMIZER_KIND_SGD);
    spec.set_momentum(0.9);
    return spec;
  }

  SmallModel model_;
  const Optimizer optimizer_{Momentum(), model_.parameters};
  const TensorLayouts layouts_{&model_.parameters, &model_.running_statistics, &optimizer_};
  StepDump dump_;
  TempFolder folder_;
};

TEST_F(StepDumpTest, HoldsTheBatchAndEverythingAroundTheStep) {
  const auto path = WriteStepDump(folder_.path(), layouts_, dump_);
  EXPECT_EQ(path, folder_.path() / "steps/000007.safetensors");
  const SafetensorsFile file = ReadSafetensors(path);
  std::map<std::string, Tensor> tensors;
  for (const NamedTensor& entry : file.tensors) tensors[entry.name] = entry.tensor;
  // 4 of the input, 2 of dropout, logits; 6 parameters three times; their velocity and 3 running
  // statistics twice.
  EXPECT_EQ(tensors.size(), 4u + 2 + 1 + 3 * 6 + 2 * (6 + 3));
  ASSERT_EQ(tensors["input.images"].shape(), Shape({3, 2, 4, 5}));
  EXPECT_EQ(tensors["input.images"].Span<float>()[((1 * 2 + 1) * 4 + 2) * 5 + 3], 2.5f);
  ASSERT_EQ(tensors["dropout.drop1"].shape(), Shape({3, 2, 2, 2}));
  EXPECT_EQ(tensors["dropout.drop1"].Span<double>()[((2 * 2 + 1) * 2 + 0) * 2 + 1], 1.25);
  ASSERT_EQ(tensors["dropout.drop2"].shape(), Shape({3, 6}));
  EXPECT_EQ(tensors["dropout.drop2"].Span<float>()[7], 2);
  ASSERT_EQ(tensors["output.logits"].shape(), Shape({3, 10}));
  EXPECT_EQ(tensors["output.logits"].Span<float>()[12], -3);
  EXPECT_EQ(tensors["input.labels"].dtype(), DType::kInt32);
  EXPECT_EQ(tensors["input.replica"].Span<int32_t>()[2], 1);
  EXPECT_EQ(tensors["input.sample_ids"].Span<int64_t>()[1], int64_t{1} << 40);
  EXPECT_EQ(tensors["before.conv1.weight"].shape(), Shape({2, 1, 3, 3}));
  EXPECT_EQ(tensors["before.conv1.weight"].Span<float>()[1], 1);
  EXPECT_EQ(tensors["after.bn1.weight"].Span<float>()[0], 118);
  EXPECT_EQ(tensors["gradient.fc.bias"].Span<float>()[2], 233);
  EXPECT_EQ(tensors["before.optimizer.velocity.conv1.weight"].Span<float>()[1], 1001);
  EXPECT_EQ(tensors["after.optimizer.velocity.conv1.weight"].Span<float>()[1], 1101);
  EXPECT_EQ(tensors["before.bn1.running_mean"].Span<double>()[0], 0);
  EXPECT_EQ(tensors["after.bn1.running_mean"].Span<double>()[0], 0.75);
  EXPECT_EQ(tensors["after.bn1.num_batches_tracked"].shape(), Shape());
  EXPECT_FALSE(tensors.contains("gradient.bn1.running_mean"));

  const std::map<std::string, std::string> metadata{
      {"accepted", "true"},
      {"digest", StateDigest(model_.parameters, model_.running_statistics, dump_.after.parameters,
                             dump_.after.running_statistics)
                     .Hex()},
      {"epoch", "1"},
      {"gradient_scale", "0.5"},
      {"learning_rate", "0.1"},
      {"loss", "0.3333333333333333"},
      {"optimizer_updates", "5"},
      {"run", "demo"},
      {"step", "7"}};
  EXPECT_EQ(file.metadata, metadata);
}

TEST_F(StepDumpTest, AFullDiskLeavesNoFile) {
  FileSizeLimit full(64);
  EXPECT_EQ(ErrorOf([&] { WriteStepDump(folder_.path(), layouts_, dump_); }),
            "RESOURCE_EXHAUSTED: cannot write " +
                (folder_.path() / "steps/000007.safetensors").string() + ": File too large");
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path() / "steps"));
}

}  // namespace
}  // namespace syncbn::train
