// Where a run of the train command says how it goes: the console, metrics.jsonl, and the coordinator.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "app/run/console_observer.h"
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

// metrics.jsonl and the coordinator. Where the trainer writes is known once it is restored, so the file
// comes later.
class RunSink : public train::MetricSink {
 public:
  RunSink(RunReport& report, const v1::RunSpec& spec) : report_(report) {
    const auto& evaluations = spec.train().evaluate().with();
    if (!evaluations.empty()) {
      evaluation_ = train::EvaluationName(static_cast<v1::EvaluationMode>(evaluations[0]));
    }
  }
  void Open(const train::JsonlSinkOptions& options) { file_.emplace(options); }
  void Write(const train::MetricRecord& record) override {
    file_->Write(record);
    report_.Write(record, evaluation_);
  }
  void Flush() override {
    report_.Flush();
    if (file_) file_->Flush();
  }

 private:
  RunReport& report_;
  std::string evaluation_;
  std::optional<train::JsonlSink> file_;
};

}  // namespace syncbn::app
