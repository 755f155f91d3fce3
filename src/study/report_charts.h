// The plots of a study's report.
#pragma once

#include <vector>

#include "study/document/document.h"
#include "study/outlook.h"
#include "study/plan.h"

namespace syncbn::study {

// Measures against the axes, with a point for each cell; the tuning's sweeps; learning curves; what
// probes measured; times, where trials ran one at a time.
std::vector<document::Section> ChartSections(const Plan& plan, const Outlook& outlook);

}  // namespace syncbn::study
