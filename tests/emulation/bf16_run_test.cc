// Whole runs with `precision: bf16` on the emulated GPU, as library calls.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "backend/cuda/cuda_backend.h"
#include "base/file.h"
#include "tests/support/in_process_run.h"
#include "tests/support/small_run.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_device.h"

namespace syncbn {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

[[maybe_unused]] const bool on_the_emulated_gpu = [] {
  ::setenv("SYNCBN_TEST_DEVICE", "emulated", 1);
  backend::make_emulated_backend = [] { return backend::cuda::MakeBackend(); };
  return true;
}();

v1::RunSpec SpecOf(const std::string& text, v1::Precision precision, int steps) {
  v1::RunSpec spec = RunSpecFromYaml(text);
  spec.set_precision(precision);
  spec.mutable_train()->set_max_steps(steps);
  return spec;
}

// With dropout, clipping and empty replicas; every probe looks at a step, and a step is dumped.
TEST(Bf16Run, BitsAreEqualOn1And2And4ProcessesWithProbesAndWithout) {
  v1::RunSpec spec = SpecOf(SmallRun(4, 11, "global"), v1::PRECISION_BF16, 4);
  const InProcessRunResult alone = RunInProcess(spec, {});
  for (const int processes : {2, 4}) {
    const InProcessRunResult together = RunInProcess(spec, {.processes = processes});
    EXPECT_EQ(together.summary.digest, alone.summary.digest) << processes << " processes";
  }
  TempFolder folder;
  spec = SpecOf(SmallRun(4, 11, "global",
                         "probes: {noise_scale: 3, moments: 3, activations: 3,\n"
                         "         running_error: {every_steps: 3, samples: 40},\n"
                         "         landscape: {every_steps: 3, points: 2}, covariate_shift: 3,\n"
                         "         correlation: 3, hessian: {every_steps: 3, iterations: 2}}\n"),
                v1::PRECISION_BF16, 4);
  const InProcessRunResult probed = RunInProcess(
      spec,
      {.processes = 2, .out = folder.path(), .adjust = [](int, train::TrainerOptions& options) {
         options.dump_from = 2;
         options.dump_steps = 1;
       }});
  EXPECT_EQ(probed.summary.digest, alone.summary.digest);
  const std::string dump = ReadFile(folder.path() / "steps" / "000002.safetensors");
  EXPECT_THAT(dump, HasSubstr("output.logits"));
  EXPECT_THAT(dump, Not(HasSubstr("BF16"))) << "a tensor that others may not know";
}

// A small net of what there is, that learns in a hundred steps.
constexpr const char* kSmallNet =
    "data: {dataset: shapes, shapes: {train_samples: 128, test_samples: 64}}\n"
    "model:\n"
    "  norm: {batch: global}\n"
    "  layers:\n"
    "    - conv: {out: 8, kernel: 5, stride: 4, padding: 2}\n"
    "    - norm\n"
    "    - relu\n"
    "    - residual:\n"
    "        body:\n"
    "          - conv: {out: 8, kernel: 3, padding: 1}\n"
    "          - norm\n"
    "    - relu\n"
    "    - max_pool: {kernel: 2, stride: 2}\n"
    "    - flatten\n"
    "    - linear: 10\n"
    "cluster: {replicas: 2, batch_per_replica: 16}\n"
    "train:\n"
    "  epochs: 100\n"
    "  optimizer: {kind: sgd, momentum: 0.9}\n"
    "  learning_rate: {base: 0.05, schedule: constant}\n";

TEST(Bf16Run, ASmallNetLearnsAsInFloat32) {
  // Over the last epoch, of 4 steps.
  const auto loss = [](v1::Precision precision) {
    const InProcessRunResult result = RunInProcess(SpecOf(kSmallNet, precision, 100), {});
    double sum = 0;
    int steps = 0;
    for (const train::MetricRecord& record : result.records) {
      if (record.split != "train" || record.step < 96) continue;
      sum += *record.loss;
      ++steps;
    }
    EXPECT_EQ(steps, 4);
    return sum / steps;
  };
  const double float32 = loss(v1::PRECISION_FLOAT32), bf16 = loss(v1::PRECISION_BF16);
  RecordProperty("float32", std::to_string(float32));
  RecordProperty("bf16", std::to_string(bf16));
  EXPECT_LT(float32, 0.5) << "it does not learn";
  EXPECT_NE(bf16, float32);
  // Of what was learned, from log(10) on: the two go ways of their own.
  EXPECT_NEAR(bf16, float32, 0.03 * (std::log(10.0) - float32));
}

TEST(Bf16Run, GoesOnFromItsMastersInTheSameBits) {
  TempFolder folder;
  const std::string text = std::string(kSmallNet) + "  checkpoint: {every_steps: 3}\n";
  const InProcessRunResult whole = RunInProcess(SpecOf(text, v1::PRECISION_BF16, 6), {});
  RunInProcess(SpecOf(text, v1::PRECISION_BF16, 3), {.processes = 2, .out = folder.path()});
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder.path())) {
    if (entry.path().extension() != ".safetensors") continue;
    const std::string checkpoint = ReadFile(entry.path());
    EXPECT_THAT(checkpoint, HasSubstr("\"dtype\":\"F32\""));
    EXPECT_THAT(checkpoint, Not(HasSubstr("BF16")));
  }
  const InProcessRunResult resumed =
      RunInProcess(SpecOf(text, v1::PRECISION_BF16, 6), {.out = folder.path(), .resume = true});
  EXPECT_EQ(resumed.summary.digest, whole.summary.digest);
}

}  // namespace
}  // namespace syncbn
