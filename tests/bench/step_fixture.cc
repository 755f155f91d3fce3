#include "tests/bench/step_fixture.h"

#include <algorithm>
#include <numeric>

#include "data/dataset.h"

namespace syncbn::bench {

StepFixture::StepFixture(const StepSetup& setup, const backend::Backend& backend,
                         comm::Reducer& reducer, int first, int count)
    : setup_(setup) {
  v1::ModelSpec model;
  model.set_architecture(setup.architecture);
  model.set_activation(v1::ACTIVATION_RELU);
  model.set_width(1);
  model.mutable_init()->set_kind(v1::INIT_KIND_HE);
  model.mutable_init()->set_scale(1);
  v1::NormSpec& norm = *model.mutable_norm();
  norm.set_kind(v1::NORM_KIND_BATCH);
  norm.mutable_batch()->set_scope(setup.synchronized ? v1::NORM_SCOPE_GLOBAL : v1::NORM_SCOPE_REPLICA);
  norm.set_epsilon(1e-5);
  norm.set_affine(true);
  norm.set_placement(v1::NORM_PLACEMENT_BEFORE_ACTIVATION);
  norm.mutable_running()->set_kind(v1::RUNNING_KIND_MOMENTUM);
  norm.mutable_running()->set_momentum(0.1);
  v1::ClusterSpec cluster;
  cluster.set_replicas(setup.replicas);
  for (int i = 0; i < setup.replicas; ++i) {
    cluster.add_batch_per_replica(static_cast<int32_t>(setup.batch_per_replica));
  }
  model_ = nn::BuildModel(model, cluster, {.height = 32, .width = 32, .channels = 3, .classes = 10});
  engine_ = std::make_unique<train::Engine>(
      train::EngineOptions{.first_replica = first, .replicas = count, .concurrency = count}, *model_,
      backend, reducer);
  step_ = std::make_unique<train::TrainStep>(*engine_, 4.0 * 1024 * 1024);
  v1::OptimizerSpec optimizer;
  optimizer.set_kind(v1::OPTIMIZER_KIND_SGD);
  optimizer.set_momentum(0.9);
  optimizer.set_nesterov(true);
  optimizer.set_weight_decay(5e-4);
  optimizer.set_decay_norms_and_biases(true);
  optimizer_ = std::make_unique<train::Optimizer>(optimizer, model_->parameters());
  optimizer_state_ = optimizer_->InitialState(backend.dtype());
  parameters_ = nn::InitialParameters(model_->parameters(), 1, backend.dtype());
  running_ = nn::InitialState(model_->state());

  v1::DataSpec data;
  data.set_dataset(v1::DATASET_SHAPES);
  data.mutable_shapes()->set_train_samples(setup.batch_per_replica);
  data.mutable_shapes()->set_test_samples(1);
  const data::DatasetPair pair = data::MakeDataset(data, 1);
  std::vector<uint64_t> ids(static_cast<size_t>(setup.batch_per_replica));
  std::iota(ids.begin(), ids.end(), uint64_t{0});
  batch_ = data::BatchMaker(*pair.train, {}).Make(ids, 0);
}

void StepFixture::Step() {
  step_->Run({.step = done_,
              .seed = 1,
              .global_batch = setup_.batch_per_replica * setup_.replicas,
              .parameters = parameters_,
              .parameters_version = static_cast<uint64_t>(done_) + 1,
              .norm_state = running_},
             [&](int) { return batch_; });
  backend::Executor& executor = engine_->executors().main();
  train::GlobalNorm(executor, model_->parameters(), step_->gradients());
  optimizer_->Update(executor, {.learning_rate = 0.01, .gradients = step_->gradients()}, parameters_,
                     optimizer_state_);
  running_ = nn::UpdatedState(model_->state(), model_->running_rule(), running_, step_->moments());
  ++done_;
}

Spread SpreadOf(std::vector<double> values) {
  std::ranges::sort(values);
  return {values[values.size() / 2], values.front(), values.back()};
}

}  // namespace syncbn::bench
