// Real processes that die, stop, leave or stall: the whole job ends in time, and says why.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <string>

#include "tests/support/temp_folder.h"

namespace syncbn::comm {
namespace {

using namespace std::chrono_literals;
using ::testing::AnyOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;

struct Outcome {
  int exit_code = 0;
  std::string output;
  std::chrono::steady_clock::duration took{};
};

Outcome RunFault(const std::string& fault, int ranks) {
  const TempFolder folder;
  const std::string command = std::string("timeout -k 5 50 ") + SYNCBN_MPIEXEC + " -np " +
                              std::to_string(ranks) +
                              " --oversubscribe --bind-to none --tag-output " + SYNCBN_FAULT_PROGRAM +
                              " " + fault + " " + folder.path().string() + " 2>&1";
  const auto begin = std::chrono::steady_clock::now();
  Outcome outcome;
  FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return {.exit_code = -1, .output = "popen failed"};
  std::array<char, 4096> buffer;
  while (const size_t got = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
    outcome.output.append(buffer.data(), got);
  }
  const int status = ::pclose(pipe);
  outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  outcome.took = std::chrono::steady_clock::now() - begin;
  return outcome;
}

TEST(MpiFault, AKilledRankEndsTheJob) {
  const Outcome outcome = RunFault("kill", 3);
  EXPECT_EQ(outcome.exit_code, 137) << outcome.output;
  EXPECT_LT(outcome.took, 45s);
  EXPECT_THAT(outcome.output, ContainsRegex("process rank 2 .*on signal 9"));
}

TEST(MpiFault, ARankThatExitsEndsTheJob) {
  const Outcome outcome = RunFault("exit", 3);
  EXPECT_NE(outcome.exit_code, 0);
  EXPECT_NE(outcome.exit_code, 124) << "ran into the limit";
  EXPECT_LT(outcome.took, 45s);
}

TEST(MpiFault, AStoppedRankIsNamed) {
  const Outcome outcome = RunFault("stop", 3);
  EXPECT_EQ(outcome.exit_code, 42) << outcome.output;
  EXPECT_LT(outcome.took, 45s);
  for (const std::string rank : {"0", "1"}) {
    EXPECT_THAT(outcome.output, ContainsRegex("\\[1," + rank + "\\]<stderr>:DEADLINE_EXCEEDED"));
  }
  // Which is noticed first depends on whether its last sign of life told of a new step.
  EXPECT_THAT(
      outcome.output,
      AnyOf(ContainsRegex("rank 2 on .* has not been heard of for [0-9.]+ s; last seen: step [0-9]+, "
                          "backward, layer2.0.bn1"),
            ContainsRegex("replica 2 \\(rank 2 on .*\\): step [0-9]+, backward, layer2.0.bn1, no "
                          "progress for [0-9.]+ s")));
}

TEST(MpiFault, AStalledRankIsNamed) {
  const Outcome outcome = RunFault("stall", 3);
  EXPECT_EQ(outcome.exit_code, 42) << outcome.output;
  EXPECT_LT(outcome.took, 45s);
  for (const std::string rank : {"0", "1"}) {
    EXPECT_THAT(outcome.output, ContainsRegex("\\[1," + rank + "\\]<stderr>:DEADLINE_EXCEEDED"));
  }
  EXPECT_THAT(outcome.output, ContainsRegex("replica 2 \\(rank 2 on .*\\): step 5, backward, "
                                            "layer2.0.bn1, no progress for"));
}

TEST(MpiFault, ARankThatLeavesIsNamed) {
  const Outcome outcome = RunFault("leave", 2);
  EXPECT_EQ(outcome.exit_code, 42) << outcome.output;
  EXPECT_THAT(outcome.output, ContainsRegex("rank 1 on .* has finished; last seen: step 5, backward"));
}

TEST(MpiFault, ARankThatThrowsEndsTheOthersWithItsCause) {
  const Outcome outcome = RunFault("throw", 3);
  EXPECT_EQ(outcome.exit_code, 42) << outcome.output;
  EXPECT_THAT(outcome.output, HasSubstr("[1,2]<stderr>:DATA_LOSS: sample 41 is damaged"));
  for (const std::string rank : {"0", "1"}) {
    EXPECT_THAT(outcome.output, ContainsRegex("\\[1," + rank + "\\]<stderr>:ABORTED: replica 2 .rank 2 on "
                                              ".* failed: sample 41 is damaged"));
  }
}

TEST(MpiFault, NativeNamesAMismatchToo) {
  const Outcome outcome = RunFault("native_mismatch", 3);
  EXPECT_EQ(outcome.exit_code, 42) << outcome.output;
  for (const std::string rank : {"0", "1", "2"}) {
    EXPECT_THAT(outcome.output,
                ContainsRegex("\\[1," + rank + "\\]<stderr>:INTERNAL: rank 2 replica 2 reduces "
                              "'layer3.0.bn1 backward' \\(17 doubles, sum\\), rank 0"));
  }
}

}  // namespace
}  // namespace syncbn::comm
