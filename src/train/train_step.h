// One training step of all replicas of a process: forward, loss, backward, and the reductions that
// merge gradients, loss and moments over all replicas. Changes no parameter: what it leaves here is
// committed by the trainer, if the step is accepted.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "data/batch_maker.h"
#include "nn/step_context.h"
#include "syncbn/v1/run.pb.h"
#include "train/engine.h"
#include "train/gradient_buckets.h"

namespace syncbn::train {

// Looks at the layers in one replica's pass, for the step as a whole.
class PassWatch : public nn::LayerWatch {
 public:
  // Behind the pass, on the replica's thread: starts the reductions that merge what was seen over
  // all replicas, the same in each. `receives`: this replica takes the results for its process.
  virtual std::vector<comm::Reducer::Handle> Reduce(const comm::ReplicaLink& link,
                                                    bool receives) = 0;
};

// Makes the watch of a pass on `executor`; called on the replica's thread.
using WatchSource = std::function<std::unique_ptr<PassWatch>(backend::Executor& executor)>;

struct StepSettings {
  int64_t step = 0;   // from 0, over the whole run
  int64_t epoch = 0;  // from 0
  uint64_t seed = 0;
  // Samples of the step over all replicas; the loss is their mean.
  int64_t global_batch = 0;
  double label_smoothing = 0;
  // Asked of this process (by signals); every process learns the sum.
  bool wants_checkpoint = false;
  bool wants_stop = false;
  // The figures of the step before, of this TrainStep, are not known yet. If that was asked for
  // something, it is to be answered in the state that it has left: then this step is not accepted,
  // whatever it comes to.
  bool ahead = false;
  nn::ParameterSet parameters;
  Tensor running_statistics;  // flat F64
  // Where the rows of each replica begin in the logits of the step, and their number: R + 1
  // entries, the same in every process. Empty: nobody wants the logits.
  std::vector<int64_t> logit_rows = {};
  // Whether replica_squares() are wanted.
  bool replica_squares = false;
  // Without, there are the sums of loss and samples alone: neither gradients nor moments.
  bool backward = true;
  // Another build of the engine's model, with its parameters (nn::BuildOptions); null: that itself.
  const nn::Model* model = nullptr;
  // Empty: nobody watches.
  WatchSource watches = {};
};

// See v1::ClusterSpec.bucket_mib.
double BucketBytes(const v1::ClusterSpec& cluster);

// What the host is told of a step: sums over all replicas, and the verdict on it.
struct StepFigures {
  double loss = 0;  // sum over samples
  double correct = 0;
  double samples = 0;
  bool checkpoint_wanted = false;
  bool stop_wanted = false;
  bool accepted = false;
  double gradient_norm = 0;
  double gradient_scale = 1;
};

// Figures on their way to the host.
struct FiguresOnTheWay {
  Tensor values;         // on the host,
  backend::Event there;  // behind this
};

class TrainStep {
 public:
  TrainStep(Engine& engine, double bucket_bytes);

  // Gives replica's batch; called on the replica's thread.
  using BatchSource = std::function<data::Batch(int replica)>;
  // Makes an observer for a replica's pass; may return an empty function.
  using ObserverSource = std::function<nn::TensorObserver(int replica)>;

  // Collective: every process runs the same step. After it gradients(), moments(), figures() and,
  // if wanted, logits() are those of all replicas, with the same bits in every process. They live on the
  // device, in the order of the engine's main executor.
  void Run(const StepSettings& settings, const BatchSource& batches,
           const ObserverSource& observers = {});
  // Whether the step is accepted (loss, gradients and moments are finite), and how its gradients are
  // clipped: decided on the device.
  void Judge(double clip_norm);
  // What the host needs to know of it. Asks the device for it, and does not wait: further steps may
  // be launched before it is taken.
  FiguresOnTheWay SendFigures() const;
  // Waits for it, and for the certainty that all processes have reduced the same.
  StepFigures Take(const FiguresOnTheWay& figures) const;
  StepFigures Figures() const { return Take(SendFigures()); }

  const Tensor& gradients() const { return gradients_; }  // flat, of the mean loss
  // flat F64, as nn::RunningStatisticsLayout lays them out
  const Tensor& moments() const { return moments_; }
  // F64 [R], where wanted: of each replica the sum of squares of what it adds to gradients(),
  // summed as backend::Executor::SumsOfSquares does, then over the parameters in their order.
  const Tensor& replica_squares() const { return replica_squares_; }
  // After Judge: F64 [parameters], sums of squares of the gradients; and see backend::verdict.
  const Tensor& squares() const { return squares_; }
  Tensor verdict() const;
  // [samples of the step, classes], replicas in order; undefined where nobody wanted them.
  const Tensor& logits() const { return logits_; }

 private:
  // `before`: after which results of the last step may be overwritten.
  void RunReplica(int replica, const StepSettings& settings, const BatchSource& batches,
                  const ObserverSource& observers, const backend::Event& before);

  Engine& engine_;
  const std::vector<GradientBucket> buckets_;
  const comm::Group all_;
  Tensor gradients_;
  // F64: the moments, and behind them what was asked for in the step before; `moments_` is the
  // former.
  Tensor finite_, moments_;
  bool ahead_ = false;  // the last step
  // F64: the sums of the step, then the verdict on it.
  Tensor figures_;
  Tensor squares_;
  Tensor replica_squares_;
  Tensor logits_;
  // After which the results of the reductions are there.
  std::vector<backend::Event> reduced_;
};

}  // namespace syncbn::train
