#include "train/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "base/clock.h"
#include "base/unknown_value.h"
#include "comm/progress_board.h"
#include "nn/simple_layers.h"
#include "train/step_dump.h"
#include "train/tensor_names.h"

namespace syncbn::train {
namespace {

int64_t TotalSteps(const v1::TrainSpec& spec, int64_t steps_per_epoch) {
  return std::max<int64_t>(1, std::llround(spec.epochs() * static_cast<double>(steps_per_epoch)));
}

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
      total_steps_(TotalSteps(spec.train(), plan_.steps_per_epoch())),
      learning_rate_(spec.train().learning_rate(), plan_.batch(), plan_.steps_per_epoch(),
                     total_steps_),
      optimizer_(spec.train().optimizer(), engine.model().parameters()),
      layouts_{&engine.model().parameters(), &engine.model().state(), &optimizer_},
      evaluator_(engine, train, test,
                 {.batch_per_replica = data::BatchPerReplica(spec.cluster()),
                  .precise_samples = spec.train().evaluate().precise_samples()}),
      step_(engine, spec.cluster().bucket_mib() * 1024 * 1024),
      state_{.parameters = nn::InitialParameters(engine.model().parameters(), spec.seed(),
                                                 engine.backend().dtype()),
             .running = nn::InitialState(engine.model().state()),
             .optimizer = optimizer_.InitialState(engine.backend().dtype())} {}

Digest Trainer::StateDigest() const {
  return train::StateDigest(*layouts_.parameters, *layouts_.running, state_.parameters,
                            state_.running);
}

int64_t Trainer::end_step() const {
  const int64_t limit = spec_.train().max_steps();
  return limit > 0 ? std::min(total_steps_, limit) : total_steps_;
}

void Trainer::Restore(TrainingState state, const Manifest& manifest) {
  state_ = std::move(state);
  counters_ = manifest.counters;
  version_ = backend::WeightsVersion::New();
  auto figure = [&](const char* name) -> std::optional<double> {
    const auto found = manifest.figures.find(name);
    if (found == manifest.figures.end()) return std::nullopt;
    return found->second;
  };
  epoch_loss_ = figure("epoch_loss").value_or(0);
  epoch_correct_ = figure("epoch_correct").value_or(0);
  epoch_samples_ = figure("epoch_samples").value_or(0);
  best_accuracy_ = figure("best_test_accuracy");
}

Summary Trainer::Run() {
  const auto start = std::chrono::steady_clock::now();
  Summary summary;
  summary.name = spec_.name();
  summary.replicas = engine_.reducer().replicas();
  summary.started = FormatTime(Clock::System().Now());

  int64_t end = end_step();
  if (options_.stop_at) end = std::min(end, *options_.stop_at);
  const bool is_replay = options_.stop_at.has_value();
  if (options_.observer != nullptr) {
    options_.observer->OnStart({.first_step = counters_.step,
                                .end_step = end,
                                .steps_per_epoch = plan_.steps_per_epoch(),
                                .sgd_batch = plan_.batch()});
  }
  loader_ = std::make_unique<data::Loader>(
      train_, sampler_, plan_,
      data::Loader::Options{.first_replica = engine_.first_replica(),
                            .replicas = engine_.local_replicas(),
                            .prefetch = spec_.data().prefetch(),
                            .epoch = counters_.step / plan_.steps_per_epoch(),
                            .step = counters_.step % plan_.steps_per_epoch()});

  bool stopped = false;
  while (counters_.step < end && !stopped) {
    test_accuracy_.reset();
    RunOneStep(options_.wishes ? options_.wishes() : Wishes());
    const bool last = counters_.step == end;
    const StepTotals& totals = step_.totals();
    stopped = totals.stop_wanted && !last;
    if (options_.evaluate && !stopped &&
        (last || CompletedEpochs(spec_.train().evaluate().every_epochs()))) {
      Evaluate(summary);
    }
    const v1::CheckpointSpec& checkpoint = spec_.train().checkpoint();
    const bool due = CompletedEpochs(checkpoint.every_epochs()) ||
                     (checkpoint.every_steps() > 0 && counters_.step % checkpoint.every_steps() == 0);
    if (due || last || stopped || totals.checkpoint_wanted) SaveCheckpoint();
  }
  loader_.reset();
  Begin(Activity::kFinish);
  if (options_.metrics != nullptr && !is_replay) {
    try {
      options_.metrics->Flush();
    } catch (const Error& error) {
      Warn("the last metrics are not safely on disk: " + error.message());
    }
  }

  summary.status = stopped ? "stopped" : "finished";
  summary.steps = counters_.step;
  summary.epochs = static_cast<double>(counters_.step) / static_cast<double>(plan_.steps_per_epoch());
  summary.samples = counters_.samples;
  summary.skipped_steps = counters_.skipped_steps;
  summary.train = last_epoch_;
  summary.best_test_accuracy = best_accuracy_;
  summary.digest = StateDigest();
  summary.finished = FormatTime(Clock::System().Now());
  summary.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (step_seconds_ > 0) {
    summary.images_per_second = static_cast<double>(attempt_samples_) / step_seconds_;
  }
  summary.milliseconds = spent_;
  return summary;
}

ModelState Trainer::CurrentModel() const {
  return {.parameters = state_.parameters,
          .parameters_version = version_,
          .running = state_.running,
          .seed = spec_.seed(),
          .epoch = std::max<int64_t>(0, counters_.step - 1) / plan_.steps_per_epoch(),
          .step = counters_.step};
}

void Trainer::RunOneStep(const Wishes& wishes) {
  Begin(Activity::kTrain);
  const int64_t step = counters_.step;
  const int64_t epoch = step / plan_.steps_per_epoch();
  const int64_t step_in_epoch = step % plan_.steps_per_epoch();
  const int64_t global_batch = plan_.Step(step_in_epoch).size();
  const double rate = learning_rate_.At(step);
  TrainingState before;
  std::vector<int64_t> logit_rows;
  const bool writes_dump = Dumps(step) && !options_.out.empty();
  if (writes_dump) {
    before = {.parameters = state_.parameters.Clone(),
              .running = state_.running,  // replaced, never written to
              .optimizer = state_.optimizer.Clone()};
  }
  if (Dumps(step)) {
    const int64_t first = plan_.Step(step_in_epoch).begin;
    for (int replica = 0; replica < plan_.replicas(); ++replica) {
      logit_rows.push_back(plan_.Slice(step_in_epoch, replica).begin - first);
    }
    logit_rows.push_back(global_batch);
  }
  const auto start = std::chrono::steady_clock::now();

  engine_.clock().Restart();
  step_.Run(
      {.step = step,
       .epoch = epoch,
       .seed = spec_.seed(),
       .global_batch = global_batch,
       .label_smoothing = spec_.train().label_smoothing(),
       .wants_checkpoint = wishes.checkpoint,
       .wants_stop = wishes.stop,
       .parameters = state_.parameters,
       .parameters_version = version_,
       .norm_state = state_.running,
       .logit_rows = std::move(logit_rows)},
      [&](int replica) {
        data::LoadedBatch loaded = loader_->Next(replica);
        SYNCBN_CHECK(loaded.epoch == epoch && loaded.step == step_in_epoch)
            << "the loader is at epoch " << loaded.epoch << " step " << loaded.step;
        if (options_.on_batch) {
          // It has its data: what is done with them now is no waiting.
          engine_.reducer().Report(replica, step, "batch", "");
          options_.on_batch(step, replica, loaded.batch);
        }
        return std::move(loaded.batch);
      },
      [&](int replica) {
        return options_.observe ? options_.observe(step, replica) : nn::TensorObserver();
      });
  const Accepted accepted = Commit(rate);
  const TimeShares shares = engine_.clock().Read();
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();

  ++counters_.step;
  counters_.epoch = counters_.step / plan_.steps_per_epoch();
  counters_.samples += global_batch;
  if (!accepted.accepted) ++counters_.skipped_steps;
  attempt_samples_ += global_batch;
  step_seconds_ += seconds;
  const MetricRecord::Milliseconds milliseconds{
      .compute = shares.Milliseconds(Share::kCompute),
      .statistics = shares.Milliseconds(Share::kStatistics),
      .gradients = shares.Milliseconds(Share::kGradients),
      .data = shares.Milliseconds(Share::kData)};
  spent_.compute += milliseconds.compute;
  spent_.statistics += milliseconds.statistics;
  spent_.gradients += milliseconds.gradients;
  spent_.data += milliseconds.data;

  const StepTotals& totals = step_.totals();
  if (step_in_epoch == 0) epoch_loss_ = epoch_correct_ = epoch_samples_ = 0;
  epoch_loss_ += totals.loss;
  epoch_correct_ += totals.correct;
  epoch_samples_ += totals.samples;
  last_epoch_ = {.loss = epoch_loss_ / epoch_samples_, .accuracy = epoch_correct_ / epoch_samples_};

  if (writes_dump) Dump(accepted, rate, std::move(before));
  if (options_.metrics == nullptr && options_.observer == nullptr) return;
  Begin(Activity::kRecord);
  MetricRecord record{.step = step,
                      .epoch = epoch,
                      .split = "train",
                      .samples = global_batch,
                      .loss = totals.loss / totals.samples,
                      .accuracy = totals.correct / totals.samples,
                      .learning_rate = rate,
                      .gradient_norm = accepted.gradient_norm,
                      .skipped = !accepted.accepted,
                      .images_per_second = static_cast<double>(global_batch) / seconds,
                      .milliseconds = milliseconds};
  if (spec_.output().digests()) record.digest = StateDigest();
  if (options_.metrics != nullptr && counters_.step % spec_.output().every_steps() == 0) {
    options_.metrics->Write(record);
  }
  if (options_.observer != nullptr) options_.observer->OnStep(record);
}

Trainer::Accepted Trainer::Commit(double learning_rate) {
  backend::Executor& executor = engine_.executors().main();
  const GradientNorm norm = GlobalNorm(executor, *layouts_.parameters, step_.gradients());
  Accepted result{.gradient_norm = norm.norm};
  result.accepted =
      norm.finite && std::isfinite(step_.totals().loss) && AllFinite(step_.moments());
  if (!result.accepted) return result;
  result.gradient_scale = ClipScale(norm.norm, spec_.train().clip_norm());
  optimizer_.Update(executor,
                    {.learning_rate = learning_rate,
                     .gradient_scale = result.gradient_scale,
                     .gradients = step_.gradients()},
                    state_.parameters, state_.optimizer);
  state_.running = nn::UpdatedState(*layouts_.running, engine_.model().running_rule(),
                                    state_.running, step_.moments());
  version_ = backend::WeightsVersion::New();
  return result;
}

void Trainer::Evaluate(Summary& summary) {
  for (const int value : spec_.train().evaluate().with()) {
    Begin(Activity::kEvaluate);
    const auto mode = static_cast<v1::EvaluationMode>(value);
    const EvaluationResult result = evaluator_.Evaluate(mode, CurrentModel());
    const std::string name = EvaluationName(mode);
    summary.test[name] = {.loss = result.loss, .accuracy = result.accuracy};
    // The best checkpoint is judged by what inference would use: the first mode asked for.
    if (!test_accuracy_) {
      test_accuracy_ = result.accuracy;
      best_accuracy_ = std::max(best_accuracy_.value_or(0), result.accuracy);
    }
    const MetricRecord record{.step = counters_.step - 1,
                              .epoch = (counters_.step - 1) / plan_.steps_per_epoch(),
                              .split = "test",
                              .evaluation = name,
                              .loss = result.loss,
                              .accuracy = result.accuracy};
    Begin(Activity::kRecord);
    if (options_.metrics != nullptr) options_.metrics->Write(record);
    if (options_.observer != nullptr) options_.observer->OnEvaluation(record, result.seconds);
  }
}

void Trainer::SaveCheckpoint() {
  if (options_.checkpoints == nullptr) return;
  Begin(Activity::kCheckpoint);
  try {
    if (options_.metrics != nullptr) options_.metrics->Flush();
    Manifest manifest = options_.manifest;
    manifest.counters = counters_;
    manifest.optimizer_updates = state_.optimizer.updates;
    manifest.test_accuracy = test_accuracy_;
    manifest.figures = {{"epoch_loss", epoch_loss_},
                        {"epoch_correct", epoch_correct_},
                        {"epoch_samples", epoch_samples_}};
    if (best_accuracy_) manifest.figures["best_test_accuracy"] = *best_accuracy_;
    manifest.state_digest = StateDigest();
    manifest.created = FormatTime(Clock::System().Now());
    const auto folder =
        options_.checkpoints->Save(std::move(manifest), CheckpointTensors(layouts_, state_));
    if (options_.observer != nullptr) options_.observer->OnCheckpoint(folder, counters_.step);
  } catch (const Error& error) {
    // A later attempt has taken over: this one must leave.
    if (error.code() == ErrorCode::kAborted) throw;
    Warn("the checkpoint of step " + std::to_string(counters_.step) +
         " was not written; earlier ones are untouched and training goes on: " + error.message());
  }
}

void Trainer::Dump(const Accepted& accepted, double learning_rate, TrainingState before) {
  Begin(Activity::kDump);
  const int64_t step = counters_.step - 1;
  const int64_t epoch = step / plan_.steps_per_epoch();
  const int64_t step_in_epoch = step % plan_.steps_per_epoch();
  const data::PositionRange range = plan_.Step(step_in_epoch);
  const std::vector<uint64_t> order = sampler_.Order(epoch);
  // Batches are keyed: made again they are what every replica was fed.
  const data::Batch batch = train_.Make(
      std::span(order).subspan(static_cast<size_t>(range.begin), static_cast<size_t>(range.size())),
      epoch);
  StepDump dump{.step = step,
                .epoch = epoch,
                .learning_rate = learning_rate,
                .loss = step_.totals().loss / step_.totals().samples,
                .gradient_scale = accepted.gradient_scale,
                .accepted = accepted.accepted,
                .images = batch.images,
                .labels = batch.labels,
                .replica = Tensor({range.size()}, DType::kInt32),
                .sample_ids = Tensor({range.size()}, DType::kInt64),
                .logits = step_.logits(),
                .gradients = step_.gradients(),
                .before = std::move(before),
                .after = state_};
  for (const nn::DropoutSite& site : engine_.model().dropouts()) {
    dump.dropouts.push_back(
        {site.layer, nn::DropoutFactors(engine_.executors().main(), site, spec_.seed(), epoch,
                                        batch.sample_ids)});
  }
  std::ranges::copy(batch.sample_ids, dump.sample_ids.Data<int64_t>());
  for (int replica = 0; replica < plan_.replicas(); ++replica) {
    const data::PositionRange slice = plan_.Slice(step_in_epoch, replica);
    std::fill_n(dump.replica.Data<int32_t>() + (slice.begin - range.begin), slice.size(), replica);
  }
  try {
    WriteStepDump(options_.out, layouts_, dump);
  } catch (const Error& error) {
    Warn("step " + std::to_string(step) + " was not dumped: " + error.message());
  }
}

bool Trainer::Dumps(int64_t step) const {
  return step >= options_.dump_from && step < options_.dump_from + options_.dump_steps;
}

bool Trainer::CompletedEpochs(double every) const {
  if (every <= 0) return false;
  const double interval = every * static_cast<double>(plan_.steps_per_epoch());
  // The step that ends an interval is the first at or past its end.
  auto intervals = [&](int64_t steps) { return std::floor(static_cast<double>(steps) / interval + 1e-9); };
  return intervals(counters_.step) > intervals(counters_.step - 1);
}

void Trainer::Begin(Activity activity) const {
  engine_.reducer().board().SetProcess(activity, counters_.step);
  if (!options_.on_phase) return;
  options_.on_phase(activity, counters_.step,
                    static_cast<double>(counters_.step) /
                        static_cast<double>(plan_.steps_per_epoch()));
}

void Trainer::Warn(const std::string& warning) const {
  if (options_.observer != nullptr) options_.observer->OnWarning(warning);
}

}  // namespace syncbn::train
