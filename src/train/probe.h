// Probes: a look at a step of training between its reductions and its commit. A probe gives figures
// by name, which go into the step's metric record, and may run the step's batch again at other
// parameters. It only reads what it is shown; whatever it computes, the run ends in the same bits:
// a step is committed from what its own pass has left.
//
// Every process has its own probe of each kind, is shown the same by the last bit, and so must come
// to the same: what is asked of a step is collective. A failure ends the run, as an error that
// names the probe.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "backend/executor.h"
#include "nn/model.h"
#include "nn/parameter_set.h"
#include "train/metric_record.h"
#include "train/train_step.h"

namespace syncbn::train {

struct LossAndGradients {
  // Mean over the SGD batch.
  double loss = 0;
  // Flat, on the device.
  Tensor gradients;
};

// What one replica adds to a step.
struct ReplicaGradient {
  int64_t samples = 0;
  // Sum of the squares of the gradient of the mean loss over the replica's own samples; 0 where it
  // has none.
  double squared_norm = 0;
};

// A step that is accepted, with nothing of it committed. Gradients are of the mean loss over the
// SGD batch, label smoothing included, before clipping and without weight decay. Valid during
// Probe::Look.
struct ProbedStep {
  int64_t step = 0, epoch = 0;  // from 0
  bool last = false;            // of the run, as its run file has it now
  double learning_rate = 0;
  const nn::Model* model = nullptr;
  // Those that the step was computed with.
  nn::ParameterSet parameters;
  double loss = 0;
  Tensor gradients;  // flat, on the device
  // Sums of squares over all parameters, in the fixed blocks of backend::Executor::SumsOfSquares
  // and the order of the parameters: of `gradients`, and of each replica's.
  double squared_gradient_norm = 0;
  std::vector<ReplicaGradient> replicas;
  // F64 on the host: [count, mean[C], m2[C]] of each batch norm over all samples of the step, as
  // nn::RunningStatisticsLayout lays them out.
  Tensor moments;
  // Before the step: flat F64 on the device, as nn::RunningStatisticsLayout lays them out.
  Tensor running_statistics;
  // For work on the device.
  backend::Executor* executor = nullptr;

  // Collective. The step's batch again at other parameters, on all replicas: same samples,
  // augmentation, dropout and normalization batches, so that at `parameters` they give the step's
  // own bits. The running statistics stay as they are. Gradients are written over by the next call.
  std::function<double(const nn::ParameterSet& at)> loss_at;
  std::function<LossAndGradients(const nn::ParameterSet& at)> gradients_at;
  // Collective. The same pass with a watch of its own for each replica, in the build of the model
  // in which every layer stands alone (nn::BuildOptions::fuse), with the same parameters and bits.
  std::function<void(const nn::ParameterSet& at, bool backward, const WatchSource& watches)>
      watch_at;
  // Collective. The running statistics as train.evaluate.with: precise has them, at `parameters`
  // over so many training samples.
  std::function<Tensor(int64_t samples)> precise_statistics;

  // `parameters` + length * direction, with memory of its own. `direction` is flat, of the
  // gradients' type, on the device.
  nn::ParameterSet Along(const Tensor& direction, double length) const;
};

class Probe {
 public:
  virtual ~Probe() = default;

  // Named in errors and in checkpoints: one of a kind in a run.
  virtual std::string_view name() const = 0;
  // Whether it looks at the step; `last`: see ProbedStep. A function of these and of how the probe
  // was made. A step that is not accepted is shown to nobody.
  virtual bool IsDue(int64_t step, bool last) const = 0;
  // Figures of the step, named as MetricRecord::AddFigures wants it; what is not finite is recorded
  // as null. On the thread that drives the run, in every process.
  virtual NamedFigures Look(const ProbedStep& step) = 0;

  // Sums that later figures hang on: kept in checkpoints, and given back to a run that goes on from
  // one, so that its figures are those of a run that was never stopped. Nothing is given back where
  // the checkpoint has none.
  virtual NamedFigures Kept() const { return {}; }
  virtual void Restore(const NamedFigures& kept) {}
};

// Whether every so many steps were completed by this one; 0: never.
inline bool EndsInterval(int64_t step, int64_t every_steps) {
  return every_steps > 0 && (step + 1) % every_steps == 0;
}

}  // namespace syncbn::train
