// Every wrong run file of the table gets exactly the messages that stand beside it.
#include "tests/config/wrong_run_files.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <set>

#include "base/error.h"
#include "config/run_file.h"

namespace syncbn::config {
namespace {

std::string MessageFor(const WrongRunFile& wrong) {
  try {
    ParseRunFile(wrong.text, "run.yaml", wrong.overrides);
    return "(no error)\n";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    return error.message() + "\n";
  }
}

std::set<std::filesystem::path> TableFiles() {
  std::set<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(WRONG_RUN_FILES)) {
    if (entry.path().extension() == ".txt") paths.insert(entry.path());
  }
  return paths;
}

TEST(WrongRunFiles, AreReportedToTheLetter) {
  const bool update = std::getenv("SYNCBN_UPDATE_EXPECTED") != nullptr;
  size_t count = 0;
  for (const std::filesystem::path& path : TableFiles()) {
    WrongRunFiles files = ReadWrongRunFiles(path);
    for (WrongRunFile& wrong : files.cases) {
      ++count;
      const std::string message = MessageFor(wrong);
      EXPECT_NE(message, "(no error)\n") << wrong.title;
      if (update) {
        wrong.expected = message;
      } else {
        EXPECT_EQ(message, wrong.expected) << path.filename() << ": " << wrong.title;
      }
    }
    if (update) WriteWrongRunFiles(path, files);
  }
  EXPECT_GE(count, 60u);
}

TEST(WrongRunFiles, NoMessageIsWiderThanAHundredCharacters) {
  for (const std::filesystem::path& path : TableFiles()) {
    for (const WrongRunFile& wrong : ReadWrongRunFiles(path).cases) {
      const CheckedRunFile checked = CheckRunFile(wrong.text, "run.yaml", wrong.overrides);
      for (const Diagnostic& diagnostic : checked.diagnostics.all()) {
        std::string text = FormatDiagnostic(diagnostic);
        text =
            text.substr(text.find('\n') + 1);  // the first line may be long: it can be searched for
        while (!text.empty()) {
          const size_t end = text.find('\n');
          EXPECT_LE(CountCharacters(text, end), 100) << wrong.title << "\n" << text;
          text = text.substr(end + 1);
        }
      }
    }
  }
}

}  // namespace
}  // namespace syncbn::config
