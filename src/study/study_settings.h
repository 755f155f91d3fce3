// Settings and axes of a study file, read and checked.
#pragma once

#include <string>
#include <vector>

#include "study/study_check.h"

namespace syncbn::study {

// Whether one is the other's key of a run file, or above or below it: the later setting would
// overwrite the earlier.
bool Clash(const std::string& a, const std::string& b);

class SettingReader : protected StudyCheck {
 public:
  using StudyCheck::StudyCheck;

 protected:
  using Settings = google::protobuf::RepeatedPtrField<v1::SettingSpec>;

  // `path: value` pairs that stand at `path` of the study.
  std::vector<Setting> SettingsOf(const Settings& settings, const std::string& path);
  // Whether the grid at `path` is none, which is said.
  bool GridFails(const v1::LogGridSpec& grid, const std::string& path);
};

// Adds all axes to the file.
void ReadAxes(StudyFile& file, config::Diagnostics& diagnostics);

}  // namespace syncbn::study
