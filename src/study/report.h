// The report of a study.
#pragma once

#include <string>
#include <vector>

#include "study/document/document.h"
#include "study/outlook.h"
#include "study/plan.h"

namespace syncbn::study {

// Answer, verdicts, results of the cells, plots, and what did not end well.
document::Document MakeReport(const Plan& plan, const Outlook& outlook,
                              const std::vector<std::string>& subtitle);

}  // namespace syncbn::study
