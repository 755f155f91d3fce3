#include "train/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "base/clock.h"
#include "base/text.h"
#include "base/unknown_value.h"
#include "comm/progress_board.h"
#include "train/tensor_names.h"

namespace syncbn::train {
namespace {

// Of a tensor of the host, F64.
bool AllFinite(const Tensor& values) {
  return std::ranges::all_of(values.Span<double>(), [](double value) { return std::isfinite(value); });
}

}  // namespace

const char* EvaluationName(v1::EvaluationMode mode) {
  switch (mode) {
    case v1::EVALUATION_MODE_RUNNING: return "running";
    case v1::EVALUATION_MODE_PRECISE: return "precise";
    case v1::EVALUATION_MODE_BATCH: return "batch";
    default: ThrowUnknownValue("train.evaluate.with", static_cast<int>(mode));
  }
}

Trainer::Trainer(const v1::RunSpec& spec, Engine& engine, const data::BatchMaker& train,
                 const data::BatchMaker& test, TrainerOptions options)
    : spec_(spec),
      engine_(engine),
      train_(train),
      options_(std::move(options)),
      sampler_({.samples = train.dataset().size(),
                .seed = spec.seed(),
                .shuffle = spec.data().shuffle()}),
      plan_(train.dataset().size(), data::BatchPerReplica(spec.cluster()),
            spec.data().last_batch()),
      total_steps_(data::StepsOfEpochs(spec.train().epochs(), plan_.steps_per_epoch())),
      learning_rate_(spec.train().learning_rate(), plan_.batch(), plan_.steps_per_epoch(),
                     total_steps_),
      optimizer_(spec.train().optimizer(), engine.model().parameters()),
      layouts_{&engine.model().parameters(), &engine.model().running_statistics(), &optimizer_},
      evaluator_(engine, train, test,
                 {.batch_per_replica = data::BatchPerReplica(spec.cluster()),
                  .precise_samples = spec.train().evaluate().precise_samples(),
                  .prefetch = spec.data().prefetch(),
                  .threads = options_.loader_threads}),
      step_(engine, BucketBytes(spec.cluster())),
      probes_(spec, engine, options_.probes),
      end_(std::min(end_step(), options_.stop_at.value_or(end_step()))) {
  if (&engine.backend().device() != &Device::Host()) copies_ = engine.backend().MakeCopyStream();
  Take(InitialState());
}

TrainingState Trainer::InitialState() const {
  const DType type = engine_.backend().types().parameters;
  return TrainingState{
      .parameters = nn::InitialParameters(*layouts_.parameters, spec_.seed(), type),
      .running_statistics = nn::InitialRunningStatistics(*layouts_.running_statistics),
      .optimizer = optimizer_.InitialState(type)};
}

void Trainer::Take(const TrainingState& state) {
  TrainingState there = state.ToDevice(engine_.executors().main());
  parameters_ = nn::ParameterSet(std::move(there.parameters));
  running_statistics_ = std::move(there.running_statistics);
  optimizer_state_ = std::move(there.optimizer);
}

Digest Trainer::StateDigest() const {
  return train::StateDigest(*layouts_.parameters, *layouts_.running_statistics,
                            parameters_.values(), running_statistics_);
}

int64_t Trainer::end_step() const {
  const int64_t limit = spec_.train().max_steps();
  return limit > 0 ? std::min(total_steps_, limit) : total_steps_;
}

void Trainer::Restore(const TrainingState& state, const Manifest& manifest) {
  Take(state);
  progress_ = RunProgress::From(manifest);
  saved_ = progress_.counters.step;
  probes_.Restore(progress_.probes);
}

bool Trainer::CheckpointIsDue(int64_t steps) const {
  const v1::CheckpointSpec& checkpoint = spec_.train().checkpoint();
  return steps == end_ || CompletedEpochs(checkpoint.every_epochs(), steps) ||
         (checkpoint.every_steps() > 0 && steps % checkpoint.every_steps() == 0);
}

bool Trainer::EvaluationIsDue(int64_t steps) const {
  if (!options_.evaluate || steps == 0) return false;
  return steps == end_ || CompletedEpochs(spec_.train().evaluate().every_epochs(), steps);
}

bool Trainer::EvaluationIsPending() const {
  return !progress_.evaluated && EvaluationIsDue(progress_.counters.step);
}

Summary Trainer::Run() {
  if (options_.on_start) options_.on_start(Plan());
  const auto start = std::chrono::steady_clock::now();
  Summary summary;
  summary.name = spec_.name();
  summary.replicas = engine_.reducer().replicas();
  summary.parameters = layouts_.parameters->elements();
  summary.running_numbers = layouts_.running_statistics->flat_elements();
  summary.started = FormatTime(Clock::System().Now());

  const Counters& counters = progress_.counters;
  if (options_.observer != nullptr) options_.observer->OnStart(Plan());
  FinishRestoredStep();
  if (!ended_ && counters.step < end_) MakeLoader(counters.step);
  while (!ended_ && counters.step < end_) {
    RunOneStep();
    FinishStep();
  }
  SYNCBN_CHECK(launched_.empty()) << "steps behind the end of the run";
  loader_.reset();
  Begin(Activity::kFinish);
  if (options_.metrics != nullptr && !IsReplay()) {
    try {
      options_.metrics->Flush();
    } catch (const Error& error) {
      Lose("the last metrics are not safely on disk: " + error.message());
    }
  }

  if (!not_dumped_.empty()) {
    Lose(Plural(static_cast<long long>(not_dumped_.size()), "step") +
         " could not be dumped, the first of them step " + std::to_string(not_dumped_.front()));
  }

  summary.end = ended_.value_or(RunEnd::kFinished);
  summary.reason = reason_;
  summary.steps = counters.step;
  summary.epochs =
      static_cast<double>(counters.step) / static_cast<double>(plan_.steps_per_epoch());
  summary.samples = counters.samples;
  summary.skipped_steps = counters.skipped_steps;
  summary.environment_changes = progress_.environment_changes;
  summary.train = progress_.epoch.Means();
  summary.test = progress_.tests;
  summary.best_test_accuracy = progress_.best_test_accuracy;
  summary.digest = StateDigest();
  summary.finished = FormatTime(Clock::System().Now());
  summary.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (step_seconds_ > 0) {
    summary.images_per_second = static_cast<double>(attempt_samples_) / step_seconds_;
  }
  summary.milliseconds = spent_;
  summary.traffic = traffic_;
  summary.tensor_bytes = static_cast<int64_t>(engine_.executors().PeakBytes());
  return summary;
}

RunPlan Trainer::Plan() const {
  return {.first_step = progress_.counters.step,
          .end_step = end_,
          .total_steps = total_steps_,
          .steps_per_epoch = plan_.steps_per_epoch(),
          .sgd_batch = plan_.batch(),
          .evaluation_pending = EvaluationIsPending()};
}

ModelState Trainer::CurrentModel() const {
  return {.parameters = parameters_,
          .running_statistics = running_statistics_,
          .seed = spec_.seed(),
          .epoch = std::max<int64_t>(0, progress_.counters.step - 1) / plan_.steps_per_epoch(),
          .step = progress_.counters.step};
}

void Trainer::FinishStep() {
  if (!IsReplay()) {
    if (const auto too_many =
            TooManySkipped(spec_.train().max_skipped(), end_step(), progress_.skipped_in_a_row,
                           progress_.counters.skipped_steps)) {
      return Diverge(*too_many);
    }
  }
  const bool stops = figures_.stop_wanted && !IsLast();
  const bool kept = figures_.checkpoint_wanted || CheckpointIsDue(progress_.counters.step);
  // What cannot be trained on is no checkpoint: it would push out those that can. Every process
  // looks, not only the one that writes, so that all end.
  if ((kept || stops || EvaluationIsPending()) && !IsReplay() && !CheckState()) return;
  // A stop does not wait for an evaluation: that is made first when the run goes on.
  if (!stops) EvaluateIfDue();
  if (ended_) return;
  if (kept || stops) {
    progress_.until_next = !kept;
    SaveCheckpoint(IsLast() || stops);
  }
  if (stops && !ended_) ended_ = RunEnd::kStopped;
}

void Trainer::FinishRestoredStep() {
  // Written when the run was stopped here; now it is the run's last step, and its checkpoint to be
  // kept.
  const bool stays = progress_.until_next && IsLast();
  if (!EvaluationIsPending() && !stays) return;
  EvaluateIfDue();
  if (ended_) return;
  if (stays) progress_.until_next = false;
  SaveCheckpoint(IsLast());
}

void Trainer::EvaluateIfDue() {
  if (EvaluationIsPending()) Evaluate();
  if (!IsLast() || !progress_.evaluated) return;
  for (const auto& [name, figures] : progress_.tests) {
    if (std::isfinite(figures.loss)) continue;
    return Diverge("the loss of the last evaluation, with " + name + " statistics, is not finite");
  }
}

void Trainer::Evaluate() {
  progress_.evaluated = true;
  progress_.tests.clear();
  for (const int value : spec_.train().evaluate().with()) {
    Begin(Activity::kEvaluate);
    const auto mode = static_cast<v1::EvaluationMode>(value);
    const EvaluationResult result = evaluator_.Evaluate(mode, CurrentModel());
    const std::string name = EvaluationName(mode);
    progress_.tests[name] = {.loss = result.loss, .accuracy = result.accuracy};
    const bool finite = std::isfinite(result.loss);
    if (!finite && !IsLast()) {
      Warn("the evaluation after step " + std::to_string(progress_.counters.step) + ", with " +
           name + " statistics, has a loss that is not finite");
    }
    // The best checkpoint is judged by what inference would use: the first mode asked for.
    if (value == spec_.train().evaluate().with(0) && finite) {
      progress_.test_accuracy = result.accuracy;
      progress_.best_test_accuracy =
          std::max(progress_.best_test_accuracy.value_or(0), result.accuracy);
    }
    if (options_.metrics == nullptr && options_.observer == nullptr) continue;
    Begin(Activity::kRecord);
    MetricRecord record{.step = progress_.counters.step - 1,
                        .epoch = (progress_.counters.step - 1) / plan_.steps_per_epoch(),
                        .split = "test",
                        .evaluation = name,
                        .loss = result.loss,
                        .accuracy = result.accuracy,
                        .other_bits = !progress_.environment_changes.empty()};
    AddFigures(record);
    if (options_.metrics != nullptr) options_.metrics->Write(record);
    if (options_.observer != nullptr) options_.observer->OnEvaluation(record, result.seconds);
  }
}

bool Trainer::CheckState() {
  backend::Executor& executor = engine_.executors().main();
  const bool parameters =
      AllFinite(SquaredNorms(executor, *layouts_.parameters, parameters_.values()).OnHost());
  if (parameters && AllFinite(running_statistics_.OnHost())) return true;
  Diverge(parameters ? "the running statistics are not finite" : "the parameters are not finite");
  return false;
}

void Trainer::Diverge(const std::string& what) {
  ended_ = RunEnd::kDiverged;
  const std::string step = std::to_string(progress_.counters.step - 1);
  reason_ = what + ", after step " + step + ": is train.learning_rate.base too high?";
  if (options_.out.empty()) return;  // there will be nothing to play again
  reason_ += " 'syncbn replay " + options_.out.string() + " --step " + step +
             "' shows the ranges of every layer";
}

bool Trainer::Dumps(int64_t step) const {
  return step >= options_.dump_from && step < options_.dump_from + options_.dump_steps;
}

bool Trainer::CompletedEpochs(double every, int64_t steps) const {
  if (every <= 0 || steps == 0) return false;
  const double interval = every * static_cast<double>(plan_.steps_per_epoch());
  // The step that ends an interval is the first at or past its end.
  const auto intervals = [&](int64_t count) {
    return std::floor(static_cast<double>(count) / interval + 1e-9);
  };
  return intervals(steps) > intervals(steps - 1);
}

void Trainer::SetActivity(Activity activity) const {
  engine_.reducer().board().SetProcess(activity, progress_.counters.step);
}

void Trainer::Begin(Activity activity) const {
  SetActivity(activity);
  if (!options_.on_phase) return;
  options_.on_phase(
      activity, progress_.counters.step,
      static_cast<double>(progress_.counters.step) / static_cast<double>(plan_.steps_per_epoch()));
}

void Trainer::AddFigures(MetricRecord& record) const {
  if (options_.more_figures) record.AddFigures(options_.more_figures(record));
}

void Trainer::Warn(const std::string& warning) const {
  if (options_.observer != nullptr) options_.observer->OnWarning(warning);
}

}  // namespace syncbn::train
