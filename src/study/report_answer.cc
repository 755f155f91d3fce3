#include "study/report_answer.h"

#include <algorithm>
#include <map>
#include <optional>

#include "base/text.h"
#include "study/cell_figure.h"
#include "study/paired.h"

namespace syncbn::study {
namespace {

// The cell whose mean of the measure is best, of those in which it is known of each seed: one that
// some seed did not reach is never shown to be better (ToldApart). Nothing where there is none.
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

// What the seeds say of the others beside the best: the best of many is best by chance, too.
struct Others {
  int64_t cells = 0, alike = 0;  // of which something is known; that are not told apart
  int64_t cut_off = 0;           // of `alike`: not all of their seeds reached it before their end
  // Of the only other cell, where some of its seeds did not reach it: "3 of 5 seeds of batch 2".
  std::string missed;
  size_t seeds = 0;  // of the best
};

enum class Relation { kUnknown, kToldApart, kAlike };

// As claims are judged: by the interval of the difference, seed by seed, which is open where a seed
// did not reach it.
Relation RelationOf(const CellFigure& best, const CellFigure& other) {
  if (other.samples.empty() && other.ends.empty()) return Relation::kUnknown;
  // It has no later end at which it might still have got there.
  if (static_cast<size_t>(other.diverged) == other.ids.size()) return Relation::kToldApart;
  std::vector<double> a, b;
  for (const auto& [seed, value] : best.samples) {
    const auto reached = other.samples.find(seed), ended = other.ends.find(seed);
    if (reached == other.samples.end() && ended == other.ends.end()) continue;
    a.push_back(value);
    b.push_back(reached != other.samples.end() ? reached->second : ended->second);
  }
  if (a.size() < 2) return Relation::kAlike;
  const Interval interval = PairedInterval(a, b, /*ratio=*/false, {.below = !other.ends.empty()});
  const bool no_proof = a.size() < kFewestSeeds && HasNoWidth(interval);
  return no_proof || (interval.low <= 0 && interval.high >= 0) ? Relation::kAlike
                                                               : Relation::kToldApart;
}

Others OthersThan(const Plan& plan, const Outlook& outlook, size_t best,
                  const std::string& measure) {
  const CellFigure reference = FigureOf(plan, outlook, best, measure);
  Others others{.seeds = reference.samples.size()};
  for (size_t cell = 0; cell < plan.cells().size(); ++cell) {
    if (cell == best) continue;
    const CellFigure figure = FigureOf(plan, outlook, cell, measure);
    const Relation relation = RelationOf(reference, figure);
    if (relation == Relation::kUnknown) continue;
    ++others.cells;
    const bool alike = relation == Relation::kAlike;
    others.alike += alike ? 1 : 0;
    others.cut_off += alike && figure.not_reached > 0 ? 1 : 0;
    if (figure.not_reached > 0) {
      others.missed = std::to_string(figure.not_reached) + " of " +
                      Plural(static_cast<long long>(figure.ids.size()), "seed") + " of " +
                      NameOf(plan, cell);
    }
  }
  return others;
}

std::string OthersText(const Others& others) {
  if (others.cells == 0) return "";
  const std::string few =
      others.seeds < kFewestSeeds && others.alike < others.cells
          ? ", fewer than a verdict should have (" + std::to_string(kFewestSeeds) + "),"
          : "";
  if (others.cells == 1) {
    std::string text = "; the seeds" + few + (others.alike == 0 ? " tell" : " do not tell") +
                       " it apart from the other cell";
    if (others.missed.empty()) return text;
    return text + ": " + others.missed + " did not reach it before their end" +
           (others.alike == 0 ? "" : ", so which comes first is not known");
  }
  if (others.alike == 0) return "; the seeds" + few + " tell it apart from each of the others";
  std::string text = "; the seeds" + few + " do not tell it apart from " +
                     (others.alike == others.cells ? "any" : std::to_string(others.alike)) +
                     " of the other " + Plural(others.cells, "cell");
  if (others.cut_off > 0) {
    text +=
        ": of " + std::to_string(others.cut_off) +
        " of these not all seeds reached it before their end, so which comes first is not known";
  }
  return text;
}

}  // namespace

std::vector<std::string> Answer(const Plan& plan, const Outlook& outlook,
                                const std::vector<Judgement>& judgements) {
  std::vector<std::string> answer;
  const auto best = [&](const std::string& measure, const std::string& words, const char* joint) {
    const std::optional<size_t> cell = BestCell(plan, outlook, measure);
    if (!cell) return;
    const Others others = OthersThan(plan, outlook, *cell, measure);
    // What was cut off may have come first.
    const std::string of = others.cut_off > 0 ? " of the cells that reach it with each seed" : "";
    answer.push_back(words + of + joint + NameOf(plan, *cell) + TunedText(plan, outlook, *cell) +
                     ": " + FigureOf(plan, outlook, *cell, measure).HeadText(measure) +
                     OthersText(others) + ".");
  };
  if (plan.file().spec.targets_size() > 0) {
    const std::string& target = plan.file().spec.targets(0).name();
    if (BestCell(plan, outlook, "steps_to " + target)) {
      if (plan.file().spec.at_once() == 1) {  // times are of one at a time
        best("seconds_to " + target, "Reaches " + target + " soonest", ": ");
      } else {
        best("steps_to " + target, "Reaches " + target + " in the fewest steps", ": ");
      }
    } else {
      answer.push_back("No cell reaches " + target + " with each of its seeds.");
    }
  }
  best("test_accuracy", "The best test accuracy at the end has", " ");
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
  std::vector<size_t> by_nothing;
  for (size_t cell = 0; cell < outlook.tuned().size(); ++cell) {
    if (!outlook.tuned()[cell].by_nothing.empty()) by_nothing.push_back(cell);
  }
  if (!by_nothing.empty()) {
    const size_t first = by_nothing.front();
    answer.push_back("The tuning had nothing to choose from in " +
                     Plural(static_cast<long long>(by_nothing.size()), "cell") + "; the first, " +
                     NameOf(plan, first) + ": " + outlook.tuned()[first].by_nothing + ".");
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
    if (const std::string few = FewSeedsText(judgements); !few.empty()) sentence += " " + few;
    answer.push_back(std::move(sentence));
  }
  return answer;
}

}  // namespace syncbn::study
