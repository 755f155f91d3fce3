#include "tests/support/test_report.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>

namespace syncbn {
namespace {

// One line, without the position in the source that GoogleTest puts before a reason.
std::string OneLine(std::string text) {
  for (char& c : text) {
    if (c == '\n') c = ' ';
  }
  return text.substr(0, text.find_last_not_of(' ') + 1);
}

class Reporter : public testing::EmptyTestEventListener {
  void OnTestStart(const testing::TestInfo& test) override {
    test_ = std::string(test.test_suite_name()) + "." + test.name();
    failed_ = false;
  }
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (result.skipped()) text_ += "skipped: " + test_ + ": " + OneLine(result.message()) + "\n";
    // What failed first; the rest often follows from it.
    if (!result.failed() || std::exchange(failed_, true)) return;
    const std::string file = result.file_name() == nullptr ? "" : result.file_name();
    text_ += "failed: " + test_ + ": " + file.substr(file.rfind('/') + 1) + ":" +
             std::to_string(result.line_number()) + ": " +
             OneLine(result.message()).substr(0, kLongest) + "\n";
  }
  void OnTestProgramEnd(const testing::UnitTest& all) override {
    const char* path = std::getenv("SYNCBN_TEST_RESULTS");
    if (path == nullptr || *path == '\0') return;
    text_ += std::string(program_invocation_short_name) + " " +
             std::to_string(all.successful_test_count()) + " " +
             std::to_string(all.failed_test_count()) + " " +
             std::to_string(all.skipped_test_count()) + "\n";
    // One write to the end of the file: programs that run beside each other do not mix their lines.
    const int file = ::open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (file < 0 || ::write(file, text_.data(), text_.size()) != static_cast<ssize_t>(text_.size())) {
      std::fprintf(stderr, "cannot write to SYNCBN_TEST_RESULTS=%s\n", path);
    }
    if (file >= 0) ::close(file);
  }

  static constexpr size_t kLongest = 300;
  std::string test_, text_;
  bool failed_ = false;
};

}  // namespace

void ReportTestResults() {
  testing::UnitTest::GetInstance()->listeners().Append(new Reporter);
}

int TestExitCode(int result) {
  const testing::UnitTest& all = *testing::UnitTest::GetInstance();
  const bool skipped = all.skipped_test_count() > 0 && all.skipped_test_count() == all.test_to_run_count();
  return result == 0 && skipped ? kAllSkipped : result;
}

}  // namespace syncbn
