#include "study/report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/text.h"
#include "study/report_charts.h"
#include "study/statistics/interval.h"

namespace syncbn::study {
namespace {

std::string Number(double value, bool percent) {
  char text[48];
  std::snprintf(text, sizeof text, percent ? "%.2f" : "%.4g", percent ? 100 * value : value);
  return text;
}

// A value of a CSV file: in quotation marks where it needs them.
std::string CsvText(const std::string& text) {
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + "\"";
}

std::string CsvNumber(double value) {
  if (std::isnan(value)) return "";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  return FormatDouble(value);
}

// The columns that say which trial a line is of.
void AppendTrial(std::string& csv, const Plan& plan, const TrialResult& one) {
  csv += one.id;
  const Cell& cell = plan.cells()[one.trial.cell];
  for (size_t axis = 0; axis < plan.file().axes.size(); ++axis) {
    csv += "," + CsvText(plan.LevelOf(cell, axis).label);
  }
  csv += "," + std::to_string(one.trial.seed);
  if (plan.file().spec.has_tune()) {
    csv += "," + (one.trial.tuned ? CsvNumber(*one.trial.tuned) : "") + "," +
           (one.trial.tuning ? "tune" : "judge");
  }
}

std::string TrialHeader(const Plan& plan) {
  std::string csv = "trial";
  for (const Axis& axis : plan.file().axes) csv += "," + CsvText(axis.name);
  csv += ",seed";
  if (plan.file().spec.has_tune()) {
    csv += "," + CsvText(plan.file().spec.tune().path()) + ",purpose";
  }
  return csv;
}

// The cell whose mean of the measure is best; nothing where none has a sample.
std::optional<size_t> BestCell(const Plan& plan, const Outlook& outlook,
                               const std::string& measure) {
  std::optional<size_t> best;
  double best_mean = 0;
  for (size_t cell = 0; cell < plan.cells().size(); ++cell) {
    const CellFigure figure = FigureOf(plan, outlook, cell, measure);
    const auto lost = static_cast<size_t>(figure.diverged);
    if (figure.samples.empty() || figure.not_reached > 0 || lost == figure.ids.size()) continue;
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

std::string NameOf(const Plan& plan, size_t cell) {
  const std::string text = plan.Describe(plan.cells()[cell]);
  return text.empty() ? "the run file as it is" : text;
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
  if (alike == 0) return "; the seeds tell it apart from each of the others";
  return "; the seeds do not tell it apart from " + std::to_string(alike) + " of the other " +
         Plural(others, "cell");
}

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
      best("steps_to " + target, "Reaches " + target + " in the fewest steps: ");
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
        (judgement.as_it_must ? " (came out as it must)" : " (must come out otherwise)");
  }
  if (!judgement.verdict) {
    verdict.rule += ". No verdict: " + judgement.why;
    return verdict;
  }
  verdict.figures.push_back(
      {.name = judgement.figure,
       .unit = "",
       .value = judgement.interval.estimate,
       .interval = document::Interval{judgement.interval.low, judgement.interval.high},
       .thresholds = ThresholdsOf(*judgement.claim),
       .note = judgement.samples});
  return verdict;
}

document::Table CellTable(const Plan& plan, const Outlook& outlook) {
  document::Table table{
      .caption = "Means over the seeds with 95 % intervals", .columns = {}, .rows = {}};
  table.columns.push_back({.title = "cell", .align = document::Align::kLeft});
  table.columns.push_back({.title = "seeds", .align = document::Align::kRight});
  std::vector<std::string> measures = {"test_accuracy", "test_loss", "train_loss"};
  for (const v1::TargetSpec& target : plan.file().spec.targets()) {
    measures.push_back("steps_to " + target.name());
  }
  if (plan.file().spec.has_tune()) {
    table.columns.push_back(
        {.title = plan.file().spec.tune().path(), .align = document::Align::kRight});
  }
  for (const std::string& measure : measures) {
    table.columns.push_back({.title = measure, .align = document::Align::kRight});
  }
  for (size_t cell = 0; cell < plan.cells().size(); ++cell) {
    const CellFigure ended = FigureOf(plan, outlook, cell, "diverged");
    document::Row row{.cells = {NameOf(plan, cell), std::to_string(ended.samples.size())},
                      .state = {},
                      .note = ""};
    if (ended.failed > 0) {
      row.state = document::RowState::kFlagged;
      row.note = Plural(ended.failed, "trial") + " failed, and " +
                 (ended.failed == 1 ? "is" : "are") + " not in it";
    }
    if (plan.file().spec.has_tune()) {
      const Tuned* tuned = outlook.tuned().empty() ? nullptr : &outlook.tuned()[cell];
      row.cells.push_back(tuned != nullptr && tuned->value ? FormatDouble(*tuned->value) : "-");
      if (tuned != nullptr && tuned->on_edge) {
        row.state = document::RowState::kFlagged;
        row.note = "the best is at the edge of what was tried";
      }
    }
    for (const std::string& measure : measures) {
      const CellFigure figure = FigureOf(plan, outlook, cell, measure);
      row.cells.push_back(figure.Text(measure));
      if (figure.diverged > 0) {
        row.state = document::RowState::kDiverged;
        row.note = Plural(figure.diverged, "trial") + " diverged";
      }
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

document::Table Troubles(const Plan& plan, const Outlook& outlook) {
  document::Table table{.caption = "",
                        .columns = {{.title = "trial", .align = document::Align::kLeft},
                                    {.title = "settings", .align = document::Align::kLeft},
                                    {.title = "end", .align = document::Align::kLeft},
                                    {.title = "reason", .align = document::Align::kLeft}},
                        .rows = {}};
  for (const TrialResult& one : outlook.trials()) {
    if (one.record == nullptr || one.record->end == TrialEnd::kFinished) continue;
    std::string settings =
        NameOf(plan, one.trial.cell) + ", seed " + std::to_string(one.trial.seed);
    if (one.trial.tuned) settings += ", tuned " + FormatDouble(*one.trial.tuned);
    table.rows.push_back(
        {.cells = {one.id, settings, TrialEndName(one.record->end), one.record->reason},
         .state = one.record->end == TrialEnd::kDiverged ? document::RowState::kDiverged
                                                         : document::RowState::kFlagged,
         .note = ""});
  }
  return table;
}

}  // namespace

std::vector<double> CellFigure::Values() const {
  std::vector<double> values;
  for (const auto& [seed, value] : samples) values.push_back(value);
  return values;
}

std::string CellFigure::Text(const std::string& measure) const {
  // The mean of those that reached it would be that of the lucky ones.
  if (not_reached > 0) {
    return "not reached by " + std::to_string(not_reached) + " of " + std::to_string(ids.size());
  }
  const bool percent = measure.ends_with("accuracy");
  const std::vector<double> values = Values();
  if (values.empty()) return "-";
  if (values.size() == 1) return Number(values[0], percent) + (percent ? " %" : "");
  const Interval interval = MeanInterval(values);
  return Number(interval.estimate, percent) + (percent ? " %" : "") + " [" +
         Number(interval.low, percent) + ", " + Number(interval.high, percent) + "]";
}

CellFigure FigureOf(const Plan& plan, const Outlook& outlook, size_t cell,
                    const std::string& measure) {
  CellFigure figure;
  for (const TrialResult& one : outlook.trials()) {
    if (one.trial.cell != cell || one.trial.tuning || one.record == nullptr) continue;
    figure.ids.push_back(one.id);
    figure.diverged += one.record->end == TrialEnd::kDiverged ? 1 : 0;
    if (one.record->end == TrialEnd::kFailed) {
      ++figure.failed;
      continue;
    }
    const double value = measure == "tuned" ? one.trial.tuned.value_or(std::nan(""))
                                            : MeasuresOf(*one.record, plan.file().spec).at(measure);
    if (std::isinf(value)) ++figure.not_reached;
    if (std::isfinite(value)) figure.samples[one.trial.seed] = value;
  }
  return figure;
}

document::Document MakeReport(const Plan& plan, const Outlook& outlook,
                              const std::vector<std::string>& subtitle) {
  const v1::StudySpec& spec = plan.file().spec;
  const std::vector<Judgement> judgements = Judge(plan, outlook);
  document::Document report{.title = spec.question().empty() ? spec.name() : spec.question(),
                            .subtitle = subtitle,
                            .answer = Answer(plan, outlook, judgements),
                            .sections = {}};
  if (!outlook.complete()) {
    const auto done = std::ranges::count_if(
        outlook.trials(), [](const TrialResult& one) { return one.record != nullptr; });
    report.answer.insert(report.answer.begin(),
                         "Not complete: " + std::to_string(done) + " of at least " +
                             Plural(static_cast<long long>(outlook.trials().size()), "trial") +
                             " have ended.");
  }
  if (!judgements.empty()) {
    document::Section section{.heading = "Verdicts", .blocks = {}};
    for (const Judgement& one : judgements) section.blocks.push_back(VerdictOf(one, ScaleOf(plan)));
    report.sections.push_back(std::move(section));
  }
  for (document::Section& section : ChartSections(plan, outlook)) {
    report.sections.push_back(std::move(section));
  }
  report.sections.push_back({.heading = "Results", .blocks = {CellTable(plan, outlook)}});
  if (document::Table troubles = Troubles(plan, outlook); !troubles.rows.empty()) {
    report.sections.push_back(
        {.heading = "Trials that diverged or failed", .blocks = {std::move(troubles)}});
  }
  return report;
}

std::string TrialsCsv(const Plan& plan, const Outlook& outlook) {
  std::vector<std::string> names = MeasureNames(plan.file().spec);
  std::erase(names, "tuned");
  std::string csv = TrialHeader(plan) + ",end,steps,samples";
  for (const std::string& name : names) csv += "," + CsvText(name);
  csv += ",digest\n";
  for (const TrialResult& one : outlook.trials()) {
    if (one.record == nullptr) continue;
    AppendTrial(csv, plan, one);
    csv += std::string(",") + TrialEndName(one.record->end) + "," +
           std::to_string(one.record->steps) + "," + std::to_string(one.record->samples);
    const Measures measures = MeasuresOf(*one.record, plan.file().spec);
    for (const std::string& name : names) csv += "," + CsvNumber(measures.at(name));
    csv += "," + one.record->digest + "\n";
  }
  return csv;
}

std::string TimingsCsv(const Plan& plan, const Outlook& outlook) {
  const std::vector<std::string> names = {"seconds",       "images_per_second", "ms_compute",
                                          "ms_statistics", "ms_gradients",      "ms_data"};
  std::string csv = TrialHeader(plan);
  for (const std::string& name : names) csv += "," + name;
  csv += "\n";
  for (const TrialResult& one : outlook.trials()) {
    if (one.record == nullptr) continue;
    AppendTrial(csv, plan, one);
    for (const std::string& name : names) {
      const auto found = one.record->timings.find(name);
      csv += "," + (found == one.record->timings.end() ? "" : CsvNumber(found->second));
    }
    csv += "\n";
  }
  return csv;
}

}  // namespace syncbn::study
