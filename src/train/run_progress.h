// How far a run has come, beside its tensors: all that must go on after a resume as if there had
// been no stop.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "train/checkpoint.h"
#include "train/figures.h"
#include "train/metric_record.h"

namespace syncbn::train {

struct RunProgress {
  Counters counters;
  // Of the epoch of the last step.
  EpochSums epoch;
  // The steps just done that were skipped.
  int64_t skipped_in_a_row = 0;
  // Whether the test split was evaluated after the last step, and what then counts for the best.
  bool evaluated = false;
  std::optional<double> test_accuracy;
  std::optional<double> best_test_accuracy;
  // The newest evaluation, by the statistics used: "running", "precise", "batch".
  std::map<std::string, Figures> tests;
  // See Probes::Kept.
  NamedFigures probes;
  // See Manifest.
  bool until_next = false;
  std::vector<EnvironmentChange> environment_changes;

  void CountStep(bool skipped);

  void WriteTo(Manifest& manifest) const;
  // Of a manifest of any version.
  static RunProgress From(const Manifest& manifest);
};

}  // namespace syncbn::train
