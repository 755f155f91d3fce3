#include "study/measures.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <string_view>

#include "base/error.h"
#include "base/unknown_value.h"
#include "study/figures.h"

namespace syncbn::study {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();
constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

// The first evaluation at which the target is reached.
const Evaluation* Reached(const TrialRecord& record, const v1::TargetSpec& target,
                          double threshold) {
  const bool train = target.metric() == v1::TARGET_METRIC_TRAIN_LOSS;
  const auto value = [&](const Evaluation& at) {
    switch (target.metric()) {
      case v1::TARGET_METRIC_UNSPECIFIED:
      case v1::TARGET_METRIC_TEST_ACCURACY:
        return at.accuracy;
      case v1::TARGET_METRIC_TEST_LOSS:
      case v1::TARGET_METRIC_TRAIN_LOSS:
        return at.loss;
      default:
        ThrowUnknownValue("targets.metric", static_cast<int>(target.metric()));
    }
  };
  for (const Evaluation& at : train ? record.train : record.test) {
    const double here = value(at);
    if (target.has_at_most() ? here <= threshold : here >= threshold) return &at;
  }
  return nullptr;
}

double LastAccuracy(const std::vector<Evaluation>& evaluations) {
  return evaluations.empty() ? kNone : evaluations.back().accuracy;
}

const std::vector<Evaluation>& With(const TrialRecord& record, const std::string& statistics) {
  static const std::vector<Evaluation> kNothing;
  const auto found = record.test_with.find(statistics);
  return found == record.test_with.end() ? kNothing : found->second;
}

// Accuracy with precise statistics minus that with running averages, at the same evaluation.
double RunningGap(const TrialRecord& record, bool last) {
  const std::vector<Evaluation>& precise = With(record, "precise");
  const std::vector<Evaluation>& running = With(record, "running");
  const size_t both = std::min(precise.size(), running.size());
  if (both == 0) return kNone;
  const size_t at = last ? both - 1 : 0;
  return precise[at].accuracy - running[at].accuracy;
}

double TimeOf(const TrialRecord& record, const std::string& name) {
  const auto found = record.timings.find(name);
  return found == record.timings.end() ? kNone : found->second;
}

struct Target {
  std::string_view what;  // "steps", "samples", "seconds"
  const v1::TargetSpec* spec = nullptr;
};

Target TargetOf(const std::string& measure, const v1::StudySpec& study) {
  for (const std::string_view what : {"steps", "samples", "seconds"}) {
    const std::string prefix = std::string(what) + "_to ";
    if (!measure.starts_with(prefix)) continue;
    for (const v1::TargetSpec& target : study.targets()) {
      if (target.name() == measure.substr(prefix.size())) return {what, &target};
    }
  }
  return {};
}

double ToTarget(const Target& target, const TrialRecord& record, const Thresholds& thresholds) {
  const auto threshold = thresholds.find(target.spec->name());
  if (threshold == thresholds.end() || !threshold->second) return kNone;
  // What was reached before it was lost is not reached.
  const bool train = target.spec->metric() == v1::TARGET_METRIC_TRAIN_LOSS;
  if (record.end != TrialEnd::kDiverged && (train ? record.train : record.test).empty()) {
    return kNone;
  }
  const Evaluation* at = record.end == TrialEnd::kDiverged
                             ? nullptr
                             : Reached(record, *target.spec, *threshold->second);
  if (at == nullptr) return kNever;
  if (target.what == "steps") return static_cast<double>(at->steps);
  if (target.what == "samples") return static_cast<double>(at->samples);
  const double rate = TimeOf(record, "images_per_second");
  return rate > 0 ? static_cast<double>(at->samples) / rate : kNone;
}

const std::vector<std::string>& ResultMeasures() {
  static const std::vector<std::string> kNames = {"test_accuracy",
                                                  "best_test_accuracy",
                                                  "test_loss",
                                                  "train_loss",
                                                  "gap",
                                                  "diverged",
                                                  "test_accuracy_precise",
                                                  "test_accuracy_batch",
                                                  "running_gap",
                                                  "first_running_gap"};
  return kNames;
}

const std::vector<std::string>& TimeMeasures() {
  static const std::vector<std::string> kNames = {"step_ms", "samples_per_second",
                                                  "statistics_share", "seconds", "tensor_bytes"};
  return kNames;
}

double SizeOf(const TrialRecord& record, const std::string& name) {
  const auto found = record.sizes.find(name);
  return found == record.sizes.end() ? kNone : found->second;
}

bool Contains(const std::vector<std::string>& names, const std::string& name) {
  return std::ranges::find(names, name) != names.end();
}

// Of guessing, where a trial has diverged.
std::optional<double> OfGuessing(const std::string& measure, const TrialRecord& record) {
  const double chance = record.classes > 0 ? 1.0 / record.classes : 0;
  if (measure.ends_with("loss")) return record.classes > 0 ? std::log(record.classes) : 0;
  if (measure == "gap" || measure.ends_with("running_gap")) return 0;
  if (measure.starts_with("test_accuracy") || measure == "best_test_accuracy") return chance;
  return std::nullopt;
}

double Accuracy(const std::string& measure, const TrialRecord& record) {
  if (measure == "test_accuracy_precise") return LastAccuracy(With(record, "precise"));
  if (measure == "test_accuracy_batch") return LastAccuracy(With(record, "batch"));
  if (measure == "test_accuracy") return LastAccuracy(record.test);
  double best = record.test.empty() ? kNone : 0;
  for (const Evaluation& at : record.test) best = std::max(best, at.accuracy);
  return best;
}

double Time(const std::string& measure, const TrialRecord& record) {
  if (measure == "seconds") return TimeOf(record, "seconds");
  if (measure == "samples_per_second") return TimeOf(record, "images_per_second");
  if (measure == "tensor_bytes") return TimeOf(record, measure);
  double sum = 0;
  for (const char* part : {"ms_compute", "ms_statistics", "ms_gradients", "ms_data"}) {
    sum += TimeOf(record, part);
  }
  if (measure == "statistics_share") return TimeOf(record, "ms_statistics") / sum;
  return record.steps > 0 ? sum / static_cast<double>(record.steps) : kNone;
}

}  // namespace

