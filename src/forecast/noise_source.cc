#include "forecast/noise_source.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <set>
#include <system_error>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "config/run_file.h"
#include "data/batch_plan.h"
#include "study/outlook.h"
#include "study/result_log.h"
#include "study/study_folder.h"
#include "train/metrics.h"

namespace syncbn::forecast {
namespace {

namespace fs = std::filesystem;

std::string Rounded(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", value);
  return text;
}

// The mean of logarithms over consecutive parts of a series, as ratios.
study::Interval IntervalOf(const std::vector<double>& series) {
  constexpr size_t kMostParts = 10;
  const size_t parts = std::min(kMostParts, series.size());
  std::vector<double> means;
  for (size_t part = 0; part < parts; ++part) {
    const size_t begin = part * series.size() / parts, end = (part + 1) * series.size() / parts;
    double sum = 0;
    for (size_t i = begin; i < end; ++i) sum += std::log(series[i]);
    means.push_back(sum / static_cast<double>(end - begin));
  }
  if (parts >= 3) return study::Exponential(study::MeanInterval(means));
  double sum = 0;
  for (const double mean : means) sum += mean / static_cast<double>(parts);
  const double alone = std::exp(sum);
  return {.low = alone, .estimate = alone, .high = alone};
}

study::Interval ScaleInterval(const UncertainLaw& law) {
  const double estimate = law.estimate.noise_scale;
  study::Interval interval{.low = estimate, .estimate = estimate, .high = estimate};
  if (law.draws.empty()) return interval;
  std::vector<double> scales;
  for (const NoiseLaw& draw : law.draws) scales.push_back(draw.noise_scale);
  std::ranges::sort(scales);
  const auto last = static_cast<double>(scales.size() - 1);
  interval.low = std::min(estimate, scales[static_cast<size_t>(0.025 * last)]);
  interval.high = std::max(estimate, scales[static_cast<size_t>(0.975 * last)]);
  return interval;
}

}  // namespace

NoiseSource FromRun(const fs::path& folder, std::optional<double> accuracy) {
  const v1::RunSpec run =
      config::ParseStoredRunFile(ReadFile(folder / "run.yaml"), (folder / "run.yaml").string())
          .spec;
  const std::vector<train::MetricRecord> records = train::ReadMetrics(folder / "metrics.jsonl");
  const auto batch = static_cast<double>(data::SgdBatch(run.cluster()));
  // The first statistics that are evaluated with are those that inference would use.
  std::optional<std::string> evaluation;
  std::optional<double> last, best;
  for (const train::MetricRecord& record : records) {
    if (record.split != "test" || !record.accuracy) continue;
    if (!evaluation) evaluation = record.evaluation;
    if (record.evaluation != evaluation) continue;
    last = record.accuracy;
    best = std::max(best.value_or(0), *record.accuracy);
  }
  const std::optional<double> wanted = accuracy ? accuracy : last;
  if (accuracy && !(best && *best >= *accuracy)) {
    throw Error(ErrorCode::kFailedPrecondition,
                folder.string() + " has not reached an accuracy of " + FormatDouble(*accuracy) +
                    (best ? ": its best is " + FormatDouble(*best) : ": it was never evaluated"));
  }
  NoiseSource source;
  std::vector<double> scales;
  std::optional<CountedSteps> counted;
  bool biased = false;
  for (const train::MetricRecord& record : records) {
    if (record.split == "train") {
      biased |= record.figures.contains("noise_scale.biased");
      const auto found = record.figures.find("noise_scale");
      if (found != record.figures.end() && std::isfinite(found->second) && found->second > 0) {
        scales.push_back(found->second);
      }
    } else if (wanted && record.evaluation == evaluation &&
               record.accuracy.value_or(0) >= *wanted) {
      counted = CountedSteps{.batch = batch, .steps = static_cast<double>(record.step + 1)};
      break;
    }
  }
  if (scales.empty()) {
    throw Error(ErrorCode::kFailedPrecondition,
                folder.string() + " has no figures of the noise scale" +
                    (counted ? " before its target" : "") +
                    ": train it with --set probes.noise_scale=100, on two replicas or more");
  }
  source.noise_scale = IntervalOf(scales);
  source.law = LawOf(source.noise_scale, counted);
  source.description = "run " + folder.string() + ": " +
                       Plural(static_cast<long long>(scales.size()), "figure") +
                       " of the noise scale at an SGD batch of " + Rounded(batch);
  if (counted) {
    source.description += ", test accuracy " + Rounded(*wanted) + " after " +
                          Plural(static_cast<long long>(counted->steps), "step");
  }
  if (biased) source.description += " (biased: its replicas share statistics)";
  return source;
}

NoiseSource FromStudy(const fs::path& folder, const std::string& target) {
  const study::Plan plan(study::LoadStoredStudy(folder));
  const v1::StudySpec& spec = plan.file().spec;
  std::vector<std::string> names;
  for (const v1::TargetSpec& one : spec.targets()) names.push_back(one.name());
  const std::string name = target.empty() && names.size() == 1 ? names.front() : target;
  if (std::ranges::find(names, name) == names.end()) {
    throw Error(
        ErrorCode::kFailedPrecondition,
        folder.string() +
            (names.empty() ? " counts steps to no target (`targets` of its study file)"
             : target.empty()
                 ? " has several targets; say which with --target: " + JoinAlternatives(names)
                 : " has no target '" + target + "'; it has " + JoinAlternatives(names)));
  }
  const std::map<std::string, study::TrialRecord> results =
      study::ReadResults(folder / study::kResultsFile);
  const study::Outlook outlook(plan, results);
  std::vector<CountedTrial> trials;
  std::map<double, std::set<size_t>> cells;
  int missed = 0;
  for (const study::TrialResult& one : outlook.trials()) {
    if (one.trial.tuning || one.record == nullptr) continue;
    const auto batch = static_cast<double>(data::SgdBatch(plan.RunOf(one.trial).cluster()));
    cells[batch].insert(one.trial.cell);
    const double steps = outlook.MeasureOf("steps_to " + name, one);
    if (!std::isfinite(steps)) {
      ++missed;
      continue;
    }
    trials.push_back({.batch = batch, .seed = one.trial.seed, .steps = steps});
  }
  for (const auto& [batch, of_batch] : cells) {
    if (of_batch.size() == 1) continue;
    throw Error(
        ErrorCode::kFailedPrecondition,
        folder.string() + " has " + std::to_string(of_batch.size()) + " cells of an SGD batch of " +
            Rounded(batch) +
            ": the law is of one setting at each batch; use a study whose axis is the batch "
            "alone");
  }
  NoiseSource source{.law = FitLaw(trials)};
  source.noise_scale = ScaleInterval(source.law);
  source.description = "study " + folder.string() + ": steps to " + name + " in " +
                       Plural(static_cast<long long>(trials.size()), "trial") + " at " +
                       std::to_string(cells.size()) + " SGD batches";
  if (missed > 0) source.description += "; " + Plural(missed, "trial") + " did not reach it";
  return source;
}

NoiseSource FromFolder(const fs::path& folder, std::optional<double> accuracy,
                       const std::string& target) {
  std::error_code error;
  if (fs::exists(folder / study::kStudyFile, error)) {
    if (accuracy) {
      throw Error(ErrorCode::kInvalidArgument,
                  "--accuracy is of a run; a study has its own targets (--target)");
    }
    return FromStudy(folder, target);
  }
  if (!fs::exists(folder / "metrics.jsonl", error)) {
    throw Error(ErrorCode::kNotFound,
                folder.string() +
                    " is the folder of neither a run (metrics.jsonl) nor a study (study.yaml)");
  }
  if (!target.empty()) {
    throw Error(ErrorCode::kInvalidArgument, "--target is of a study; a run has --accuracy");
  }
  return FromRun(folder, accuracy);
}

}  // namespace syncbn::forecast
