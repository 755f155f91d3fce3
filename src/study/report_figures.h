// Plots of what was measured beside loss and accuracy: figures of probes, and times.
#pragma once

#include "study/document/document.h"
#include "study/outlook.h"
#include "study/plan.h"

namespace syncbn::study {

// Each figure over the steps, a line for each cell; those of layers, from the input to the output.
// No blocks where there are none.
document::Section ProbeSection(const Plan& plan, const Outlook& outlook);
// What the time of a step is made of, a bar for each cell.
document::Section TimeSection(const Plan& plan, const Outlook& outlook);

}  // namespace syncbn::study
