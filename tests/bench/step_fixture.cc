#include "tests/bench/step_fixture.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <numeric>

#include "base/error.h"
#include "config/run_file.h"

namespace syncbn::bench {
namespace {

// One step an epoch, for ever; without evaluation and checkpoints.
v1::RunSpec SpecOf(const StepSetup& setup) {
  const std::string samples = std::to_string(setup.batch_per_replica * setup.replicas);
  return config::ParseRunFile(
             "data: {dataset: shapes, shapes: {train_samples: " + samples +
                 ", test_samples: 1}}\n"
                 "model: {architecture: " +
                 setup.architecture +
                 ", norm: {batch: " + (setup.synchronized ? "global" : "replica") +
                 "}}\n"
                 "cluster: {replicas: " +
                 std::to_string(setup.replicas) +
                 ", batch_per_replica: " + std::to_string(setup.batch_per_replica) +
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
                         comm::Reducer& reducer, int first, int count)
    : spec_(SpecOf(setup)), data_(data::MakeDataset(spec_.data(), spec_.seed())) {
  const data::ImageShape& image = data_.train->image_shape();
  model_ = nn::BuildModel(spec_.model(), spec_.cluster(),
                          {.height = image.height,
                           .width = image.width,
                           .channels = image.channels,
                           .classes = data_.train->classes()});
  maker_ = std::make_unique<data::BatchMaker>(
      *data_.train,
      data::BatchMaker::Options::ForTraining(spec_, data_.train->ComputeStatistics()));
  std::vector<uint64_t> ids(static_cast<size_t>(setup.batch_per_replica));
  std::iota(ids.begin(), ids.end(), uint64_t{0});
  batch_ = maker_->Make(ids, 0);
  engine_ = std::make_unique<train::Engine>(
      train::EngineOptions{.first_replica = first, .replicas = count, .concurrency = count}, *model_,
      backend, reducer);
  train::TrainerOptions options;
  options.observer = this;
  options.evaluate = false;
  options.wishes = [this] {
    wanted_.acquire();
    return train::Wishes{.stop = stop_};
  };
  options.on_batch = [this](int64_t, int, data::Batch& batch) { batch = batch_; };
  trainer_ =
      std::make_unique<train::Trainer>(spec_, *engine_, *maker_, *maker_, std::move(options));
  thread_ = std::jthread([this] {
    try {
      trainer_->Run();
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
