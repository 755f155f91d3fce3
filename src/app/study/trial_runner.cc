#include "app/study/trial_runner.h"

#include <utility>

#include "app/run/run_facts.h"
#include "app/versions.h"
#include "base/error.h"
#include "train/training_run.h"

namespace syncbn::app {
namespace {

// The curves of a run: an evaluation each, and the means of each epoch of training.
class CurveSink final : public train::MetricSink {
 public:
  CurveSink(const v1::RunSpec& run, study::TrialRecord& record) : record_(record) {
    const auto& evaluations = run.train().evaluate().with();
    if (!evaluations.empty()) {
      evaluation_ = train::EvaluationName(static_cast<v1::EvaluationMode>(evaluations[0]));
    }
  }

  void Write(const train::MetricRecord& line) override {
    if (line.split == "train") {
      if (line.epoch != epoch_) CloseEpoch();
      epoch_ = line.epoch;
      steps_ = line.step + 1;
      const auto samples = static_cast<double>(line.samples.value_or(0));
      samples_ += line.samples.value_or(0);
      sums_.Add(line.loss.value_or(0) * samples, line.accuracy.value_or(0) * samples, samples,
                !line.skipped);
    } else if (line.evaluation == evaluation_) {
      record_.test.push_back({.steps = line.step + 1,
                              .samples = samples_,
                              .loss = line.loss.value_or(0),
                              .accuracy = line.accuracy.value_or(0)});
    }
  }
  void Flush() override {}

  // After the last step.
  void Finish() {
    CloseEpoch();
    record_.steps = steps_;
    record_.samples = samples_;
  }

 private:
  void CloseEpoch() {
    if (const std::optional<train::Figures> means = sums_.Means()) {
      record_.train.push_back(
          {.steps = steps_, .samples = samples_, .loss = means->loss, .accuracy = means->accuracy});
    }
    sums_ = {};
  }

  study::TrialRecord& record_;
  std::optional<std::string> evaluation_;
  int64_t epoch_ = 0, steps_ = 0, samples_ = 0;
  train::EpochSums sums_;
};

// What a study takes for the result of a trial; everything else is a fault that ends it.
bool IsResult(ErrorCode code) {
  return code == ErrorCode::kResourceExhausted || code == ErrorCode::kInvalidArgument ||
         code == ErrorCode::kFailedPrecondition || code == ErrorCode::kUnimplemented;
}

}  // namespace

LocalTrialRunner::LocalTrialRunner(const std::string& backend)
    : backend_(MakeBackend(backend)),
      by_("syncbn " + ProgramVersion() + ", " + std::string(backend_->name()) + ": " +
          backend_->Description()) {}

std::optional<study::TrialRecord> LocalTrialRunner::Run(const v1::RunSpec& run,
                                                        std::stop_token stop) {
  study::TrialRecord record;
  record.by = by_;
  CurveSink sink(run, record);
  try {
    const train::PreparedRun prepared(run, datasets_);
    record.classes = prepared.data().train().classes();
    train::RunEnvironment environment{.backend = backend_.get(), .datasets = &datasets_};
    environment.training.metrics = &sink;
    environment.training.stop = stop;
    const train::Summary summary = train::RunTraining(prepared, std::move(environment)).summary;
    if (summary.end == train::RunEnd::kStopped) return std::nullopt;
    sink.Finish();
    record.end = summary.end == train::RunEnd::kDiverged ? study::TrialEnd::kDiverged
                                                         : study::TrialEnd::kFinished;
    record.reason = summary.reason;
    record.digest = summary.digest ? summary.digest->Hex() : "";
    record.timings = {{"seconds", summary.seconds},
                      {"images_per_second", summary.images_per_second},
                      {"ms_compute", summary.milliseconds.compute},
                      {"ms_statistics", summary.milliseconds.statistics},
                      {"ms_gradients", summary.milliseconds.gradients},
                      {"ms_data", summary.milliseconds.data}};
  } catch (const Error& error) {
    if (stop.stop_requested()) return std::nullopt;
    if (!IsResult(error.code())) throw;
    record.end = study::TrialEnd::kFailed;
    record.reason = error.what();
  }
  return record;
}

int64_t LocalTrialRunner::TrainingImages(const v1::RunSpec& run) {
  return train::PreparedRun(run, datasets_).train().dataset().size();
}

double LocalTrialRunner::SecondsPerSample(const v1::RunSpec& run) {
  v1::RunSpec few = run;
  few.mutable_train()->set_max_steps(5);
  few.clear_probes();
  const train::PreparedRun prepared(few, datasets_);
  train::RunEnvironment environment{.backend = backend_.get(), .datasets = &datasets_};
  environment.training.evaluate = false;
  const train::Summary summary = train::RunTraining(prepared, std::move(environment)).summary;
  return summary.images_per_second > 0 ? 1 / summary.images_per_second : 0;
}

}  // namespace syncbn::app
