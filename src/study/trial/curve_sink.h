// The metrics of a run as the curves of a trial.
#pragma once

#include <optional>
#include <string>

#include "study/measures.h"
#include "syncbn/v1/run.pb.h"
#include "train/figures.h"
#include "train/metrics.h"

namespace syncbn::study {

// An evaluation each, the means of each epoch of training, and the figures of probes.
class CurveSink final : public train::MetricSink {
 public:
  // `record` must outlive it.
  CurveSink(const v1::RunSpec& run, TrialRecord& record);

  // In the order of a run, a line a step.
  void Write(const train::MetricRecord& line) override;
  void Flush() override {}

  // After the last step.
  void Finish();

 private:
  void CloseEpoch();

  TrialRecord& record_;
  std::string evaluation_;
  int64_t epoch_ = 0, steps_ = 0, samples_ = 0;
  train::EpochSums sums_;
};

}  // namespace syncbn::study
