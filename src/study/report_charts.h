// The plots of a study's report.
#pragma once

#include <string>
#include <vector>

#include "study/document/document.h"
#include "study/executor.h"
#include "study/plan.h"

namespace syncbn::study {

// Measures against the axes, with a point for each cell; the tuning's sweeps; learning curves.
std::vector<document::Section> ChartSections(const Plan& plan, const Outlook& outlook);

// What a verdict holds for: "mlp on mnist (10,000 images), 3 epochs, SGD batch 128".
std::string ScaleOf(const Plan& plan);

}  // namespace syncbn::study
