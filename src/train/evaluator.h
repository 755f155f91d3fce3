// Loss and accuracy over a split, by all replicas of all processes.
//
// What a figure depends on is the run file alone: the split is cut into the steps of training
// (data::BatchPlan: every replica takes its own batch, a last partial one is spread evenly), so
// that statistics of batches are over the groups that training has, and sums run over samples, then
// replicas, in the canonical tree.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "data/batch_maker.h"
#include "data/batch_plan.h"
#include "data/loader.h"
#include "nn/step_context.h"
#include "syncbn/v1/run.pb.h"
#include "train/engine.h"

namespace syncbn::train {

// What is evaluated: the model's state between two steps.
struct ModelState {
  nn::ParameterSet parameters;
  Tensor running_statistics;  // flat F64
  uint64_t seed = 0;
  // Epoch by whose keys training samples are augmented (PreciseBN): that of the last step.
  int64_t epoch = 0;
  // Steps done, for messages.
  int64_t step = 0;
};

struct EvaluationResult {
  double loss = 0;      // mean over samples, without label smoothing
  double accuracy = 0;  // share of samples whose largest logit is the label's
  int64_t samples = 0;
  double seconds = 0;
};

class Evaluator {
 public:
  struct Options {
    // Samples of each replica in a step, those of training.
    std::vector<int64_t> batch_per_replica;
    // Training samples of PreciseBN.
    int64_t precise_samples = 2048;
    // Images of files are decoded as in training: so many batches ahead, by so many threads. Others
    // are made by the replicas themselves.
    int prefetch = 0, threads = 1;
  };

  // `test` makes the batches of the split, `train` those of the training split (as trained on, with
  // augmentation); both must outlive the evaluator.
  Evaluator(Engine& engine, const data::BatchMaker& train, const data::BatchMaker& test,
            const Options& options);

  // Collective. `mode`: with running averages; with PreciseStatistics; or with the statistics of
  // each test batch, merged over the normalization batch as in training.
  EvaluationResult Evaluate(v1::EvaluationMode mode, const ModelState& state);

  // Collective. PreciseBN (Wu and Johnson 2021): the running statistics replaced by those of so
  // many training samples (all, if there are fewer) at fixed weights: moments of all batches merged
  // by Chan's formula, which is E[var + mean^2] - E[mean]^2 without its cancellation; unbiased
  // variance.
  Tensor PreciseStatistics(const ModelState& state, int64_t samples);

 private:
  // All of so many samples, in steps of training.
  data::BatchPlan PlanOf(int64_t samples) const;
  // What decodes for a pass; null: the replicas make their batches.
  std::unique_ptr<data::Loader> LoaderFor(const data::BatchMaker& maker,
                                          const data::BatchPlan& plan,
                                          std::span<const uint64_t> order, int64_t epoch);
  // Runs forward passes of `plan` over `maker`'s samples `order`; losses against labels are summed if
  // `sums` is given, on the host, moments merged if `moments` is, on the device. Waits for both.
  void RunPasses(const data::BatchMaker& maker, const data::BatchPlan& plan,
                 std::span<const uint64_t> order, nn::Mode mode, const ModelState& state,
                 Tensor* sums, Tensor* moments);

  Engine& engine_;
  const data::BatchMaker& train_;
  const data::BatchMaker& test_;
  const Options options_;
  std::unique_ptr<backend::Stream> copies_;  // to a device, once there has been a loader
};

}  // namespace syncbn::train
