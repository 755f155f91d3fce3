#include "study/report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/text.h"
#include "study/cell_figure.h"
#include "study/claims.h"
#include "study/report_answer.h"
#include "study/report_charts.h"
#include "study/report_verdicts.h"

namespace syncbn::study {
namespace {

document::Table CellTable(const Plan& plan, const Outlook& outlook) {
  document::Table table{
      .caption = "Means over the seeds with 95 % intervals", .columns = {}, .rows = {}};
  table.columns.push_back({.title = "cell", .align = document::Align::kLeft});
  table.columns.push_back({.title = "seeds", .align = document::Align::kRight});
  std::vector<std::string> measures = {"test_accuracy", "test_loss", "train_loss"};
  for (const v1::TargetSpec& target : plan.file().spec.targets()) {
    measures.push_back("steps_to " + target.name());
  }
  for (const std::string& measure : AskedMeasures(plan.file().spec)) {
    if (std::ranges::find(measures, measure) == measures.end()) measures.push_back(measure);
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
      if (tuned != nullptr && !tuned->by_nothing.empty()) {
        row.state = document::RowState::kFlagged;
        row.note = "nothing to choose from: " + tuned->by_nothing;
      }
    }
    std::string diverged;
    for (const std::string& measure : measures) {
      const CellFigure figure = FigureOf(plan, outlook, cell, measure);
      row.cells.push_back(figure.Text(measure));
      if (figure.diverged > 0) {
        row.state = document::RowState::kDiverged;
        diverged = Plural(figure.diverged, "trial") + " diverged";
      }
    }
    if (!diverged.empty()) row.note = diverged + (row.note.empty() ? "" : "; " + row.note);
    table.rows.push_back(std::move(row));
  }
  return table;
}

document::Table Troubles(const Plan& plan, const Outlook& outlook) {
  document::Table table{.caption = "What ended them",
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

document::Document MakeReport(const Plan& plan, const Outlook& outlook,
                              const std::vector<std::string>& subtitle) {
  const v1::StudySpec& spec = plan.file().spec;
  const std::vector<Judgement> judgements =
      plan.file().no_verdicts ? std::vector<Judgement>() : Judge(plan, outlook);
  document::Document report{.title = spec.question().empty() ? spec.name() : spec.question(),
                            .subtitle = subtitle,
                            .answer = Answer(plan, outlook, judgements),
                            .sections = {}};
  if (plan.file().no_verdicts) {
    report.answer.emplace_back(
        "This form of the study is too small for verdicts: it shows that all trials run.");
  }
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

}  // namespace syncbn::study
