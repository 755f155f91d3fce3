// One step of a trainer, from its launch to its record.
//
// A step is launched, then its figures are taken. On the host it is over by then. A device has then
// been given the step behind it: it judges and updates by itself, and the host, which waits for the
// figures of step k, has launched step k + 1 before. What comes of a run is what it would be
// without:
//
//   Counters, sums of the epoch, records, observers, the rule on skipped steps and what FinishStep
//   does follow the figures, in the order of the steps. None of it is done for a step that was
//   launched and not taken, and the steps that a process says it has done are those that were
//   taken.
//
//   What is known before, from run file and options, is waited for: behind the last step, one after
//   which there is an evaluation or a checkpoint, and one that is shown to somebody (a dump,
//   probes, the digest of the state in its record) nothing is launched before its figures were
//   taken, and in front of the latter neither. Nor behind one that would end the run if it was
//   skipped (train.max_skipped): with in_a_row: 0 that is every step. (GoesAhead)
//
//   What processes learn by the figures alone, that one of them is asked to stop or for a
//   checkpoint, is answered in the state that the step has left which carried the request: the
//   device does not accept the step behind it (StepSettings::ahead), and so nothing has moved. The
//   host takes that one back, and launches it again, with its own requests, if the run goes on.
//   Observers of its pass then see it twice.
//
// All processes launch the same: whether they go ahead hangs on nothing that one of them knows
// alone (its metrics, its observer, its requests). Of a run that fails while a step is launched,
// the record of the step before is not written if that was not taken. What an error of the device
// says of layers is where the host was when it heard of it; the error names both steps. What NCCL
// does not end is known by its own name (comm/outstanding.h).
#include <chrono>
#include <span>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "comm/progress_board.h"
#include "train/trainer.h"

