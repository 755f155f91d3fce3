#include "train/step_dump.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/temp_folder.h"
#include "tests/train/full_disk.h"
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
             .images = Tensor::Zeros({3, 4, 4, 2}, DType::kFloat32),
             .labels = Tensor::Zeros({3}, DType::kInt32),
             .replica = Tensor::Zeros({3}, DType::kInt32),
             .sample_ids = Tensor::Zeros({3}, DType::kInt64),
             .parameters_before = Ramp(model_.parameters, DType::kFloat32, 0),
             .parameters_after = Ramp(model_.parameters, DType::kFloat32, 100),
             .gradients = Ramp(model_.parameters, DType::kFloat32, 200),
             .running_before = nn::InitialState(model_.running),
             .running_after = nn::InitialState(model_.running),
             .notes = {{"run", "demo"}}};
    dump_.images.Span<float>()[5] = 2.5f;
    dump_.replica.Span<int32_t>()[2] = 1;
    dump_.sample_ids.Span<int64_t>()[1] = int64_t{1} << 40;
    dump_.running_after.Span<double>()[0] = 0.75;
  }

  SmallModel model_;
  StepDump dump_;
  TempFolder folder_;
};

TEST_F(StepDumpTest, HoldsTheBatchAndEverythingAroundTheStep) {
  const auto path = WriteStepDump(folder_.path(), model_.parameters, model_.running, dump_);
  EXPECT_EQ(path, folder_.path() / "steps/000007.safetensors");
  const SafetensorsFile file = ReadSafetensors(path);
  std::map<std::string, Tensor> tensors;
  for (const NamedTensor& entry : file.tensors) tensors[entry.name] = entry.tensor;
  // 4 of the input, 6 parameters three times, 3 running statistics twice.
  EXPECT_EQ(tensors.size(), 4u + 3 * 6 + 2 * 3);
  EXPECT_EQ(tensors["input.images"].shape(), Shape({3, 4, 4, 2}));
  EXPECT_EQ(tensors["input.images"].Span<float>()[5], 2.5f);
  EXPECT_EQ(tensors["input.labels"].dtype(), DType::kInt32);
  EXPECT_EQ(tensors["input.replica"].Span<int32_t>()[2], 1);
  EXPECT_EQ(tensors["input.sample_ids"].Span<int64_t>()[1], int64_t{1} << 40);
  EXPECT_EQ(tensors["before.conv1.weight"].shape(), Shape({2, 1, 3, 3}));
  EXPECT_EQ(tensors["before.conv1.weight"].Span<float>()[1], 1);
  EXPECT_EQ(tensors["after.bn1.weight"].Span<float>()[0], 118);
  EXPECT_EQ(tensors["gradient.fc.bias"].Span<float>()[2], 233);
  EXPECT_EQ(tensors["before.bn1.running_mean"].Span<double>()[0], 0);
  EXPECT_EQ(tensors["after.bn1.running_mean"].Span<double>()[0], 0.75);
  EXPECT_EQ(tensors["after.bn1.num_batches_tracked"].shape(), Shape());
  EXPECT_FALSE(tensors.contains("gradient.bn1.running_mean"));

  const std::map<std::string, std::string> metadata{
      {"accepted", "true"},
      {"digest",
       StateDigest(model_.parameters, model_.running, dump_.parameters_after, dump_.running_after)
           .Hex()},
      {"epoch", "1"},
      {"gradient_scale", "0.5"},
      {"learning_rate", "0.1"},
      {"loss", "0.3333333333333333"},
      {"run", "demo"},
      {"step", "7"}};
  EXPECT_EQ(file.metadata, metadata);
}

TEST_F(StepDumpTest, AFullDiskLeavesNoFile) {
  FileSizeLimit full(64);
  EXPECT_EQ(
      ErrorOf([&] { WriteStepDump(folder_.path(), model_.parameters, model_.running, dump_); }),
      "RESOURCE_EXHAUSTED: cannot write " + (folder_.path() / "steps/000007.safetensors").string() +
          ": File too large");
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path() / "steps"));
}

}  // namespace
}  // namespace syncbn::train
