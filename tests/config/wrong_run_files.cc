#include "tests/config/wrong_run_files.h"

#include <sstream>

#include "base/file.h"

namespace syncbn::config {

WrongRunFiles ReadWrongRunFiles(const std::filesystem::path& path) {
  WrongRunFiles files;
  std::istringstream lines(ReadFile(path));
  enum class Part { kHeading, kNone, kFile, kExpected } part = Part::kHeading;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("=== ")) {
      files.cases.push_back({.title = line.substr(4), .text = "", .overrides = {}, .expected = ""});
      part = Part::kNone;
    } else if (line == "--- file") {
      part = Part::kFile;
    } else if (line == "--- expected") {
      part = Part::kExpected;
    } else if (line.starts_with("--- set ")) {
      files.cases.back().overrides.push_back(line.substr(8));
      part = Part::kNone;
    } else if (part == Part::kHeading) {
      files.heading += line + "\n";
    } else if (part == Part::kFile) {
      files.cases.back().text += line + "\n";
    } else if (part == Part::kExpected) {
      files.cases.back().expected += line + "\n";
    }
  }
  for (WrongRunFile& wrong : files.cases) {
    while (wrong.expected.ends_with("\n\n")) wrong.expected.pop_back();
    if (wrong.expected == "\n") wrong.expected.clear();
  }
  return files;
}

void WriteWrongRunFiles(const std::filesystem::path& path, const WrongRunFiles& files) {
  std::string text = files.heading;
  while (text.ends_with("\n")) text.pop_back();
  text += "\n";
  for (const WrongRunFile& wrong : files.cases) {
    text += "\n=== " + wrong.title + "\n--- file\n" + wrong.text;
    for (const std::string& set : wrong.overrides) text += "--- set " + set + "\n";
    text += "--- expected\n" + wrong.expected;
  }
  WriteFileAtomically(path, text);
}

}  // namespace syncbn::config
