// What a study says of its claims, by the rules that stood in its file before it ran.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "study/outlook.h"
#include "study/plan.h"
#include "study/statistics/interval.h"
#include "study/statistics/verdict.h"

namespace syncbn::study {

struct Judgement {
  const v1::ClaimSpec* claim = nullptr;
  // Nothing: not enough trials have a result; `why` says so.
  std::optional<Verdict> verdict;
  std::string why;
  // "supported where ... ; refuted where ..."
  std::string rule;
  // Behind the interval; 0: the figure is exact, whatever the seeds.
  size_t seeds = 0;
  // "test_accuracy: batch 32 minus batch 2"
  std::string figure;
  Interval interval;
  // Of the interval, in percent; 0: the figure is exact.
  int level = 95;
  // What to know of the samples: "5 seeds; 2 trials did not reach it: the interval is open on that
  // side".
  std::string samples;
  // Cells that it rests on have been tuned by nothing, see Tuned; `samples` says so as well.
  bool by_nothing = false;
  // False for a negative control that came out otherwise than it must.
  bool as_it_must = true;

  // Its verdict rests on fewer seeds than one should have.
  bool of_few_seeds() const { return verdict && seeds > 0 && seeds < kFewestSeeds; }
};

// In the order of the study file. Fewer than kFewestSeeds seeds without any spread are
// inconclusive, but for figures that are exact.
std::vector<Judgement> Judge(const Plan& plan, const Outlook& outlook);

// "2 of these verdicts rest on fewer seeds than a verdict should have (5)."; empty: none does.
std::string FewSeedsText(std::span<const Judgement> judgements);

// "supported where the whole interval is above 0.01, ..."
std::string RuleText(const v1::ClaimSpec& claim);
// "test_accuracy at the best rate: batch 32 minus batch 2": what the rule is about.
std::string FigureText(const v1::ClaimSpec& claim);

}  // namespace syncbn::study