namespace syncbn::train {

void Trainer::MakeLoader(int64_t step) {
  loader_.reset();
  loader_ =
      std::make_unique<data::Loader>(train_, sampler_, plan_,
                                     data::Loader::Options{.first_replica = engine_.first_replica(),
                                                           .replicas = engine_.local_replicas(),
                                                           .prefetch = spec_.data().prefetch(),
                                                           .threads = options_.loader_threads,
                                                           .epoch = step / plan_.steps_per_epoch(),
                                                           .step = step % plan_.steps_per_epoch(),
                                                           .copies = FedTo()});
}

bool Trainer::IsShown(int64_t step) const {
  return spec_.output().digests() || Dumps(step) ||
         (!IsReplay() && probes_.AreDue(step, step + 1 == end_));
}

bool Trainer::GoesAhead(int64_t step) const {
  const bool on_host = &engine_.backend().device() == &Device::Host();
  if (on_host || step >= end_ || IsShown(step) || IsShown(step - 1)) return false;
  if (CheckpointIsDue(step) || EvaluationIsDue(step)) return false;
  return !TooManySkipped(spec_.train().max_skipped(), end_step(), progress_.skipped_in_a_row + 1,
                         progress_.counters.skipped_steps + 1);
}

ControlRequests Trainer::TakeRequests() {
  if (!requests_.empty()) {
    const ControlRequests requests = requests_.front();
    requests_.pop_front();
    return requests;
  }
  ControlRequests requests =
      options_.control_requests ? options_.control_requests() : ControlRequests();
  requests.stop |= options_.stop.stop_requested();
  return requests;
}

void Trainer::RunOneStep() {
  const auto start = std::chrono::steady_clock::now();
  Recorder* const recorder = engine_.recorder();
  shares_ = {};
  probing_ = {};
  TimeShares recorded;
  const auto end_recording = [&] {
    CountTime();
    TimeShares since = shares_;
    since -= recorded;
    recorded = shares_;
    if (recorder != nullptr) recorder->EndStep(since);
  };
  engine_.clock().Restart();
  if (launched_.empty()) Launch();
  if (const int64_t next = launched_.back().step + 1; GoesAhead(next)) {
    end_recording();
    WithFrame(
        [&] {
          return "launching step " + std::to_string(next) + ", with the device still at step " +
                 std::to_string(next - 1) + " perhaps";
        },
        [&] { Launch(); });
  }
  figures_ = TakeFigures();
  end_recording();
  const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start;
  if (figures_.checkpoint_wanted || figures_.stop_wanted) TakeBack();
  LaunchedStep taken = std::move(launched_.front());
  launched_.pop_front();
  Record(std::move(taken), (passed - probing_).count());
}

void Trainer::CountTime() {
  shares_ += engine_.clock().Read();
  engine_.clock().Restart();
}

void Trainer::Launch() {
  LaunchedStep launched;
  const bool ahead = !launched_.empty();
  const int64_t step = ahead ? launched_.back().step + 1 : progress_.counters.step;
  launched.step = step;
  launched.epoch = step / plan_.steps_per_epoch();
  launched.step_in_epoch = step % plan_.steps_per_epoch();
  launched.samples = plan_.Step(launched.step_in_epoch).size();
  launched.learning_rate = learning_rate_.At(step);
  launched.requests = TakeRequests();
  Begin(Activity::kTrain);
  const comm::ReducerCounters before = engine_.reducer().counters();
  std::vector<int64_t> logit_rows;
  if (Dumps(step)) {
    if (!options_.out.empty()) {
      backend::Executor& executor = engine_.executors().main();
      launched.before = {.parameters = executor.Clone(parameters_.values()),
                         .running_statistics = running_statistics_,  // replaced, never written to
                         .optimizer = optimizer_state_.Clone(executor)};
    }
    const int64_t first = plan_.Step(launched.step_in_epoch).begin;
    for (int replica = 0; replica < plan_.replicas(); ++replica) {
      logit_rows.push_back(plan_.Slice(launched.step_in_epoch, replica).begin - first);
    }
    logit_rows.push_back(launched.samples);
  }
  const bool probed = !IsReplay() && probes_.AreDue(step, step + 1 == end_);
  const StepSettings settings{.step = step,
                              .epoch = launched.epoch,
                              .seed = spec_.seed(),
                              .global_batch = launched.samples,
                              .label_smoothing = spec_.train().label_smoothing(),
                              .wants_checkpoint = launched.requests.checkpoint,
                              .wants_stop = launched.requests.stop,
                              .ahead = ahead,
                              .parameters = parameters_,
                              .running_statistics = running_statistics_,
                              .logit_rows = std::move(logit_rows),
                              .replica_squares = probed};
  Recorder* const recorder = engine_.recorder();
  if (recorder != nullptr) recorder->BeginStep(step);
  step_.Run(
      settings,
      [&](int replica) {
        data::LoadedBatch loaded = loader_->Next(replica);
        SYNCBN_CHECK(loaded.epoch == launched.epoch && loaded.step == launched.step_in_epoch)
            << "the loader is at epoch " << loaded.epoch << " step " << loaded.step;
        return Fed(step, replica, std::move(loaded.batch));
      },
      [&](int replica) {
        return options_.observe ? options_.observe(step, replica) : nn::TensorObserver();
      });
  step_.Judge(spec_.train().clip_norm());
  if (probed) {
    // What probes take is no part of the step's time.
    CountTime();
    const Recorder::Pause pause(recorder);
    const auto begin = std::chrono::steady_clock::now();
    launched.probes = LookAtStep(settings, launched.learning_rate);
    probing_ += std::chrono::steady_clock::now() - begin;
    engine_.clock().Restart();
  }
  {
    const Recorder::Part part(recorder, "update");
    Commit(launched.learning_rate);
  }
  launched.figures = step_.SendFigures();
  const comm::ReducerCounters after = engine_.reducer().counters();
  launched.traffic = {.steps = 1,
                      .reductions = after.reductions - before.reductions,
                      .messages = after.messages - before.messages,
                      .bytes = after.bytes - before.bytes};
  launched_.push_back(std::move(launched));
}

void Trainer::Commit(double learning_rate) {
  backend::Executor& executor = engine_.executors().main();
  const Tensor verdict = step_.verdict();
  parameters_.Write([&](Tensor& values) {
    optimizer_.Update(executor,
                      {.learning_rate = learning_rate,
                       .gradients = step_.gradients(),
                       .squares = step_.squares(),
                       .verdict = verdict},
                      values, optimizer_state_);
  });
  running_statistics_ = nn::UpdatedRunningStatistics(executor, *layouts_.running_statistics,
                                                     engine_.model().running_rule(),
                                                     running_statistics_, step_.moments(), verdict);
}

StepFigures Trainer::TakeFigures() {
  const LaunchedStep& oldest = launched_.front();
  if (step_.gradients().on_host()) return step_.Take(oldest.figures);
  // On a device what was given to it for that step is done now.
  const Recorder::Part part(engine_.recorder(), "figures");
  SetActivity(Activity::kDevice);
  const StepFigures figures = step_.Take(oldest.figures);
  SetActivity(Activity::kTrain);
  return figures;
}

void Trainer::TakeBack() {
  if (launched_.size() < 2) return;
  const LaunchedStep& behind = launched_.back();
  SetActivity(Activity::kDevice);
  SYNCBN_CHECK(!step_.Take(behind.figures).accepted)
      << "step " << behind.step << " was accepted behind one that was asked for something";
  requests_.push_back(behind.requests);
  SetActivity(Activity::kTrain);
  launched_.pop_back();
  MakeLoader(launched_.back().step + 1);
}

void Trainer::Record(LaunchedStep launched, double seconds) {
  if (launched.step_in_epoch == 0) progress_.epoch = {};
  progress_.CountStep(!figures_.accepted);
  progress_.counters.epoch = progress_.counters.step / plan_.steps_per_epoch();
  progress_.counters.samples += launched.samples;
  progress_.epoch.Add(figures_.loss, figures_.correct, figures_.samples, figures_.accepted);
  traffic_.steps += launched.traffic.steps;
  traffic_.reductions += launched.traffic.reductions;
  traffic_.messages += launched.traffic.messages;
  traffic_.bytes += launched.traffic.bytes;
  attempt_samples_ += launched.samples;
  step_seconds_ += seconds;
  const MetricRecord::Milliseconds milliseconds{
      .compute = shares_.Milliseconds(Share::kCompute),
      .statistics = shares_.Milliseconds(Share::kStatistics),
      .gradients = shares_.Milliseconds(Share::kGradients),
      .data = shares_.Milliseconds(Share::kData)};
  spent_.compute += milliseconds.compute;
  spent_.statistics += milliseconds.statistics;
  spent_.gradients += milliseconds.gradients;
  spent_.data += milliseconds.data;

  if (launched.before) Dump(launched);
  if (options_.metrics == nullptr && options_.observer == nullptr) return;
  Begin(Activity::kRecord);
  MetricRecord record{.step = launched.step,
                      .epoch = launched.epoch,
                      .split = "train",
                      .samples = launched.samples,
                      .loss = figures_.loss / figures_.samples,
                      .accuracy = figures_.correct / figures_.samples,
                      .learning_rate = launched.learning_rate,
                      .gradient_norm = figures_.gradient_norm,
                      .skipped = !figures_.accepted,
                      .images_per_second = static_cast<double>(launched.samples) / seconds,
                      .milliseconds = milliseconds,
                      .other_bits = !progress_.environment_changes.empty()};
  if (spec_.output().digests()) record.digest = StateDigest();
  record.AddFigures(launched.probes);
  AddFigures(record);
  const bool is_due = progress_.counters.step % spec_.output().every_steps() == 0;
  if (options_.metrics != nullptr && (is_due || !launched.probes.empty())) {
    options_.metrics->Write(record);
  }
  if (options_.observer != nullptr) options_.observer->OnStep(record, progress_.epoch);
}

}  // namespace syncbn::train
