// The report of a study and its tables, as whoever asks for them gets them: on disk (`syncbn
// study`) and in the dashboard.
#pragma once

#include <map>
#include <stop_token>
#include <string>
#include <vector>

#include "study/document/document.h"
#include "study/outlook.h"
#include "study/plan.h"
#include "study/result_log.h"
#include "study/rule_log.h"

namespace syncbn::study {

// What a reader must know before any verdict is believed, a sentence each: results of several
// programs that are mixed, and rules that are younger than results. Usually nothing.
std::vector<std::string> Reservations(const Plan& plan, const Outlook& outlook,
                                      const std::vector<RuleRecord>& rules);

struct StudyReport {
  document::Document document;
  // See trials_csv.h.
  std::string trials_csv, timings_csv;
};

// Of the results that there are. `rules`: when they were written (rule_log.h); `written`: the last
// line of the report's head, when and by what it was made. Throws CANCELLED soon after it has been
// asked to stop.
StudyReport MakeStudyReport(const Plan& plan, const std::map<std::string, TrialRecord>& results,
                            const std::vector<RuleRecord>& rules, const std::string& written,
                            std::stop_token stop = {});

}  // namespace syncbn::study
