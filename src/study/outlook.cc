#include "study/outlook.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "study/tuning.h"

namespace syncbn::study {

Outlook::Outlook(const Plan& plan, const std::map<std::string, TrialRecord>& results,
                 std::stop_token stop)
    : plan_(&plan), stop_(std::move(stop)) {
  for (size_t cell = 0; cell < plan.cells().size(); ++cell) {
    begins_.push_back(trials_.size());
    const auto add = [&](const Trial& trial) {
      TrialResult result{.trial = trial, .id = plan.IdOf(trial)};
      const auto found = results.find(result.id);
      if (found != results.end()) result.record = &found->second;
      trials_.push_back(std::move(result));
      return trials_.back().record;
    };
    std::optional<double> value;
    if (!plan.file().tuning_grid.empty()) {
      tuned_.push_back(Tune(plan, cell, add));
      value = tuned_.back().value;
      if (!value) continue;
    }
    for (const Trial& trial : plan.TrialsOf(cell, value)) add(trial);
  }
  begins_.push_back(trials_.size());
  FindThresholds();
}

std::span<const TrialResult> Outlook::OfCell(size_t cell) const {
  return std::span(trials_).subspan(begins_[cell], begins_[cell + 1] - begins_[cell]);
}

bool Outlook::complete() const {
  return std::ranges::all_of(trials_,
                             [](const TrialResult& one) { return one.record != nullptr; }) &&
         std::ranges::all_of(tuned_, [](const Tuned& one) { return one.value.has_value(); });
}

double Outlook::MeasureOf(const std::string& measure, const TrialResult& trial) const {
  if (stop_.stop_requested())
    throw Error(ErrorCode::kCancelled, "nobody wants the figures of the study any more");
  if (measure == "tuned") return trial.trial.tuned.value_or(std::nan(""));
  return study::MeasureOf(measure, *trial.record, plan_->file().spec, thresholds_);
}

void Outlook::FindThresholds() {
  const v1::StudySpec& study = plan_->file().spec;
  thresholds_ = StatedThresholds(study);
  for (const v1::TargetSpec& target : study.targets()) {
    if (!target.has_share_of_best()) continue;
    const v1::ShareOfBestSpec& spec = target.share_of_best();
    double sum = 0;
    int count = 0;
    bool all = true;
    for (size_t cell = 0; cell < tuned_.size(); ++cell) {
      all = all && (tuned_[cell].value || !Matches(*plan_, plan_->cells()[cell], spec.arm()));
    }
    for (const TrialResult& one : trials_) {
      if (one.trial.tuning || !Matches(*plan_, plan_->cells()[one.trial.cell], spec.arm()))
        continue;
      all = all && one.record != nullptr && one.record->end != TrialEnd::kFailed;
      if (!all) break;
      sum += study::MeasureOf("best_test_accuracy", *one.record, study, {});
      ++count;
    }
    const double threshold = spec.share() * sum / count;
    if (all && count > 0 && std::isfinite(threshold)) thresholds_[target.name()] = threshold;
  }
}

}  // namespace syncbn::study
