// How a run says that it has ended.
#include "app/run/run_ending.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

#include "app/console.h"
#include "base/error.h"
#include "comm/in_process.h"

namespace syncbn::app {
namespace {

TEST(RunEnding, WhoWaitsForALastCheckpointThatDoesNotEndGivesUp) {
  const auto communicators = comm::MakeInProcessCommunicators(2);
  // The root never comes.
  communicators[1]->SetTimeout(std::chrono::milliseconds(10));
  train::Summary summary;
  try {
    AgreeOnEnd(*communicators[1], summary);
    FAIL() << "it was agreed with nobody";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kDeadlineExceeded);
    EXPECT_THAT(error.what(),
                testing::HasSubstr("waiting for rank 0 to end the run: does the disk of its "
                                   "last checkpoint answer?"));
  }
}

TEST(Figures, KeepTheWidthOfTheirColumnHoweverLargeTheyAre) {
  EXPECT_EQ(Fixed(0.43219, 4), "0.4322");
  EXPECT_EQ(Fixed(-12.5, 1), "-12.5");
  EXPECT_EQ(Fixed(999'999.25, 4), "999999.2500");
  EXPECT_EQ(Fixed(1e6, 4), "1e+06");
  EXPECT_EQ(Fixed(1.2346e36, 4), "1.235e+36");
  EXPECT_EQ(Fixed(-1.7976931348623157e308, 2), "-1.798e+308");
  EXPECT_EQ(Fixed(1531.4, 0), "1531");
}

}  // namespace
}  // namespace syncbn::app
