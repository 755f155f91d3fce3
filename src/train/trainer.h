// Runs a training run from a state to its end: steps, their acceptance, evaluation, checkpoints,
// metrics.
//
// Every process runs a Trainer over its own replicas and holds the same state; the process of
// replica 0 (the root) also writes. Driven by one thread.
//
// A device that is not the host is given a step before the host knows what the one before has come
// to, so that it does not stand still meanwhile; what comes of a run is what it would be without
// (trainer_steps.cc).
#pragma once

#include <chrono>
#include <deque>
#include <memory>
#include <optional>

#include "data/batch_maker.h"
#include "data/batch_plan.h"
#include "data/loader.h"
#include "train/engine.h"
#include "train/evaluator.h"
#include "train/optimizer.h"
#include "train/probes.h"
#include "train/run_progress.h"
#include "train/schedule.h"
#include "train/summary.h"
#include "train/train_step.h"
#include "train/trainer_options.h"

namespace syncbn::train {

// As metric records say it: "running", "precise" or "batch".
const char* EvaluationName(v1::EvaluationMode mode);

class Trainer {
 public:
  // All references must outlive the trainer. `spec` is validated and complete.
  Trainer(const v1::RunSpec& spec, Engine& engine, const data::BatchMaker& train,
          const data::BatchMaker& test, TrainerOptions options);

  const TensorLayouts& layouts() const { return layouts_; }
  // On the device; to be read.
  TrainingState state() const {
    return {.parameters = parameters_.values(),
            .running_statistics = running_statistics_,
            .optimizer = optimizer_state_};
  }
  const RunProgress& progress() const { return progress_; }
  Digest StateDigest() const;
  // Steps of the whole run: its epochs, or max_steps if that is less.
  int64_t end_step() const;

  // What its run file's seed and model begin with, without a file of weights; on the host.
  TrainingState InitialState() const;
  // Begin with another state. Before Run.
  void StartFrom(const TrainingState& state) { Take(state); }
  // Go on from a checkpoint instead of the initial state. Before Run.
  void Restore(const TrainingState& state, const Manifest& manifest);

  // Collective. Does what a stop has left to be done, then trains to the end of the run, until
  // a stop is requested, or until it has diverged. The figures of the summary that a trainer knows
  // are filled in: the same on every process except times, and that only the root, which writes,
  // can end as kStorage.
  Summary Run();

 private:
  void Take(const TrainingState& state);
  RunPlan Plan() const;
  ModelState CurrentModel() const;

  // -- In trainer_steps.cc --

  // A step that the device was given, and whose figures were not taken.
  struct LaunchedStep {
    int64_t step = 0, epoch = 0, step_in_epoch = 0, samples = 0;
    double learning_rate = 0;
    ControlRequests requests;
    NamedFigures probes;
    // Where it is to be dumped.
    std::optional<TrainingState> before;
    FiguresOnTheWay figures;
    Traffic traffic;
  };
  // Launches the next step, and where it can the one behind it; takes the figures of the
  // first and records it.
  void RunOneStep();
  void Launch();
  ControlRequests TakeRequests();
  // Whether `step` may be launched behind one whose figures are not known. The same in every
  // process.
  bool GoesAhead(int64_t step) const;
  // Whether somebody is shown the step while it is there.
  bool IsShown(int64_t step) const;
  // The figures of the oldest step that was launched.
  StepFigures TakeFigures();
  // Takes back what was launched behind the oldest, which the device has not accepted.
  void TakeBack();
  // Counts the step and records it.
  void Record(LaunchedStep launched, double seconds);
  void MakeLoader(int64_t step);
  // So far of the time since the clock was last asked.
  void CountTime();
  // A batch of the step as it is fed.
  data::Batch Fed(int64_t step, int replica, data::Batch batch) const;
  // Where batches are made for; null where that is the host: it has no other memory, or somebody
  // looks at them.
  backend::Stream* FedTo() const { return options_.on_batch ? nullptr : copies_.get(); }
  // Shows a step that was judged to the probes that are due, if it is accepted. Collective.
  NamedFigures LookAtStep(const StepSettings& settings, double learning_rate);
  // Updates the state if the step is accepted: decided and done on the device.
  void Commit(double learning_rate);
  // What follows a step, or was left to be done after it by a stop.
  void FinishStep();
  void FinishRestoredStep();
  // Whether a checkpoint is due when so many steps are done, or an evaluation.
  bool CheckpointIsDue(int64_t steps) const;
  bool EvaluationIsDue(int64_t steps) const;
  // Whether an evaluation is due after the last step and was not made: a stop came between.
  bool EvaluationIsPending() const;
  void EvaluateIfDue();
  void Evaluate();
  // Ends the run as diverged, and returns false, where the state is not finite.
  bool CheckState();
  void Diverge(const std::string& what);
  // Ends the run as kStorage where `needed` and not possible.
  void SaveCheckpoint(bool needed);
  // `what` is not on disk: that is how the run ends.
  void Lose(const std::string& what);
  void Dump(const LaunchedStep& step);
  // Whether the step is dumped: by the root, for which every process gives its logits.
  bool Dumps(int64_t step) const;
  bool IsLast() const { return progress_.counters.step == end_; }
  bool IsReplay() const { return options_.stop_at.has_value(); }
  // Whether `every` epochs were completed by the last of so many steps.
  bool CompletedEpochs(double every, int64_t steps) const;
  void AddFigures(MetricRecord& record) const;
  void Warn(const std::string& warning) const;
  // Says what the process does: to whoever misses it; and to on_phase.
  void SetActivity(Activity activity) const;
  void Begin(Activity activity) const;

  const v1::RunSpec& spec_;
  Engine& engine_;
  const data::BatchMaker& train_;
  const TrainerOptions options_;
  const data::Sampler sampler_;
  const data::BatchPlan plan_;
  const int64_t total_steps_;
  const LearningRate learning_rate_;
  const Optimizer optimizer_;
  const TensorLayouts layouts_;
  Evaluator evaluator_;
  TrainStep step_;
  Probes probes_;
  // To the device, beside what executors do; null on the host.
  std::unique_ptr<backend::Stream> copies_;
  std::unique_ptr<data::Loader> loader_;
  // In their order, two at most.
  std::deque<LaunchedStep> launched_;
  // Of steps that were taken back: they hold for those that are launched in their place.
  std::deque<ControlRequests> requests_;

  nn::ParameterSet parameters_;
  Tensor running_statistics_;
  OptimizerState optimizer_state_;
  RunProgress progress_;
  // Of the last step that was taken.
  StepFigures figures_;
  // Of the one that is to be taken next: since the host began to launch for it, but for probes.
  TimeShares shares_;
  std::chrono::duration<double> probing_{0};
  // Step after which this run ends, by its run file or a replay.
  const int64_t end_;
  // Of the newest checkpoint.
  std::optional<int64_t> saved_;
  // Set when the run ends before its last step, or otherwise than well.
  std::optional<RunEnd> ended_;
  std::string reason_;
  std::vector<int64_t> not_dumped_;
  MetricRecord::Milliseconds spent_;
  Traffic traffic_;
  double step_seconds_ = 0;
  int64_t attempt_samples_ = 0;
};

}  // namespace syncbn::train
