// What a step of training asks of the host, on the emulated device.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "backend/cuda/cuda_backend.h"
#include "comm/progress_board.h"
#include "tests/emulation/runtime.h"
#include "tests/support/in_process_run.h"

namespace syncbn {
namespace {

v1::RunSpec SpecOf(int steps) {
  return RunSpecFromYaml(
      "data: {dataset: shapes, shapes: {train_samples: 64, test_samples: 8}, augment: "
      "{random_crop_padding: 4}}\n"
      "model: {architecture: resnet20, width: 0.25}\n"
      "cluster: {replicas: 2, batch_per_replica: 4}\n"
      "train: {epochs: 9, clip_norm: 1, max_steps: " +
      std::to_string(steps) + "}\n");
}

int64_t WaitsOf(int steps) {
  const v1::RunSpec spec = SpecOf(steps);
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

// While the device does nothing the host launches a step, and only then waits for the figures of
// the one before.
TEST(EmulatedSteps, AStepIsLaunchedWholeBehindOneThatTheDeviceHasNotDone) {
  constexpr int64_t kHeld = 3;
  const auto backend = backend::cuda::MakeBackend();
  train::RunEnvironment environment{.backend = backend.get()};
  environment.training.evaluate = false;
  std::atomic<comm::ProgressBoard*> board = nullptr;
  environment.on_board = [&](comm::ProgressBoard* now) { board = now; };
  int64_t launches = 0, operations = 0, a_step = 0, given = 0;
  std::string seen;
  std::jthread look;
  environment.training.control_requests = [&] {
    if (launches++ == kHeld) {
      a_step = emulation::OperationsGiven() - operations;
      emulation::HoldDevice(0);
      look = std::jthread([&, before = emulation::OperationsGiven()] {
        // Where the launch itself waited, this would not come, and the test not end well.
        for (int i = 0; i < 6000; ++i) {
          std::this_thread::sleep_for(std::chrono::milliseconds(5));
          const comm::ProcessStatus status = board.load()->ReadProcess(0);
          if (status.activity == Activity::kDevice) {
            seen = status.Describe();
            break;
          }
        }
        given = emulation::OperationsGiven() - before;
        emulation::HoldDevice(-1);
      });
    }
    operations = emulation::OperationsGiven();
    return train::ControlRequests();
  };
  train::RunTraining(SpecOf(6), std::move(environment));
  look.join();
  EXPECT_EQ(seen, "device, after 2 steps") << "those of step 2 are waited for";
  EXPECT_GT(a_step, 100);
  EXPECT_GT(given, a_step * 3 / 4) << "all of step 3 is launched";
}

class PinnedAtSteps : public train::RunObserver {
 public:
  void OnStep(const train::MetricRecord&, const train::EpochSums&) override {
    allocations_.push_back(emulation::PinnedAllocations());
    bytes_.push_back(emulation::PinnedBytesAllocated());
  }
  const std::vector<int64_t>& allocations() const { return allocations_; }
  const std::vector<int64_t>& bytes() const { return bytes_; }

 private:
  std::vector<int64_t> allocations_, bytes_;
};

// cudaHostAlloc takes as long as a step, and stops the device.
TEST(EmulatedSteps, HostMemoryIsPinnedOnceAndUsedAgain) {
  constexpr size_t kEpoch = 8, kSteps = 3 * kEpoch;
  PinnedAtSteps pinned;
  const auto backend = backend::cuda::MakeBackend();
  train::RunEnvironment environment{.backend = backend.get()};
  environment.training.evaluate = false;
  environment.training.observer = &pinned;
  train::RunTraining(SpecOf(kSteps), std::move(environment));
  ASSERT_EQ(pinned.allocations().size(), kSteps);
  EXPECT_GT(pinned.allocations().front(), 0) << "nothing is counted";
  // A step copies a batch of each replica, and figures: three and more, of two steps at once. Where
  // a stream is later than ever before, one more may be under way.
  const int64_t later = pinned.allocations().back() - pinned.allocations()[kEpoch];
  EXPECT_LE(later, 3) << "in " << kSteps - kEpoch << " steps";
  EXPECT_LE(pinned.bytes().back() - pinned.bytes()[kEpoch], 3 * (64 << 10));
  int64_t without = 0;
  for (size_t step = kEpoch + 1; step < kSteps; ++step) {
    without += pinned.allocations()[step] == pinned.allocations()[step - 1];
  }
  EXPECT_GE(without, static_cast<int64_t>(kSteps - kEpoch) - 4) << "steps that pin nothing";
}

}  // namespace
}  // namespace syncbn
