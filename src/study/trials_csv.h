// The trials of a study as tables for other programs.
#pragma once

#include <string>
#include <vector>

#include "study/outlook.h"
#include "study/plan.h"

namespace syncbn::study {

// All trials that have ended, in the order of the cells: settings, seed, measures, digest. Equal by
// the byte however the study was run.
std::string TrialsCsv(const Plan& plan, const Outlook& outlook);
// What of a trial is never equal twice: its times.
std::string TimingsCsv(const Plan& plan, const Outlook& outlook);
// Columns of timings.csv that every trial has.
const std::vector<std::string>& TimingNames();

}  // namespace syncbn::study
