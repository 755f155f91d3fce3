// A model, its data and its training step, for benchmarks: what a trainer does in a step, without input,
// output and evaluation.
#pragma once

#include <memory>
#include <string>

#include "backend/backend.h"
#include "comm/make_reducer.h"
#include "data/batch_maker.h"
#include "nn/model.h"
#include "train/engine.h"
#include "train/optimizer.h"
#include "train/train_step.h"

namespace syncbn::bench {

struct StepSetup {
  std::string architecture;
  int replicas = 1;
  int64_t batch_per_replica = 64;
  bool synchronized = false;  // statistics over all replicas, else over each one's batch
};

class StepFixture {
 public:
  // `first` and `count`: the replicas of this process. The reducer must outlive the fixture.
  StepFixture(const StepSetup& setup, const backend::Backend& backend, comm::Reducer& reducer, int first,
              int count);

  // One step: forward, loss, backward, reductions, norm of the gradients, update. Collective.
  void Step();

  const nn::Model& model() const { return *model_; }
  double loss() const { return step_->totals().loss / step_->totals().samples; }

 private:
  StepSetup setup_;
  std::unique_ptr<nn::Model> model_;
  std::unique_ptr<train::Engine> engine_;
  std::unique_ptr<train::TrainStep> step_;
  std::unique_ptr<train::Optimizer> optimizer_;
  train::OptimizerState optimizer_state_;
  Tensor parameters_, running_;
  data::Batch batch_;  // the same for every replica and step
  int64_t done_ = 0;
};

struct Spread {
  double median = 0, min = 0, max = 0;
};
Spread SpreadOf(std::vector<double> values);

}  // namespace syncbn::bench
