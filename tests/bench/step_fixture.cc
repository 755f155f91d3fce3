#include "tests/bench/step_fixture.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <string>

#include "base/error.h"
#include "config/run_file.h"

namespace syncbn::bench {
namespace {

// One step an epoch, for ever; without evaluation and checkpoints.
v1::RunSpec SpecOf(const StepSetup& setup) {
  const std::string samples = std::to_string(setup.batch_per_replica * setup.replicas);
  return config::ParseRunFile(
             "convolution: " + std::string(setup.direct ? "direct" : "auto") +
                 "\n"
                 "data: {dataset: shapes, shapes: {train_samples: " +
                 samples +
                 ", test_samples: 1}}\n"
                 "model: {architecture: " +
                 setup.architecture +
                 ", norm: {batch: " + (setup.synchronized ? "global" : "replica") +
                 "}}\n"
                 "cluster: {replicas: " +
                 std::to_string(setup.replicas) +
                 ", batch_per_replica: " + std::to_string(setup.batch_per_replica) +
                 ", reduction: " + (setup.native ? "native" : "tree") +
                 "}\n"
                 "train:\n"
                 "  epochs: 1000000\n"
                 "  optimizer: {momentum: 0.9, nesterov: true, weight_decay: 5.0e-4}\n"
                 "  learning_rate: 0.01\n",
             "step.yaml", {})
      .spec;
}

}  // namespace

StepFixture::StepFixture(const StepSetup& setup, const backend::Backend& backend,
                         comm::Communicator* communicator)
    : run_(SpecOf(setup), datasets_) {
  std::vector<uint64_t> ids(static_cast<size_t>(setup.batch_per_replica));
  std::iota(ids.begin(), ids.end(), uint64_t{0});
  batch_ = run_.train().Make(ids, 0);
  train::RunEnvironment environment{
      .backend = &backend, .communicator = communicator, .concurrency = setup.replicas};
  train::TrainerOptions& options = environment.training;
  options.observer = this;
  options.evaluate = false;
  options.control_requests = [this] {
    wanted_.acquire();
    return train::ControlRequests{.stop = stop_};
  };
  options.on_batch = [this](int64_t, int, data::Batch& batch) { batch = batch_; };
  training_ = std::make_unique<train::TrainingRun>(run_, std::move(environment));
  thread_ = std::jthread([this] {
    try {
      training_->Run();
    } catch (const Error& error) {
      std::fprintf(stderr, "the step failed: %s\n", error.what());
      std::_Exit(1);  // a benchmark has nothing to save, and others wait for this process
    }
  });
}

StepFixture::~StepFixture() {
  stop_ = true;
  Step();
}

void StepFixture::Step() {
  wanted_.release();
  done_.acquire();
}

void StepFixture::OnStep(const train::MetricRecord& record, const train::EpochSums&) {
  loss_ = record.loss.value_or(0);
  done_.release();
}

Spread SpreadOf(std::vector<double> values) {
  std::ranges::sort(values);
  return {values[values.size() / 2], values.front(), values.back()};
}

}  // namespace syncbn::bench
