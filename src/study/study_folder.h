// What a study leaves in its folder, so that it can be read again as it was when it ran.
#pragma once

#include <filesystem>
#include <span>
#include <string>

#include "study/study_file.h"

namespace syncbn::study {

inline constexpr const char* kStudyFile = "study.yaml";
inline constexpr const char* kOverridesFile = "overrides.txt";  // a line each
inline constexpr const char* kFormFile = "form.txt";            // empty: the study as it stands
inline constexpr const char* kRunFile = "run.yaml";
inline constexpr const char* kResultsFile = "results.jsonl";
inline constexpr const char* kRulesFile = "rules.jsonl";

// The study as it is used; `overrides` are those that it was read with. The folder is there.
void StoreStudy(const std::filesystem::path& folder, const StudyFile& file,
                std::span<const std::string> overrides);

// Throws NOT_FOUND for a folder that is not a study's, and what LoadStudyFile throws.
StudyFile LoadStoredStudy(const std::filesystem::path& folder);

}  // namespace syncbn::study
