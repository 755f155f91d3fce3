// What a run tells whoever watches it: the console, a test. Called by the process of replica 0, from the
// thread that drives the run.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "train/figures.h"
#include "train/metric_record.h"

namespace syncbn::train {

struct RunPlan {
  // Above 0: it goes on from a checkpoint of that step.
  int64_t first_step = 0;
  int64_t end_step = 0;     // steps when done
  int64_t total_steps = 0;  // of its epochs: train.max_steps may end it before
  int64_t steps_per_epoch = 0;
  int64_t sgd_batch = 0;
  // The evaluation after the step before the first is still to be made: a stop came between.
  bool evaluation_pending = false;

  // Nothing is left to be done.
  bool done() const { return first_step > 0 && first_step >= end_step && !evaluation_pending; }
};

class RunObserver {
 public:
  virtual ~RunObserver() = default;
  virtual void OnStart(const RunPlan& plan) {}
  // After every step, whether or not it is written to the metrics. `epoch`: of its epoch so far,
  // also of the steps before a resume.
  virtual void OnStep(const MetricRecord& record, const EpochSums& epoch) {}
  virtual void OnEvaluation(const MetricRecord& record, double seconds) {}
  virtual void OnCheckpoint(const std::filesystem::path& folder, int64_t step) {}
  // Something that does not stop the run but somebody should know.
  virtual void OnWarning(const std::string& warning) {}
};

}  // namespace syncbn::train
