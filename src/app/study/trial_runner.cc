#include "app/study/trial_runner.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "app/run/backend_program.h"
#include "app/run/run_facts.h"
#include "app/study/mpirun_trial.h"
#include "app/versions.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/host.h"
#include "study/trial/curve_sink.h"
#include "study/trial/trial_folder.h"
#include "train/training_run.h"

namespace syncbn::app {
namespace {

// What a study takes for the result of a trial; everything else is a fault that ends it.
bool IsResult(ErrorCode code) {
  return code == ErrorCode::kResourceExhausted || code == ErrorCode::kInvalidArgument ||
         code == ErrorCode::kFailedPrecondition || code == ErrorCode::kUnimplemented;
}

constexpr int64_t kFewSteps = 5;
// The probe that does something in every step, whenever it has a figure.
constexpr std::string_view kInEveryStep = "noise_scale";

study::TrialPlace HereAndNow() {
  return {.hosts = {HostName()},
          .processor = ProcessorName(),
          .cores = AvailableCores(),
          .ended = FormatTime(Clock::System().Now())};
}

v1::RunSpec FewSteps(const v1::RunSpec& run) {
  v1::RunSpec few = run;
  few.mutable_train()->set_max_steps(kFewSteps);
  few.clear_probes();
  if (run.probes().has_noise_scale()) {
    *few.mutable_probes()->mutable_noise_scale() = run.probes().noise_scale();
  }
  return few;
}

}  // namespace

LocalTrialRunner::LocalTrialRunner(const std::string& backend, std::filesystem::path scratch,
                                   int at_once)
    : backend_(MakeBackend(backend)),
      by_("syncbn " + ProgramVersion() + ", " + std::string(backend_->name()) + ": " +
          backend_->Description()),
      scratch_(std::move(scratch)),
      concurrency_(std::max(1, AvailableCores() / std::max(1, at_once))) {}

std::optional<study::TrialRecord> LocalTrialRunner::Run(const study::TrialResult& /*trial*/,
                                                        const v1::RunSpec& run, int processes,
                                                        std::stop_token stop) {
  if (processes == 1) return RunHere(run, std::move(stop));
  std::optional<study::TrialRecord> record =
      RunUnderMpirun(run, processes, std::string(backend_->name()), scratch_, stop);
  if (record && record->end == study::TrialEnd::kFailed) {
    record->by = by_;
    record->place = HereAndNow();
  }
  return record;
}

std::optional<study::TrialRecord> LocalTrialRunner::RunHere(const v1::RunSpec& run,
                                                            std::stop_token stop) {
  study::TrialRecord record;
  record.by = by_;
  study::CurveSink sink(run, record);
  try {
    const train::PreparedRun prepared(run, datasets_);
    record.classes = prepared.data().train().classes();
    train::RunEnvironment environment{
        .backend = backend_.get(), .datasets = &datasets_, .concurrency = concurrency_};
    environment.training.metrics = &sink;
    environment.training.stop = stop;
    const train::Summary summary = train::RunTraining(prepared, std::move(environment)).summary;
    if (summary.end == train::RunEnd::kStopped) return std::nullopt;
    sink.Finish();
    record.end = summary.end == train::RunEnd::kDiverged ? study::TrialEnd::kDiverged
                                                         : study::TrialEnd::kFinished;
    record.reason = summary.reason;
    record.digest = summary.digest ? summary.digest->Hex() : "";
    record.sizes = study::SizesOf(summary.parameters, summary.running_numbers, summary.traffic);
    record.timings = {{"seconds", summary.seconds},
                      {"images_per_second", summary.images_per_second},
                      {"tensor_bytes", static_cast<double>(summary.tensor_bytes)},
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
  record.place = HereAndNow();
  return record;
}

LocalTrialRunner::Images LocalTrialRunner::ImagesOf(const v1::RunSpec& run) {
  const train::PreparedRun prepared(run, datasets_);
  return {.training = prepared.train().dataset().size(), .test = prepared.test().dataset().size()};
}

train::Summary LocalTrialRunner::RunBriefly(const v1::RunSpec& run) {
  const train::PreparedRun prepared(run, datasets_);
  train::RunEnvironment environment{
      .backend = backend_.get(), .datasets = &datasets_, .concurrency = concurrency_};
  environment.training.evaluate = false;
  return train::RunTraining(prepared, std::move(environment)).summary;
}

double LocalTrialRunner::SecondsPerSample(const v1::RunSpec& run) {
  const train::Summary summary = RunBriefly(FewSteps(run));
  return summary.images_per_second > 0 ? 1 / summary.images_per_second : 0;
}

double LocalTrialRunner::ProbeSeconds(const v1::RunSpec& run, int64_t steps) {
  const v1::RunSpec few = FewSteps(run);
  const v1::ProbesSpec& probes = run.probes();
  std::optional<double> without;
  double seconds = 0;
  for (int i = 0; i < probes.GetDescriptor()->field_count(); ++i) {
    const google::protobuf::FieldDescriptor& field = *probes.GetDescriptor()->field(i);
    const google::protobuf::Message& probe = probes.GetReflection()->GetMessage(probes, &field);
    const auto& every = *probe.GetDescriptor()->FindFieldByName("every_steps");
    const int64_t interval = probe.GetReflection()->GetInt64(probe, &every);
    if (interval == 0 || field.name() == kInEveryStep) continue;
    // The first run warms up what the others use.
    if (!without) without = (RunBriefly(few), RunBriefly(few).seconds);
    v1::RunSpec one = few;
    google::protobuf::Message& only =
        *one.mutable_probes()->GetReflection()->MutableMessage(one.mutable_probes(), &field);
    only.CopyFrom(probe);
    only.GetReflection()->SetInt64(&only, &every, kFewSteps);  // a figure, at the end
    const int64_t figures = (steps + interval - 1) / interval;
    seconds += std::max(0.0, RunBriefly(one).seconds - *without) * static_cast<double>(figures);
  }
  return seconds;
}

double LocalTrialRunner::StartSeconds(const v1::RunSpec& run, int processes) {
  if (processes == 1) return 0;
  const auto begin = std::chrono::steady_clock::now();
  const std::optional<study::TrialRecord> record =
      RunUnderMpirun(FewSteps(run), processes, std::string(backend_->name()),
                     std::filesystem::temp_directory_path(), {});
  const std::chrono::duration<double> all = std::chrono::steady_clock::now() - begin;
  if (!record || !record->timings.contains("seconds")) return 0;
  return std::max(0.0, all.count() - record->timings.at("seconds"));
}

}  // namespace syncbn::app
