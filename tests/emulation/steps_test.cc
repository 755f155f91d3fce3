// What a step of training asks of the host, on the emulated device.
#include <gtest/gtest.h>

#include "backend/cuda/cuda_backend.h"
#include "tests/emulation/runtime.h"
#include "tests/support/in_process_run.h"

namespace syncbn {
namespace {

int64_t WaitsOf(int steps) {
  const v1::RunSpec spec = RunSpecFromYaml(
      "data: {dataset: shapes, shapes: {train_samples: 64, test_samples: 8}, augment: "
      "{random_crop_padding: 4}}\n"
      "model: {architecture: resnet20, width: 0.25}\n"
      "cluster: {replicas: 2, batch_per_replica: 4}\n"
      "train: {clip_norm: 1, max_steps: " +
      std::to_string(steps) + "}\n");
  const auto backend = backend::cuda::MakeBackend();
  train::RunEnvironment environment{.backend = backend.get()};
  environment.training.evaluate = false;
  const int64_t before = emulation::HostSynchronizations();
  train::RunTraining(spec, std::move(environment));
  return emulation::HostSynchronizations() - before;
}

TEST(EmulatedSteps, TheHostWaitsForTheDeviceOnceAStepForItsFigures) {
  WaitsOf(2);  // what is made once
  const int64_t few = WaitsOf(2), many = WaitsOf(7);
  EXPECT_EQ(many - few, 5);
}

}  // namespace
}  // namespace syncbn
