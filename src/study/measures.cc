#include "study/measures.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/unknown_value.h"

namespace syncbn::study {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();
constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

// The first evaluation at which the target is reached.
const Evaluation* Reached(const TrialRecord& record, const v1::TargetSpec& target) {
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
    if (target.has_at_least() ? here >= target.at_least() : here <= target.at_most()) return &at;
  }
  return nullptr;
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

std::vector<std::string> MeasureNames(const v1::StudySpec& study) {
  std::vector<std::string> names = {
      "test_accuracy", "best_test_accuracy", "test_loss", "train_loss", "gap", "diverged"};
  for (const v1::TargetSpec& target : study.targets()) {
    names.push_back("steps_to " + target.name());
    names.push_back("samples_to " + target.name());
  }
  if (study.has_tune()) names.push_back("tuned");
  return names;
}

bool MoreIsBetter(const std::string& measure) {
  return measure.ends_with("accuracy");
}

Measures MeasuresOf(const TrialRecord& record, const v1::StudySpec& study) {
  Measures measures;
  if (record.end == TrialEnd::kFailed) {
    for (const std::string& name : MeasureNames(study)) measures[name] = kNone;
    return measures;
  }
  const bool diverged = record.end == TrialEnd::kDiverged;
  // Of guessing.
  const double chance = record.classes > 0 ? 1.0 / record.classes : 0;
  const double chance_loss = record.classes > 0 ? std::log(record.classes) : 0;
  measures["diverged"] = diverged ? 1 : 0;
  measures["test_accuracy"] = diverged              ? chance
                              : record.test.empty() ? kNone
                                                    : record.test.back().accuracy;
  double best = record.test.empty() ? kNone : 0;
  for (const Evaluation& at : record.test) best = std::max(best, at.accuracy);
  measures["best_test_accuracy"] = diverged ? chance : best;
  measures["test_loss"] = diverged              ? chance_loss
                          : record.test.empty() ? kNone
                                                : record.test.back().loss;
  measures["train_loss"] = diverged               ? chance_loss
                           : record.train.empty() ? kNone
                                                  : record.train.back().loss;
  measures["gap"] = measures["test_loss"] - measures["train_loss"];
  for (const v1::TargetSpec& target : study.targets()) {
    // What was reached before it was lost is not reached.
    const Evaluation* at = diverged ? nullptr : Reached(record, target);
    measures["steps_to " + target.name()] = at != nullptr ? static_cast<double>(at->steps) : kNever;
    measures["samples_to " + target.name()] =
        at != nullptr ? static_cast<double>(at->samples) : kNever;
  }
  return measures;
}

}  // namespace syncbn::study
