// Shows a run on the console: a live line on a terminal, a line for each evaluation or epoch.
#pragma once

#include <chrono>
#include <string>

#include "app/console.h"
#include "train/run_observer.h"

namespace syncbn::app {

class ConsoleObserver : public train::RunObserver {
 public:
  struct Options {
    bool quiet = false;  // warnings only
    bool live = true;    // a live line, if the output is a terminal
    // Without batch norm there are no statistics to evaluate with, and none are named.
    bool has_batch_norm = true;
  };
  explicit ConsoleObserver(const Options& options);

  void OnStart(const train::RunPlan& plan) override;
  void OnStep(const train::MetricRecord& record, const train::EpochSums& epoch) override;
  void OnEvaluation(const train::MetricRecord& record, double seconds) override;
  void OnCheckpoint(const std::filesystem::path& folder, int64_t step) override;
  void OnWarning(const std::string& warning) override;

  // Removes the live line.
  void Finish() { line_.Clear(); }

 private:
  void PrintEpoch(const train::MetricRecord& record, const train::EpochSums& epoch);

  const Options options_;
  LiveLine line_;
  train::RunPlan plan_;
  std::chrono::steady_clock::time_point start_, last_plain_;
  double rate_ = 0;
};

// The command line as one that can be pasted into a shell.
std::string QuoteCommand(const std::vector<std::string>& argv);

}  // namespace syncbn::app
