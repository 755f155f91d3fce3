// What is known of a study by the results that there are: its trials, tuned values and thresholds.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "study/measures.h"
#include "study/plan.h"

namespace syncbn::study {

// A trial with its result, if it has one.
struct TrialResult {
  Trial trial;
  std::string id;
  const TrialRecord* record = nullptr;
};

// Which value a cell has been tuned to, and by what.
struct Tuned {
  // Nothing: not all trials of the grid have ended.
  std::optional<double> value;
  // Values that had whole runs, ascending, and the measure of each.
  std::vector<std::pair<double, double>> tried;
  // Values that were given up after a part of a run.
  std::vector<double> given_up;
  // The best is the first or the last of all that may be tried.
  bool on_edge = false;
  // Where no trial had anything to choose a value by: why, and what was taken. What the cell's
  // trials come to is then that of a rate that nothing speaks for.
  std::string by_nothing;
};

// All trials that are known by what has ended, in the order of the cells: those that tune, by
// value; then the others, by seed. A pure function of the results: it does not matter in which
// order they came.
class Outlook {
 public:
  // Both must outlive it. `stop`: whoever looks long at it ends early, see MeasureOf.
  Outlook(const Plan& plan, const std::map<std::string, TrialRecord>& results,
          std::stop_token stop = {});
  Outlook(const Plan& plan, std::map<std::string, TrialRecord>&& results,
          std::stop_token stop = {}) = delete;

  const std::vector<TrialResult>& trials() const { return trials_; }
  std::span<const TrialResult> OfCell(size_t cell) const;
  // By cell; empty where nothing is tuned.
  const std::vector<Tuned>& tuned() const { return tuned_; }
  // Of all targets.
  const Thresholds& thresholds() const { return thresholds_; }
  bool complete() const;
  // See study::MeasureOf; also of "tuned". Precondition: it has a record. Throws CANCELLED once it
  // has been asked to stop: claims, tables and plots are all made of such figures.
  double MeasureOf(const std::string& measure, const TrialResult& trial) const;

 private:
  void FindThresholds();

  const Plan* plan_;
  std::stop_token stop_;
  std::vector<TrialResult> trials_;
  // By cell: where its trials begin; and their end.
  std::vector<size_t> begins_;
  std::vector<Tuned> tuned_;
  Thresholds thresholds_;
};

}  // namespace syncbn::study
