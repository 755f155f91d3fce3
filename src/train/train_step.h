// One training step of all replicas of a process: forward, loss, backward, and the reductions that
// merge gradients, loss and moments over all replicas. Changes no parameter: what it leaves here is
// committed by the trainer, if the step is accepted.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "data/batch_maker.h"
#include "nn/step_context.h"
#include "train/engine.h"
#include "train/gradient_buckets.h"

namespace syncbn::train {

struct StepSettings {
  int64_t step = 0;   // from 0, over the whole run
  int64_t epoch = 0;  // from 0
  uint64_t seed = 0;
  // Samples of the step over all replicas; the loss is their mean.
  int64_t global_batch = 0;
  double label_smoothing = 0;
  // Wishes of this process (signals); every process learns the sum.
  bool wants_checkpoint = false;
  bool wants_stop = false;
  Tensor parameters;  // flat
  // A new one with every update of the parameters.
  backend::WeightsVersion parameters_version;
  Tensor norm_state;  // flat F64
  // Where the rows of each replica begin in the logits of the step, and their number: R + 1
  // entries, the same in every process. Empty: nobody wants the logits.
  std::vector<int64_t> logit_rows = {};
};

// Sums over all replicas.
struct StepTotals {
  double loss = 0;  // sum over samples
  double correct = 0;
  double samples = 0;
  bool checkpoint_wanted = false;
  bool stop_wanted = false;
};

class TrainStep {
 public:
  TrainStep(Engine& engine, double bucket_bytes);

  // Gives replica's batch; called on the replica's thread.
  using BatchSource = std::function<data::Batch(int replica)>;
  // Makes an observer for a replica's pass; may return an empty function.
  using ObserverSource = std::function<nn::TensorObserver(int replica)>;

  // Collective: every process runs the same step. On return gradients(), moments(), totals() and,
  // if wanted, logits() are those of all replicas, with the same bits in every process.
  void Run(const StepSettings& settings, const BatchSource& batches,
           const ObserverSource& observers = {});

  const Tensor& gradients() const { return gradients_; }  // flat, of the mean loss
  const Tensor& moments() const { return moments_; }      // flat F64, as StateLayout lays them out
  const StepTotals& totals() const { return totals_; }
  // [samples of the step, classes], replicas in order; undefined where nobody wanted them.
  const Tensor& logits() const { return logits_; }

 private:
  void RunReplica(int replica, const StepSettings& settings, const BatchSource& batches,
                  const ObserverSource& observers);

  Engine& engine_;
  const std::vector<GradientBucket> buckets_;
  const comm::Group all_;
  Tensor gradients_;
  Tensor moments_;
  Tensor sums_;  // F64 [5]
  StepTotals totals_;
  Tensor logits_;
};

}  // namespace syncbn::train
