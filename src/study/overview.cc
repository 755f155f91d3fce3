#include "study/overview.h"

#include <map>

#include "base/text.h"
#include "study/claims.h"
#include "study/document/number_text.h"
#include "study/report_answer.h"
#include "study/report_verdicts.h"

namespace syncbn::study {
namespace {

std::string FigureText(const Judgement& judgement) {
  if (!judgement.verdict) return judgement.why;
  return document::IntervalText(judgement.interval.estimate, IntervalOf(judgement), "");
}

std::string OutcomeText(const Judgement& judgement) {
  std::string word = document::OutcomeWord(OutcomeOf(judgement));
  if (judgement.of_few_seeds()) {
    word += ", of " + Plural(static_cast<long long>(judgement.seeds), "seed");
  }
  if (judgement.claim->control() == v1::OUTCOME_UNSPECIFIED) return word;
  return word + (judgement.as_it_must ? " (control, as it must)" : " (control, and must not be)");
}

// "Of 40 claims: 20 supported, 15 refuted, 5 inconclusive."
std::string CountText(const std::vector<Judgement>& judgements, bool controls) {
  std::map<std::string, int> counts;
  int all = 0, wrong = 0;
  for (const Judgement& one : judgements) {
    if ((one.claim->control() != v1::OUTCOME_UNSPECIFIED) != controls) continue;
    ++all;
    ++counts[document::OutcomeWord(OutcomeOf(one))];
    wrong += one.verdict && one.as_it_must ? 0 : 1;
  }
  if (all == 0)
    return controls ? "There are no negative controls." : "There are no claims to judge.";
  if (controls) {
    return "Of " + Plural(all, "negative control") + " " + std::to_string(all - wrong) +
           " came out as " + (all == 1 ? "it" : "they") + " must.";
  }
  std::vector<std::string> parts;
  for (const document::Outcome outcome :
       {document::Outcome::kSupported, document::Outcome::kRefuted,
        document::Outcome::kInconclusive, document::Outcome::kNone}) {
    const std::string word = document::OutcomeWord(outcome);
    if (counts.contains(word)) parts.push_back(std::to_string(counts[word]) + " " + word);
  }
  return "Of " + Plural(all, "claim") + ": " + Join(parts, ", ") + ".";
}

document::Block ReportOf(const OverviewPart& part) {
  if (part.report.empty()) return "No report of it has been written yet.";
  return document::Link{.words = "Its report", .target = part.report};
}

}  // namespace

document::Document MakeOverview(const std::vector<OverviewPart>& parts, const std::string& title,
                                const std::vector<std::string>& subtitle) {
  document::Document page{.title = title, .subtitle = subtitle, .answer = {}, .sections = {}};
  document::Table table{.caption = "Figures with their intervals",
                        .columns = {{.title = "study", .align = document::Align::kLeft},
                                    {.title = "claim", .align = document::Align::kLeft},
                                    {.title = "verdict", .align = document::Align::kLeft},
                                    {.title = "figure", .align = document::Align::kRight}},
                        .rows = {}};
  std::vector<Judgement> all;
  std::vector<document::Section> sections;
  std::vector<std::string> reservations;
  for (const OverviewPart& part : parts) {
    const v1::StudySpec& spec = part.plan->file().spec;
    if (part.plan->file().no_verdicts) {
      sections.push_back({.heading = spec.name() + ", form " + part.plan->file().form,
                          .blocks = {"This form is too small for verdicts.", ReportOf(part)}});
      continue;
    }
    const std::vector<Judgement> judgements = Judge(*part.plan, *part.outlook);
    document::Section section{.heading = spec.question().empty() ? spec.name() : spec.question(),
                              .blocks = {}};
    for (std::string& sentence : Answer(*part.plan, *part.outlook, judgements)) {
      section.blocks.emplace_back(std::move(sentence));
    }
    for (const std::string& one : part.reservations) {
      section.blocks.emplace_back(one);
      reservations.push_back(spec.name() + ": " + one);
    }
    section.blocks.push_back(ReportOf(part));
    for (const Judgement& one : judgements) {
      table.rows.push_back(
          {.cells = {spec.name(), one.claim->text(), OutcomeText(one), FigureText(one)},
           .state = one.as_it_must && !one.by_nothing ? document::RowState::kPlain
                                                      : document::RowState::kFlagged,
           .note = !one.as_it_must  ? "a negative control that came out otherwise"
                   : one.by_nothing ? "the tuning had nothing to choose from"
                                    : ""});
      section.blocks.emplace_back(VerdictOf(one, ScaleOf(*part.plan)));
      all.push_back(one);
    }
    sections.push_back(std::move(section));
  }
  page.answer = {CountText(all, false), CountText(all, true)};
  if (const std::string few = FewSeedsText(all); !few.empty()) page.answer.push_back(few);
  for (std::string& one : reservations) page.answer.push_back(std::move(one));
  if (!table.rows.empty()) {
    page.sections.push_back({.heading = "All claims", .blocks = {std::move(table)}});
  }
  for (document::Section& section : sections) page.sections.push_back(std::move(section));
  return page;
}

}  // namespace syncbn::study
