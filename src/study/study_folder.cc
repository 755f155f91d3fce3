#include "study/study_folder.h"

#include <sstream>
#include <string>
#include <system_error>
#include <vector>

#include "base/error.h"
#include "base/file.h"

namespace syncbn::study {

void StoreStudy(const std::filesystem::path& folder, const StudyFile& file,
                std::span<const std::string> overrides) {
  std::string lines;
  for (const std::string& one : overrides) lines += one + "\n";
  WriteFileAtomically(folder / kRunFile, file.run_text);
  WriteFileAtomically(folder / kStudyFile, file.source->text());
  WriteFileAtomically(folder / kOverridesFile, lines);
  WriteFileAtomically(folder / kFormFile, file.form);
}

StudyFile LoadStoredStudy(const std::filesystem::path& folder) {
  for (const char* file : {kStudyFile, kOverridesFile, kRunFile, kResultsFile}) {
    std::error_code error;
    if (std::filesystem::exists(folder / file, error)) continue;
    throw Error(ErrorCode::kNotFound,
                folder.string() + " is not the folder of a study: it has no " + file +
                    "; give what 'syncbn study run' wrote to (--out, or studies/NAME)");
  }
  std::vector<std::string> overrides;
  std::istringstream text(ReadFile(folder / kOverridesFile));
  for (std::string line; std::getline(text, line);) overrides.push_back(line);
  overrides.push_back(std::string("run=") + kRunFile);
  std::error_code error;  // a folder of an earlier program has none
  const bool form = std::filesystem::exists(folder / kFormFile, error);
  return LoadStudyFile(folder / kStudyFile, overrides, form ? ReadFile(folder / kFormFile) : "",
                       StudyOrigin::kStored);
}

}  // namespace syncbn::study
