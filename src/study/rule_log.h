// rules.jsonl: by which rules a study was to be judged, when, and how many of its trials had ended
// then. A rule that was written after the results is no rule, so who reads a report must see it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "syncbn/v1/study.pb.h"

namespace syncbn::study {

struct RuleRecord {
  std::string date;     // RFC 3339, UTC
  int64_t results = 0;  // trials that had ended
  std::string rules;    // digest of claims and targets
};

// What the file has; nothing where there is none. Throws DATA_LOSS for a damaged line.
std::vector<RuleRecord> ReadRules(const std::filesystem::path& path);
// Adds the study's rules where they are not those noted last; the file is whole at any moment.
void NoteRules(const std::filesystem::path& path, const v1::StudySpec& study, int64_t results,
               const std::string& date);
// "The rules were changed after 12 trials had ended." Empty where that is not so.
std::string RulesRemark(const std::vector<RuleRecord>& rules);

}  // namespace syncbn::study
