// The folder of a study: the study as it was used, its results, and its report.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "app/study/study_arguments.h"
#include "study/measures.h"
#include "study/plan.h"

namespace syncbn::app {

// --out, or studies/NAME, for a form studies/NAME-FORM.
std::filesystem::path StudyFolder(const StudyArguments& arguments, const study::StudyFile& file);
// Makes the folder, or refuses one that holds something else, another study included: nothing of it
// would be spared.
void PrepareStudyFolder(const std::filesystem::path& folder, const study::StudyFile& file);

// Writes report and tables, and prints the answer.
void WriteStudyReport(const study::Plan& plan,
                      const std::map<std::string, study::TrialRecord>& results,
                      const std::filesystem::path& folder);

// Writes overview.html and overview.md of several studies' folders into `out`.
void WriteStudyOverview(const std::vector<std::string>& folders, const std::filesystem::path& out);

}  // namespace syncbn::app
