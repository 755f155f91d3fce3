// The table of wrong run files: text files in wrong_run_files/ that people can read and extend.
//
//   === what is wrong
//   --- file
//   the run file
//   --- set train.epochs=x      (any number of overrides)
//   --- expected
//   all that is said about it, to the letter
//
// With SYNCBN_UPDATE_EXPECTED=1 the tests write what is said now into the files: read the
// difference.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace syncbn::config {

struct WrongRunFile {
  std::string title;
  std::string text;
  std::vector<std::string> overrides;
  std::string expected;
};

struct WrongRunFiles {
  std::string heading;
  std::vector<WrongRunFile> cases;
};

WrongRunFiles ReadWrongRunFiles(const std::filesystem::path& path);
void WriteWrongRunFiles(const std::filesystem::path& path, const WrongRunFiles& files);

}  // namespace syncbn::config
