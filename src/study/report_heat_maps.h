// A study's cells as tables of colours: batch by cluster size.
#pragma once

#include <vector>

#include "study/document/chart.h"
#include "study/outlook.h"
#include "study/plan.h"

namespace syncbn::study {

// Over the two axes with the most values, three each at least, a map for each combination of the
// others: the test accuracy, and what the first target takes. None where there are no two such
// axes.
std::vector<document::Chart> HeatMaps(const Plan& plan, const Outlook& outlook);

}  // namespace syncbn::study
