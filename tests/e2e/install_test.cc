// What `cmake --install` leaves is whole: program, unit, configs, completion and manual pages.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/support/process.h"
#include "tests/support/temp_folder.h"

namespace syncbn {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

std::string Text(const fs::path& file) {
  std::ifstream stream(file);
  EXPECT_TRUE(stream.good()) << "cannot read " << file;
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

class Install : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TempFolder;
    const ProcessResult result = RunProcess(
        {.argv = {SYNCBN_CMAKE, "--install", SYNCBN_BUILD, "--strip", "--prefix", prefix()}});
    ASSERT_EQ(result.status, 0) << result.out << result.err;
  }
  static void TearDownTestSuite() { delete folder_; }

  static fs::path prefix() { return folder_->path() / "usr"; }
  static std::string program() { return prefix() / "bin/syncbn"; }

  // What bash offers for the last of these words.
  static std::string Completed(const std::string& words) {
    const std::string script =
        "compopt() { :; }; . " + (prefix() / "share/bash-completion/completions/syncbn").string() +
        "; COMP_WORDS=(" + words + "); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _syncbn; echo \"${COMPREPLY[*]}\"";
    const ProcessResult result = RunProcess(
        {.argv = {"bash", "-c", script},
         .environment = {{"PATH", (prefix() / "bin").string() + ":/usr/bin:/bin"}}});
    EXPECT_EQ(result.err, "");
    return result.out;
  }

 private:
  static TempFolder* folder_;
};

TempFolder* Install::folder_ = nullptr;

TEST_F(Install, TheProgramTrainsAnInstalledConfiguration) {
  const fs::path run_file = prefix() / "share/syncbn/configs/shapes-demo.yaml";
  const ProcessResult result = RunProcess({.argv = {program(), "check", run_file}});
  EXPECT_EQ(result.status, 0) << result.out << result.err;
  EXPECT_TRUE(fs::exists(prefix() / "share/syncbn/proto/syncbn/v1/job.proto"));
}

TEST_F(Install, TheUnitStartsTheInstalledProgram) {
  const std::string unit = Text(prefix() / "lib/systemd/system/syncbn-coordinator.service");
  EXPECT_THAT(unit, HasSubstr("\nExecStart=/"));
  EXPECT_THAT(unit, HasSubstr("/bin/syncbn serve --data /var/lib/syncbn"));
  EXPECT_THAT(unit, Not(HasSubstr("useradd")));
}

TEST_F(Install, EveryCommandHasAManualPage) {
  if (!fs::exists("/usr/bin/help2man")) GTEST_SKIP() << "help2man is not installed";
  const fs::path pages = prefix() / "share/man/man1";
  for (const char* command : {"train", "check", "submit", "serve", "logs"}) {
    const fs::path page = pages / ("syncbn-" + std::string(command) + ".1.gz");
    const ProcessResult result = RunProcess({.argv = {"zcat", page}});
    EXPECT_THAT(result.out, HasSubstr(".SH SYNOPSIS\n.B syncbn\n\\fI\\," + std::string(command)))
        << result.err;
  }
}

TEST_F(Install, BashCompletesCommandsOptionsAndKeys) {
  EXPECT_EQ(Completed("syncbn tra"), "train\n");
  EXPECT_EQ(Completed("syncbn train --res"), "--resume\n");
  EXPECT_EQ(Completed("syncbn hosts dr"), "drain\n");
  EXPECT_EQ(Completed("syncbn token create --ro"), "--role\n");
  EXPECT_EQ(Completed("syncbn explain model.norm.eps"), "model.norm.epsilon\n");
}

}  // namespace
}  // namespace syncbn
