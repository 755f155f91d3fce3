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

// The trials of a study at an SGD batch.
struct BatchTrials {
  std::set<size_t> cells;
  std::vector<CountedTrial> reached;
  std::vector<int64_t> ends;  // steps of those that ended without
  int diverged = 0;

  bool complete() const { return !reached.empty() && ends.empty() && diverged == 0; }
  // "64 (4 of 5 trials did not reach it in 48 to 96 steps, 1 diverged)"
  std::string MissedText(double batch) const {
    const auto [least, most] = std::ranges::minmax_element(ends);
    std::vector<std::string> parts;
    const size_t all = reached.size() + ends.size() + static_cast<size_t>(diverged);
    if (!ends.empty()) {
      parts.push_back(std::to_string(ends.size()) + " of " +
                      Plural(static_cast<long long>(all), "trial") + " did not reach it in " +
                      (*least < *most ? std::to_string(*least) + " to " : "") +
                      std::to_string(*most) + " steps");
    }
    if (diverged > 0) {
      parts.push_back(std::to_string(diverged) +
                      (ends.empty() ? " of " + Plural(static_cast<long long>(all), "trial") : "") +
                      " diverged");
    }
    return Rounded(batch) + " (" + Join(parts, ", ") + ")";
  }
};

// Where the law has fewer steps than trials ran that did not reach the target; nothing: nowhere.
std::string ContradictionOf(const NoiseLaw& law, const std::map<double, BatchTrials>& batches) {
  std::vector<std::string> parts;
  for (const auto& [batch, trials] : batches) {
    if (trials.ends.empty()) continue;
    const double steps = law.Steps(batch);
    if (steps >= static_cast<double>(std::ranges::max(trials.ends))) continue;
    parts.push_back(std::to_string(std::llround(steps)) + " steps at an SGD batch of " +
                    trials.MissedText(batch));
  }
  return parts.empty() ? "" : "the law contradicts the study: it has " + Join(parts, ", ");
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
  int64_t useless = 0;
  for (const train::MetricRecord& record : records) {
    if (record.split == "train") {
      biased |= record.figures.contains("noise_scale.biased");
      const auto found = record.figures.find("noise_scale");
      if (found != record.figures.end() && std::isfinite(found->second) && found->second > 0) {
        scales.push_back(found->second);
      } else if (found != record.figures.end()) {
        ++useless;
      }
    } else if (wanted && record.evaluation == evaluation &&
               record.accuracy.value_or(0) >= *wanted) {
      counted = CountedSteps{.batch = batch, .steps = static_cast<double>(record.step + 1)};
      break;
    }
  }
  if (scales.empty() && useless > 0) {
    throw Error(ErrorCode::kFailedPrecondition,
                folder.string() + ": of its " + Plural(useless, "figure") + " of the noise scale" +
                    (counted ? " before its target" : "") + " none is a number above 0" +
                    (biased ? ": replicas that share statistics are not independent, so that they "
                              "are biased; train it with a normalization batch of a replica's "
                              "samples (model.norm.batch)"
                            : ": the gradients are too noisy for it; give probes.noise_scale more "
                              "steps, or replicas larger batches"));
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
  std::map<double, BatchTrials> batches;
  int failed = 0;
  for (const study::TrialResult& one : outlook.trials()) {
    if (one.trial.tuning || one.record == nullptr) continue;
    const auto batch = static_cast<double>(data::SgdBatch(plan.RunOf(one.trial).cluster()));
    BatchTrials& trials = batches[batch];
    trials.cells.insert(one.trial.cell);
    const double steps = outlook.MeasureOf("steps_to " + name, one);
    if (std::isfinite(steps)) {
      trials.reached.push_back({.batch = batch, .seed = one.trial.seed, .steps = steps});
    } else if (!std::isinf(steps)) {
      ++failed;
    } else if (one.record->end == study::TrialEnd::kDiverged) {
      ++trials.diverged;
    } else {
      trials.ends.push_back(one.record->steps);
    }
  }
  // The mean of those that reached it would be that of the lucky ones.
  std::vector<CountedTrial> counted;
  std::vector<std::string> used, unused;
  NoiseSource source;
  for (const auto& [batch, trials] : batches) {
    if (trials.cells.size() > 1) {
      throw Error(
          ErrorCode::kFailedPrecondition,
          folder.string() + " has " + std::to_string(trials.cells.size()) +
              " cells of an SGD batch of " + Rounded(batch) +
              ": the law is of one setting at each batch; use a study whose axis is the batch "
              "alone");
    }
    if (trials.complete()) {
      counted.insert(counted.end(), trials.reached.begin(), trials.reached.end());
      used.push_back(Rounded(batch));
      source.largest_batch = static_cast<int64_t>(batch);
    } else if (!trials.ends.empty() || trials.diverged > 0) {
      unused.push_back(trials.MissedText(batch));
    }
  }
  const std::string not_used =
      unused.empty() ? "" : "; not used, as not all trials reached it: " + Join(unused, ", ");
  if (used.size() < 2 && !unused.empty()) {
    throw Error(ErrorCode::kFailedPrecondition,
                folder.string() + ": all trials reached " + name + " at " +
                    (used.empty() ? "no SGD batch" : "one SGD batch (" + used.front() + ")") +
                    ", and the law of the noise scale needs two or more" + not_used +
                    "; give those more steps (`steps` or train.epochs of the study), or take a "
                    "target that they reach");
  }
  source.law = FitLaw(counted);
  const double estimate = source.law.estimate.noise_scale;
  source.noise_scale = {.low = estimate, .estimate = estimate, .high = estimate};
  if (!source.law.draws.empty()) {
    source.noise_scale = ScaleInterval(source.law.draws);
    source.noise_scale.estimate = estimate;
  }
  source.contradiction = ContradictionOf(source.law.estimate, batches);
  source.description = "study " + folder.string() + ": steps to " + name + " in " +
                       Plural(static_cast<long long>(counted.size()), "trial") +
                       " at SGD batches of " + Join(used, ", ") + not_used;
  if (failed > 0) source.description += "; " + Plural(failed, "trial") + " failed";
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
