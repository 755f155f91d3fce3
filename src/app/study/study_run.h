// `syncbn study run`.
#pragma once

#include "app/study/study_arguments.h"

namespace syncbn::app {

// Runs the trials that have no result yet, prints how it goes, writes the report. Returns an exit
// code.
int RunStudy(const StudyArguments& arguments);

}  // namespace syncbn::app
