#include "app/study/study_progress.h"

#include <algorithm>
#include <cmath>

#include "base/text.h"
#include "study/outlook.h"

namespace syncbn::app {
namespace {

double AccuracyOf(const study::Plan& plan, const study::TrialRecord& record) {
  return study::MeasureOf("test_accuracy", record, plan.file().spec, {});
}

// Of a trial that did not finish: what fits on its line, without what is asked about it.
std::string ShortReason(const std::string& reason) {
  constexpr size_t kMost = 60;
  std::string text = reason.substr(0, reason.find('\n'));
  text = text.substr(0, text.find(": is train."));
  size_t end = 0, characters = 0;
  while (end < text.size() && characters < kMost) {
    end += std::max<size_t>(1, Utf8CharacterLength(std::string_view(text).substr(end)));
    ++characters;
  }
  return end < text.size() ? text.substr(0, end) + "..." : text;
}

std::string LineOf(const study::Plan& plan, const study::TrialResult& one) {
  std::string text = plan.Describe(plan.cells()[one.trial.cell]);
  if (!text.empty()) text += ", ";
  text += "seed " + std::to_string(one.trial.seed);
  if (one.trial.tuned) {
    text += ", " + plan.file().spec.tune().path() + " " + FormatDouble(*one.trial.tuned);
  }
  const study::TrialRecord& record = *one.record;
  if (record.end != study::TrialEnd::kFinished) {
    return text + ": " + study::TrialEndName(record.end) + ": " + ShortReason(record.reason);
  }
  const double accuracy = AccuracyOf(plan, record);
  const auto seconds = record.timings.find("seconds");
  const std::string result = std::isnan(accuracy) ? "" : Format("%.2f %% after ", 100 * accuracy);
  return text + ": " + result + Plural(record.steps, "step") +
         (seconds != record.timings.end() ? Format(", %.1f s", seconds->second) : "");
}

}  // namespace

StudyProgress::StudyProgress(const study::Plan& plan,
                             const std::map<std::string, study::TrialRecord>& results, bool quiet)
    : plan_(plan), quiet_(quiet), live_(stdout, !quiet), start_(std::chrono::steady_clock::now()) {
  const study::Outlook outlook(plan, results);
  for (const study::TrialResult& one : outlook.trials()) Consider(one);
}

void StudyProgress::Show(const study::Progress& progress, const study::TrialResult* ended) {
  const std::string count = std::to_string(progress.done) + "/" + std::to_string(progress.known);
  if (ended != nullptr) {
    Consider(*ended);
    if (!quiet_) live_.Print(Sentences(count + "  " + LineOf(plan_, *ended)));
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  const double share = static_cast<double>(progress.done) /
                       static_cast<double>(std::max<int64_t>(1, progress.known));
  std::string text =
      ProgressBar(share, 24) + " " + count + ", " + std::to_string(progress.running) + " running";
  if (progress.ran > 0) {
    text += ", " +
            FormatDuration(seconds / static_cast<double>(progress.ran) *
                           static_cast<double>(progress.known - progress.done)) +
            " to go";
  }
  if (best_) {
    text += Format("; best so far %.2f %%", 100 * best_->accuracy);
    if (!best_->cell.empty()) text += ": " + best_->cell;
  }
  live_.Update(text);
}

void StudyProgress::Consider(const study::TrialResult& one) {
  if (one.record == nullptr || one.record->end != study::TrialEnd::kFinished) return;
  const double accuracy = AccuracyOf(plan_, *one.record);
  if (std::isnan(accuracy) || (best_ && accuracy <= best_->accuracy)) return;
  best_ = {.accuracy = accuracy, .cell = plan_.Describe(plan_.cells()[one.trial.cell])};
}

}  // namespace syncbn::app