const char* TrialEndName(TrialEnd end) {
  switch (end) {
    case TrialEnd::kFinished:
      return "finished";
    case TrialEnd::kDiverged:
      return "diverged";
    case TrialEnd::kFailed:
      return "failed";
  }
  return "";
}

Thresholds StatedThresholds(const v1::StudySpec& study) {
  Thresholds thresholds;
  for (const v1::TargetSpec& target : study.targets()) {
    std::optional<double>& threshold = thresholds[target.name()];
    if (target.has_at_least()) threshold = target.at_least();
    if (target.has_at_most()) threshold = target.at_most();
  }
  return thresholds;
}

double MeasureOf(const std::string& measure, const TrialRecord& record, const v1::StudySpec& study,
                 const Thresholds& thresholds) {
  if (!IsMeasure(measure, study)) {
    throw Error(ErrorCode::kInvalidArgument, "there is no measure `" + measure + "`");
  }
  if (record.end == TrialEnd::kFailed) return kNone;
  const bool diverged = record.end == TrialEnd::kDiverged;
  if (measure == "diverged") return diverged ? 1 : 0;
  if (const Target target = TargetOf(measure, study); target.spec != nullptr) {
    return ToTarget(target, record, thresholds);
  }
  if (IsFigure(measure)) return ProbeFigureOf(measure, record);
  if (Contains(TimeMeasures(), measure)) return Time(measure, record);
  if (Contains(SizeMeasures(), measure)) return SizeOf(record, measure);
  if (diverged) {
    if (const std::optional<double> guess = OfGuessing(measure, record)) return *guess;
  }
  if (measure.ends_with("running_gap")) return RunningGap(record, measure == "running_gap");
  if (measure.find("accuracy") != std::string::npos) return Accuracy(measure, record);
  const double test = record.test.empty() ? kNone : record.test.back().loss;
  const double train = record.train.empty() ? kNone : record.train.back().loss;
  return measure == "test_loss" ? test : measure == "train_loss" ? train : test - train;
}

bool IsMeasure(const std::string& measure, const v1::StudySpec& study) {
  return Contains(ResultMeasures(), measure) || Contains(TimeMeasures(), measure) ||
         Contains(SizeMeasures(), measure) || TargetOf(measure, study).spec != nullptr ||
         IsFigure(measure);
}

std::vector<std::string> MeasureNames(const v1::StudySpec& study) {
  std::vector<std::string> names(ResultMeasures().begin(), ResultMeasures().begin() + 6);
  for (const v1::TargetSpec& target : study.targets()) {
    names.push_back("steps_to " + target.name());
    names.push_back("samples_to " + target.name());
  }
  std::vector<std::string> more = AskedMeasures(study);
  if (study.has_tune()) more.push_back(study.tune().measure());
  for (const std::string& measure : more) {
    if (IsMeasure(measure, study) && !Contains(names, measure)) names.push_back(measure);
  }
  if (study.has_tune()) names.push_back("tuned");
  return names;
}

std::vector<std::string> AskedMeasures(const v1::StudySpec& study) {
  std::vector<std::string> names;
  for (const v1::ClaimSpec& claim : study.claims()) {
    const bool bits = claim.compare() == v1::COMPARISON_SAME_BITS;
    if (!bits && !Contains(names, claim.measure())) names.push_back(claim.measure());
  }
  return names;
}

std::vector<std::string> KnownMeasures(const v1::StudySpec& study) {
  std::vector<std::string> names = ResultMeasures();
  for (const v1::TargetSpec& target : study.targets()) {
    for (const char* what : {"steps_to ", "samples_to ", "seconds_to "}) {
      names.push_back(what + target.name());
    }
  }
  names.insert(names.end(), SizeMeasures().begin(), SizeMeasures().end());
  names.insert(names.end(), TimeMeasures().begin(), TimeMeasures().end());
  names.push_back("figure NAME");
  if (study.has_tune()) names.push_back("tuned");
  return names;
}

const std::vector<std::string>& SizeMeasures() {
  static const std::vector<std::string> kNames = {"parameters", "running_numbers",
                                                  "step_reductions", "step_messages", "step_bytes"};
  return kNames;
}

bool IsTime(const std::string& measure) {
  return Contains(TimeMeasures(), measure) || measure.starts_with("seconds_to ");
}

PossibleRange PossibleRangeOf(const std::string& measure) {
  if (IsFigure(measure) || measure == "gap" || measure.ends_with("running_gap") ||
      measure == "tuned") {
    return {};
  }
  const bool share = IsAccuracy(measure) || measure == "diverged" || measure == "statistics_share";
  // Losses, counts, sizes and times.
  return {.low = 0, .high = share ? 1 : std::numeric_limits<double>::infinity()};
}

bool IsAccuracy(const std::string& measure) {
  return Contains(ResultMeasures(), measure) && measure.find("accuracy") != std::string::npos;
}

bool MoreIsBetter(const std::string& measure) {
  return IsAccuracy(measure) || measure == "samples_per_second";
}

}  // namespace syncbn::study
