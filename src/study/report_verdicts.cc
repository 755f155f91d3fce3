#include "study/report_verdicts.h"

#include <algorithm>

#include "base/text.h"
#include "config/schema.h"
#include "data/batch_plan.h"

namespace syncbn::study {
namespace {

// The bounds of the rule, to be drawn beside the interval.
std::vector<double> ThresholdsOf(const v1::ClaimSpec& claim) {
  std::vector<double> thresholds;
  const auto add = [&](const v1::BoundsSpec& bounds) {
    if (bounds.has_above()) thresholds.push_back(bounds.above());
    if (bounds.has_below()) thresholds.push_back(bounds.below());
  };
  add(claim.supported());
  add(claim.refuted());
  if (claim.has_equivalent_within()) {
    const double margin = claim.equivalent_within();
    const bool ratio = claim.compare() == v1::COMPARISON_RATIO;
    thresholds = {ratio ? 1 / (1 + margin) : -margin, ratio ? 1 + margin : margin};
  }
  std::ranges::sort(thresholds);
  thresholds.erase(std::unique(thresholds.begin(), thresholds.end()), thresholds.end());
  return thresholds;
}

// What a result holds for, one each.
std::vector<std::string> FactsOf(const v1::RunSpec& run) {
  const auto word = [](const google::protobuf::Message& message, const char* key) {
    return config::FieldText(message, *message.GetDescriptor()->FindFieldByName(key));
  };
  const int64_t batch = data::SgdBatch(run.cluster());
  const double epochs = run.train().epochs();
  return {run.model().layers().empty() ? word(run.model(), "architecture")
                                       : "the model of the run file",
          word(run.data(), "dataset"),
          run.train().max_steps() > 0 ? Plural(run.train().max_steps(), "step") + " at most"
                                      : FormatDouble(epochs) + (epochs == 1 ? " epoch" : " epochs"),
          "SGD batch " + std::to_string(batch), Plural(run.cluster().replicas(), "replica")};
}

}  // namespace

document::Outcome OutcomeOf(const Judgement& judgement) {
  if (!judgement.verdict) return document::Outcome::kNone;
  switch (*judgement.verdict) {
    case Verdict::kSupported:
      return document::Outcome::kSupported;
    case Verdict::kRefuted:
      return document::Outcome::kRefuted;
    case Verdict::kInconclusive:
      return document::Outcome::kInconclusive;
  }
  return document::Outcome::kNone;
}

std::optional<document::Interval> IntervalOf(const Judgement& judgement) {
  if (judgement.level == 0) return std::nullopt;
  return document::Interval{judgement.interval.low, judgement.interval.high};
}

document::Verdict VerdictOf(const Judgement& judgement, const std::string& scale) {
  document::Verdict verdict{.claim = judgement.claim->text(),
                            .outcome = OutcomeOf(judgement),
                            .rule = judgement.rule,
                            .figures = {},
                            .scale = scale,
                            .interval_kind = std::to_string(judgement.level) + " % interval"};
  if (judgement.claim->control() != v1::OUTCOME_UNSPECIFIED) {
    verdict.claim =
        "Negative control: " + verdict.claim +
        (judgement.as_it_must                                  ? " (came out as it must)"
         : judgement.claim->control() == v1::OUTCOME_SUPPORTED ? " (must be supported, and is not)"
                                                               : " (must be refuted, and is not)");
  }
  if (!judgement.verdict) {
    verdict.rule += ". No verdict: " + judgement.why;
    return verdict;
  }
  verdict.figures.push_back({.name = judgement.figure,
                             .unit = "",
                             .value = judgement.interval.estimate,
                             .interval = IntervalOf(judgement),
                             .thresholds = ThresholdsOf(*judgement.claim),
                             .note = (judgement.level == 0 ? "exact, " : "") + judgement.samples});
  return verdict;
}

std::string ScaleOf(const Plan& plan) {
  constexpr size_t kLooked = 50;
  std::vector<std::vector<std::string>> facts;
  const size_t cells = plan.cells().size();
  for (size_t i = 0; i < std::min(cells, kLooked); ++i) {
    const size_t cell = cells <= kLooked ? i : i * (cells - 1) / (kLooked - 1);
    Trial trial = plan.TrialsOf(cell, std::nullopt).front();
    if (!plan.file().tuning_grid.empty()) trial.tuned = plan.file().tuning_grid.front();
    facts.push_back(FactsOf(plan.RunOf(trial)));
  }
  // What differs between cells is said by the axes.
  std::vector<std::string> parts;
  for (size_t fact = 0; fact < facts.front().size(); ++fact) {
    const bool same = std::ranges::all_of(
        facts, [&](const auto& one) { return one[fact] == facts.front()[fact]; });
    if (same) parts.push_back(facts.front()[fact]);
  }
  parts.push_back(Plural(static_cast<long long>(plan.file().seeds.size()), "seed"));
  return Join(parts, ", ");
}

}  // namespace syncbn::study
