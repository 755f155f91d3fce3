// What the passes over a study file share; nobody else includes this.
#pragma once

#include <string>

#include "config/diagnostic.h"
#include "study/study_file.h"

namespace syncbn::study {

// What stood in quotation marks, without them.
std::string LabelOf(const std::string& value);

class StudyCheck {
 public:
  StudyCheck(StudyFile& file, config::Diagnostics& diagnostics)
      : file_(file), diagnostics_(diagnostics) {}

 protected:
  // At the place of the path, unless what stands there could not be read.
  void Fail(const std::string& path, std::string message, std::string hint = "");
  void CheckName(const std::string& name, const std::string& path);

  StudyFile& file_;
  config::Diagnostics& diagnostics_;
};

// What is asked of the results: measures, targets, claims, and the cells that are left out. Values
// in them are rewritten as their axis has them.
void CheckQuestions(StudyFile& file, config::Diagnostics& diagnostics);

}  // namespace syncbn::study
