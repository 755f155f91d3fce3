// check, explain, info and the help texts, as a newcomer would try them.
#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "base/file.h"
#include "tests/support/process.h"
#include "tests/support/small_run.h"
#include "tests/support/temp_folder.h"

namespace syncbn {
namespace {

ProcessResult Syncbn(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), SyncbnProgram());
  return RunProcess({.argv = arguments});
}

size_t LongestLine(const std::string& text) {
  std::istringstream lines(text);
  size_t longest = 0;
  for (std::string line; std::getline(lines, line);) longest = std::max(longest, line.size());
  return longest;
}

TEST(Commands, HelpFits100ColumnsAndNamesEveryCommand) {
  const ProcessResult help = Syncbn({"--help"});
  EXPECT_EQ(help.status, 0);
  for (const char* command : {"train", "check", "explain", "verify", "replay", "info"}) {
    EXPECT_NE(help.out.find(command), std::string::npos) << command;
    const ProcessResult own = Syncbn({command, "--help"});
    EXPECT_EQ(own.status, 0) << command;
    EXPECT_LE(LongestLine(own.out), 100u) << own.out;
  }
  EXPECT_LE(LongestLine(help.out), 110u) << help.out;
}

TEST(Commands, InfoNamesVersionsInstructionSetBackEndsAndTransports) {
  const ProcessResult info = Syncbn({"info"});
  EXPECT_EQ(info.status, 0);
  for (const char* text : {"oneDNN 2.6", "Open MPI", "reference", "cpu", "in-process", "mpi"}) {
    EXPECT_NE(info.out.find(text), std::string::npos) << text << "\n" << info.out;
  }
}

TEST(Commands, UnknownOptionsAreRefusedWithAHint) {
  const ProcessResult result = Syncbn({"train", "a.yaml", "--resumee"});
  EXPECT_EQ(result.status, 2);
  EXPECT_NE(result.err.find("--resumee"), std::string::npos) << result.err;
  EXPECT_EQ(Syncbn({}).status, 2);
  EXPECT_EQ(Syncbn({"fly"}).status, 2);
}

TEST(Commands, CheckReportsAllFaultsOfAFileWithTheirLines) {
  TempFolder folder;
  const auto path = folder.path() / "run.yaml";
  WriteFileAtomically(path, "data: {dataset: shapez}\nmodel: {architecture: resnet20}\ntrain: {epochs: -1}\n");
  const ProcessResult result = Syncbn({"check", path.string()});
  EXPECT_EQ(result.status, 2);
  EXPECT_NE(result.err.find(path.string() + ":1:"), std::string::npos) << result.err;
  EXPECT_NE(result.err.find(path.string() + ":3:"), std::string::npos) << result.err;
  WriteFileAtomically(path, SmallRun(8, 4, "global"));
  const ProcessResult right = Syncbn({"check", path.string()});
  EXPECT_EQ(right.status, 0) << right.err;
  const ProcessResult print = Syncbn({"check", path.string(), "--print", "--set", "seed=9"});
  EXPECT_NE(print.out.find("seed: 9"), std::string::npos) << print.out;
  EXPECT_NE(print.out.find("--set"), std::string::npos) << print.out;
}

TEST(Commands, ExplainShowsTypeDefaultRangeAndMeaning) {
  const ProcessResult result = Syncbn({"explain", "train.optimizer.momentum"});
  EXPECT_EQ(result.status, 0);
  EXPECT_NE(result.out.find("momentum"), std::string::npos);
  EXPECT_LE(LongestLine(result.out), 100u);
  const ProcessResult wrong = Syncbn({"explain", "train.optimizer.momentun"});
  EXPECT_EQ(wrong.status, 2);
  EXPECT_NE(wrong.err.find("momentum"), std::string::npos) << wrong.err;
}

}  // namespace
}  // namespace syncbn
