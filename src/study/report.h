// The report of a study, and its tables as files.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "study/claims.h"
#include "study/document/document.h"
#include "study/executor.h"
#include "study/plan.h"

namespace syncbn::study {

// Answer, verdicts, results of the cells, plots, and what did not end well.
document::Document MakeReport(const Plan& plan, const Outlook& outlook,
                              const std::vector<std::string>& subtitle);

// A line for each trial, in the order of the plan: its axes, seed, tuned value, end, measures,
// digest. Nothing in it depends on the machine's speed, or on how often the study was stopped.
// Trials without a result are left out.
std::string TrialsCsv(const Plan& plan, const Outlook& outlook);
// Seconds and throughput of the same trials, which are never the same twice.
std::string TimingsCsv(const Plan& plan, const Outlook& outlook);

// A measure of the trials of one cell, over its seeds.
struct CellFigure {
  // Of those that are numbers, by seed.
  std::map<uint64_t, double> samples;
  int not_reached = 0, failed = 0, diverged = 0;
  std::vector<std::string> ids;

  std::vector<double> Values() const;
  // "97.12 % [96.90, 97.30]"; "not reached by 2 of 5"; "-" where there is none.
  std::string Text(const std::string& measure) const;
};
CellFigure FigureOf(const Plan& plan, const Outlook& outlook, size_t cell,
                    const std::string& measure);

}  // namespace syncbn::study
