#include "study/report_answer.h"

#include <algorithm>
#include <map>
#include <optional>

#include "base/text.h"
#include "study/cell_figure.h"
#include "study/statistics/interval.h"

namespace syncbn::study {
namespace {

// The cell whose mean of the measure is best; nothing where none has a sample.
std::optional<size_t> BestCell(const Plan& plan, const Outlook& outlook,
                               const std::string& measure) {
  std::optional<size_t> best;
  double best_mean = 0;
  for (size_t cell = 0; cell < plan.cells().size(); ++cell) {
    const CellFigure figure = FigureOf(plan, outlook, cell, measure);
    const auto lost = static_cast<size_t>(figure.diverged);
    // The mean of some seeds of one is not compared with that of others of another.
    if (figure.samples.size() < plan.file().seeds.size() || lost == figure.ids.size()) continue;
    double mean = 0;
    for (const auto& [seed, value] : figure.samples) {
      mean += value / static_cast<double>(figure.samples.size());
    }
    if (best && (MoreIsBetter(measure) ? mean <= best_mean : mean >= best_mean)) continue;
    best = cell;
    best_mean = mean;
  }
  return best;
}

std::string TunedText(const Plan& plan, const Outlook& outlook, size_t cell) {
  if (outlook.tuned().empty() || !outlook.tuned()[cell].value) return "";
  return ", " + plan.file().spec.tune().path() + " " + FormatDouble(*outlook.tuned()[cell].value);
}

// How many of the other cells the seeds do not tell apart from this one: the best of many is best
// by chance, too. The interval of the difference, seed by seed, holds 0, or there is none.
std::string NotToldApart(const Plan& plan, const Outlook& outlook, size_t best,
                         const std::string& measure) {
  const std::map<uint64_t, double> reference = FigureOf(plan, outlook, best, measure).samples;
  int64_t others = 0, alike = 0;
  for (size_t cell = 0; cell < plan.cells().size(); ++cell) {
    if (cell == best) continue;
    ++others;
    const CellFigure figure = FigureOf(plan, outlook, cell, measure);
    if (figure.samples.empty() && figure.not_reached == 0) {  // nothing is known of it
      --others;
      continue;
    }
    if (figure.not_reached > 0) continue;  // what was never reached is not as good
    std::vector<double> differences;
    for (const auto& [seed, value] : figure.samples) {
      if (const auto found = reference.find(seed); found != reference.end()) {
        differences.push_back(found->second - value);
      }
    }
    if (differences.size() < 2) {
      ++alike;
      continue;
    }
    const Interval interval = StudentsInterval(differences);
    alike += interval.low <= 0 && interval.high >= 0 ? 1 : 0;
  }
  if (others == 0) return "";
  if (others == 1) {
    return std::string("; the seeds ") + (alike == 0 ? "tell" : "do not tell") +
           " it apart from the other cell";
  }
  if (alike == 0) return "; the seeds tell it apart from each of the others";
  return "; the seeds do not tell it apart from " +
         (alike == others ? "any" : std::to_string(alike)) + " of the other " +
         Plural(others, "cell");
}

}  // namespace

std::vector<std::string> Answer(const Plan& plan, const Outlook& outlook,
                                const std::vector<Judgement>& judgements) {
  std::vector<std::string> answer;
  const auto best = [&](const std::string& measure, const std::string& words) {
    const std::optional<size_t> cell = BestCell(plan, outlook, measure);
    if (!cell) return;
    answer.push_back(words + NameOf(plan, *cell) + TunedText(plan, outlook, *cell) + ": " +
                     FigureOf(plan, outlook, *cell, measure).Text(measure) +
                     NotToldApart(plan, outlook, *cell, measure) + ".");
  };
  if (plan.file().spec.targets_size() > 0) {
    const std::string& target = plan.file().spec.targets(0).name();
    if (BestCell(plan, outlook, "steps_to " + target)) {
      if (plan.file().spec.at_once() == 1) {  // times are of one at a time
        best("seconds_to " + target, "Reaches " + target + " soonest: ");
      } else {
        best("steps_to " + target, "Reaches " + target + " in the fewest steps: ");
      }
    } else {
      answer.push_back("No cell reaches " + target + " with each of its seeds.");
    }
  }
  best("test_accuracy", "The best test accuracy at the end has ");
  const auto diverged = std::ranges::count_if(outlook.trials(), [](const TrialResult& one) {
    return !one.trial.tuning && one.record != nullptr && one.record->end == TrialEnd::kDiverged;
  });
  if (diverged > 0) {
    answer.push_back(Plural(diverged, "trial") + " diverged, and " +
                     (diverged == 1 ? "counts" : "count") + " as guessing.");
  }
  const auto failed = std::ranges::count_if(outlook.trials(), [](const TrialResult& one) {
    return one.record != nullptr && one.record->end == TrialEnd::kFailed;
  });
  if (failed > 0) {
    answer.push_back(Plural(failed, "trial") +
                     " failed, for the reasons below: `syncbn study run` with " +
                     "--retry-failed runs " + (failed == 1 ? "it" : "them") + " again.");
  }
  std::vector<std::string> parts;
  for (const char* name : {"supported", "refuted", "inconclusive"}) {
    const auto count = std::ranges::count_if(judgements, [&](const Judgement& one) {
      return one.verdict && VerdictName(*one.verdict) == name;
    });
    if (count > 0) parts.push_back(std::to_string(count) + " " + name);
  }
  const auto open = std::ranges::count_if(judgements, [](const auto& one) { return !one.verdict; });
  if (open > 0) parts.push_back(std::to_string(open) + " without a verdict");
  if (!judgements.empty()) {
    std::string sentence = "Of " + Plural(static_cast<long long>(judgements.size()), "claim") +
                           ": " + Join(parts, ", ") + ".";
    if (std::ranges::any_of(judgements, [](const auto& one) { return !one.as_it_must; })) {
      sentence += " A negative control has not come out as it must: nothing here is proved.";
    }
    answer.push_back(std::move(sentence));
  }
  return answer;
}

}  // namespace syncbn::study
