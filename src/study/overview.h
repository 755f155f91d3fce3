// Several studies on one page: what each claim came to.
#pragma once

#include <string>
#include <vector>

#include "study/document/document.h"
#include "study/outlook.h"
#include "study/plan.h"

namespace syncbn::study {

struct OverviewPart {
  const Plan* plan = nullptr;
  const Outlook* outlook = nullptr;
  // Its own report, as the target of a document::Link; empty: it has none.
  std::string report;
  // Of the study, as its own report has them (study_report.h).
  std::vector<std::string> reservations = {};
};

// The count of the verdicts, a table of all claims, and for each study its answer, what must be
// known of it, and its verdicts.
document::Document MakeOverview(const std::vector<OverviewPart>& parts, const std::string& title,
                                const std::vector<std::string>& subtitle);

}  // namespace syncbn::study
