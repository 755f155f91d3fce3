// Where a run of the train command says how it goes: the console, metrics.jsonl, TensorBoard, and
// the coordinator.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include "app/run/console_observer.h"
#include "app/run/event_file.h"
#include "app/run/run_report.h"
#include "syncbn/v1/run.pb.h"
#include "train/metrics.h"
#include "train/trainer.h"

namespace syncbn::app {

// The console, and what the coordinator is to know of what is shown there.
class RunConsole : public ConsoleObserver {
 public:
  RunConsole(const Options& options, RunReport& report) : ConsoleObserver(options), report_(report) {}
  void OnCheckpoint(const std::filesystem::path& folder, int64_t step) override {
    ConsoleObserver::OnCheckpoint(folder, step);
    report_.SetCheckpoint(step);
    saved_ = step;
  }
  // Of the newest checkpoint of this run, also of the one it goes on from.
  void SetSaved(int64_t step) { saved_ = step; }
  std::optional<int64_t> saved() const { return saved_; }

 private:
  RunReport& report_;
  std::optional<int64_t> saved_;
};

// metrics.jsonl, TensorBoard's file and the coordinator. Where the trainer writes is known once it
// is restored, so the files come later.
class RunSink : public train::MetricSink {
 public:
  RunSink(RunReport& report, const v1::RunSpec& spec) : report_(report) {
    const auto& evaluations = spec.train().evaluate().with();
    if (!evaluations.empty()) {
      evaluation_ = train::EvaluationName(static_cast<v1::EvaluationMode>(evaluations[0]));
    }
  }
  // Without `with_events` there is no file for TensorBoard.
  void Open(const train::JsonlSinkOptions& options, bool with_events) {
    file_.emplace(options);
    if (with_events) OpenEvents(options);
  }
  // Whoever has no file open yet, or none at all, loses nothing by it.
  void WriteHistogram(int64_t step, const std::string& tag, tensorboard::HistogramProto histogram) {
    if (events_) events_->WriteHistogram(step, tag, std::move(histogram));
  }
  void Write(const train::MetricRecord& record) override {
    file_->Write(record);
    if (events_) events_->Write(record);
    report_.Write(record, evaluation_);
  }
  void Flush() override {
    report_.Flush();
    if (file_) file_->Flush();
    if (events_) events_->Flush();
  }

 private:
  void OpenEvents(const train::JsonlSinkOptions& options) {
    const int64_t step = options.resume_at_step.value_or(0);
    // An evaluation that is made again has the step of the last training record, which then is
    // written again, too.
    const int64_t first_step = options.evaluation_pending ? step - 1 : step;
    events_.emplace(EventFileOptions{.folder = options.path.parent_path(),
                                     .first_step = first_step,
                                     .evaluation = evaluation_,
                                     .on_warning = options.on_warning});
    if (first_step == step) return;
    for (const train::MetricRecord& record : train::ReadMetrics(options.path)) {
      if (record.step >= first_step) events_->Write(record);
    }
  }

  RunReport& report_;
  std::string evaluation_;
  std::optional<train::JsonlSink> file_;
  std::optional<EventFile> events_;
};

}  // namespace syncbn::app
