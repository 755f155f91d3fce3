#include "study/study_report.h"

#include <set>
#include <utility>

#include "study/outlook.h"
#include "study/report.h"
#include "study/report_head.h"
#include "study/trials_csv.h"

namespace syncbn::study {

std::vector<std::string> Reservations(const Plan& plan, const Outlook& outlook,
                                      const std::vector<RuleRecord>& rules) {
  std::vector<std::string> reservations;
  std::set<std::string> by;
  for (const TrialResult& one : outlook.trials()) {
    if (one.record != nullptr) by.insert(one.record->by);
  }
  if (by.size() > 1) {
    reservations.push_back(
        "Results of " + std::to_string(by.size()) +
        " programs, back ends or instruction sets are mixed; `syncbn study run` counts those of "
        "one alone.");
  }
  std::string remark = RulesRemark(rules);
  if (!remark.empty() && !plan.file().spec.claims().empty() && !plan.file().no_verdicts) {
    reservations.push_back(std::move(remark));
  }
  return reservations;
}

StudyReport MakeStudyReport(const Plan& plan, const std::map<std::string, TrialRecord>& results,
                            const std::vector<RuleRecord>& rules, const std::string& written,
                            std::stop_token stop) {
  const Outlook outlook(plan, results, std::move(stop));
  const Outlook* const outlooks[] = {&outlook};
  std::vector<std::string> head = RanOn(outlooks);
  head.push_back(written);
  StudyReport report{.document = MakeReport(plan, outlook, head),
                     .trials_csv = TrialsCsv(plan, outlook),
                     .timings_csv = TimingsCsv(plan, outlook)};
  for (std::string& one : Reservations(plan, outlook, rules)) {
    report.document.answer.push_back(std::move(one));
  }
  return report;
}

}  // namespace syncbn::study
