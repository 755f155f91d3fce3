#include "forecast/machine_profile.h"

#include <gmock/gmock.h>

#include "base/error.h"
#include "base/file.h"
#include "tests/support/temp_folder.h"

namespace syncbn::forecast {
namespace {

StepProgram TwoEvents() {
  return {.reductions = {{.name = "a"}},
          .events = {{EventKind::kStart, 0}, {EventKind::kWaitInPass, 0}}};
}

MachineProfile TwoSizes() {
  return {.run = "a net",
          .events = {"start a", "wait a"},
          .batches = {{.batch = 4, .compute = {1, 2}, .rest = 1},
                      {.batch = 8, .compute = {2, 2}, .rest = 3}}};
}

TEST(MachineProfile, LiesOnTheLineBetweenWhatWasMeasured) {
  const StepProgram at6 = TwoSizes().Timed(TwoEvents(), 6);
  EXPECT_EQ(at6.events[0].compute, 1.5);
  EXPECT_EQ(at6.events[1].compute, 2);
  EXPECT_EQ(at6.rest, 2);
  EXPECT_EQ(TwoSizes().Timed(TwoEvents(), 16).events[0].compute, 4)
      << "beyond it, along the same line";
  EXPECT_EQ(TwoSizes().Timed(TwoEvents(), 1).rest, 0) << "never below 0";
  EXPECT_TRUE(TwoSizes().Covers(4));
  EXPECT_FALSE(TwoSizes().Covers(9));
}

TEST(MachineProfile, OfOneSizeGrowsWithTheSamples) {
  MachineProfile profile = TwoSizes();
  profile.batches.pop_back();
  EXPECT_EQ(profile.Timed(TwoEvents(), 12).events[1].compute, 6);
}

TEST(MachineProfile, WhatAProgramHasNotGotIsComputedBeforeItsNextEvent) {
  MachineProfile profile = TwoSizes();
  profile.events = {"start b", "start a", "wait b", "wait a", "wait c"};
  for (ProfiledBatch& batch : profile.batches) batch.compute = {1, 2, 4, 8, 16};
  const StepProgram timed = profile.Timed(TwoEvents(), 4);
  EXPECT_EQ(timed.events[0].compute, 3);
  EXPECT_EQ(timed.events[1].compute, 12);
  EXPECT_EQ(timed.rest, 17);
}

TEST(MachineProfile, OfAnotherRunFileIsRefused) {
  MachineProfile profile = TwoSizes();
  profile.events = {"start a", "wait b"};
  try {
    profile.Timed(TwoEvents(), 4);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    EXPECT_THAT(error.message(), testing::HasSubstr("measured with another run file (a net)"));
  }
}

TEST(MachineProfile, IsReadBackAsItWasWritten) {
  const TempFolder folder;
  const auto path = folder.path() / "profile.json";
  MachineProfile profile = TwoSizes();
  profile.host = "here";
  profile.costs = {1e-6, 2e-7, 3e-10};
  WriteProfile(path, profile);
  const MachineProfile read = ReadProfile(path);
  EXPECT_EQ(read.host, "here");
  EXPECT_EQ(read.events, profile.events);
  EXPECT_EQ(read.costs.seconds_per_message, 2e-7);
  ASSERT_EQ(read.batches.size(), 2u);
  EXPECT_EQ(read.batches[1].compute, profile.batches[1].compute);
  EXPECT_EQ(read.batches[1].rest, 3);
}

TEST(MachineProfile, AFileThatIsNoneIsRefused) {
  const TempFolder folder;
  const auto path = folder.path() / "profile.json";
  WriteProfile(path, TwoSizes());
  const std::string good = ReadFile(path);
  const auto replaced = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    const size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return text.replace(at, from.size(), to);
  };
  for (const std::string& text :
       {std::string("{"), std::string("[]"), replaced("\"wait a\"", "\"wait a\", \"x\""),
        replaced("\"batch\": 8", "\"batch\": 4"), replaced("\"batch\": 4", "\"batch\": 0")}) {
    WriteFileAtomically(path, text);
    EXPECT_THROW(ReadProfile(path), Error) << text;
  }
}

}  // namespace
}  // namespace syncbn::forecast
