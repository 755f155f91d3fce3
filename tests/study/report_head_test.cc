#include "study/report_head.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/study/support.h"

namespace syncbn::study {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class ReportHead : public ::testing::Test {
 protected:
  // The lines of the study whose trials have been made by `result`.
  std::vector<std::string> Lines(const std::function<TrialRecord(const Trial& trial)>& result) {
    const auto results = testing::ResultsOf(plan_, result);
    const Outlook outlook(plan_, results);
    return RanOn(std::vector<const Outlook*>{&outlook});
  }
  static TrialRecord On(const std::string& host, const std::string& day) {
    TrialRecord record = testing::Finished(0.1, 0.2);
    record.by = "syncbn 1";
    record.place = {.hosts = {host}, .processor = "P", .cores = 2, .ended = day + "T10:00:00Z"};
    return record;
  }

  // 9 trials, the first three of cell 0.
  const Plan plan_{testing::Parse(testing::SmallStudy())};
};

TEST_F(ReportHead, NamesTheMachineAndTheDaysOfTheTrials) {
  EXPECT_THAT(
      Lines([](const Trial& trial) {
        return On("a", trial.seed == 1 ? "2026-11-03" : "2026-11-05");
      }),
      ElementsAre("trials on a, P, 2 cores; 2026-11-03 to 2026-11-05", "computed by syncbn 1"));
  EXPECT_THAT(Lines([](const Trial&) { return On("a", "2026-11-03"); }),
              ElementsAre("trials on a, P, 2 cores; 2026-11-03", "computed by syncbn 1"));
}

TEST_F(ReportHead, SaysThatMachinesAndProgramsAreSeveral) {
  EXPECT_THAT(
      Lines([](const Trial& trial) {
        TrialRecord record = On(trial.cell == 0 ? "a" : "b", "2026-11-03");
        if (trial.cell == 2) record.by = "syncbn 2";
        return record;
      }),
      ElementsAre("3 trials on a, P, 2 cores; 2026-11-03", "6 trials on b, P, 2 cores; 2026-11-03",
                  "several machines: the times of their trials do not compare",
                  "6 trials computed by syncbn 1", "3 trials computed by syncbn 2"));
}

TEST_F(ReportHead, OfManyMachinesNamesTheFirstAndCountsTheOthers) {
  const auto lines = Lines([](const Trial& trial) {
    return On(std::string(1, static_cast<char>('a' + 3 * trial.cell + trial.seed)), "2026-11-03");
  });
  EXPECT_THAT(lines, ::testing::SizeIs(7));
  EXPECT_THAT(lines, ::testing::Contains("5 trials on 5 other machines"));
}

TEST_F(ReportHead, WhatWasNotRecordedIsNotMadeUp) {
  EXPECT_THAT(Lines([](const Trial&) { return testing::Finished(0.1, 0.2); }),
              ElementsAre("where and when the trials ran is not recorded"));
  EXPECT_THAT(Lines([](const Trial& trial) {
                return trial.cell == 0 ? testing::Finished(0.1, 0.2) : On("a", "2026-11-03");
              }),
              ElementsAre("trials on a, P, 2 cores; 2026-11-03",
                          "of 3 trials it is not recorded where and when they ran",
                          "computed by syncbn 1"));
  const std::map<std::string, TrialRecord> none;
  const Outlook outlook(plan_, none);
  EXPECT_THAT(RanOn(std::vector<const Outlook*>{&outlook}), IsEmpty());
}

}  // namespace
}  // namespace syncbn::study
