// `syncbn study plan`.
#pragma once

#include "app/study/study_arguments.h"
#include "study/plan.h"

namespace syncbn::app {

// Cells, tuning, targets, what each claim will be decided by, and an estimate of the time by a few
// steps of some trials.
void PrintStudyPlan(const study::Plan& plan, const StudyArguments& arguments);

}  // namespace syncbn::app
