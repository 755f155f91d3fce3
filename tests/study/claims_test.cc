#include "study/claims.h"

#include <gtest/gtest.h>

#include <limits>

#include "study/report.h"
#include "tests/study/support.h"

namespace syncbn::study {
namespace {

// Accuracy 0.5 + seed / 100 at the level's index times `step` more.
Judgement JudgeOne(const std::string& claim, double step, bool diverge_last = false) {
  const Plan plan(testing::Parse(testing::SmallStudy(
      "targets:\n  - {name: half, metric: test_accuracy, at_least: 0.5}\nclaims:\n" + claim)));
  const auto results = testing::ResultsOf(plan, [&](const Trial& trial) {
    if (diverge_last && trial.cell == 2) {
      return TrialRecord{
          .end = TrialEnd::kDiverged, .reason = "nan", .steps = 3, .samples = 24, .classes = 10};
    }
    const double accuracy = 0.4 + 0.01 * static_cast<double>(trial.seed) +
                            step * static_cast<double>(trial.cell) +
                            0.001 * static_cast<double>(trial.seed * trial.cell % 3);
    return testing::Finished(0.2, accuracy);
  });
  Judgement judgement = Judge(plan, Outlook(plan, results)).at(0);
  judgement.claim = nullptr;  // of the plan
  return judgement;
}

const char* kMore =
    "  - {text: more, arm: {batch: 8}, against: {batch: 2}, supported: {above: 0.05}}\n";

TEST(Claims, AreSupportedRefutedOrLeftOpenByWhereTheWholeIntervalLies) {
  EXPECT_EQ(JudgeOne(kMore, 0.05).verdict, Verdict::kSupported);
  EXPECT_EQ(JudgeOne(kMore, 0.0).verdict, Verdict::kRefuted);
  EXPECT_EQ(JudgeOne(kMore, 0.025).verdict, Verdict::kInconclusive);
  const Judgement judgement = JudgeOne(kMore, 0.05);
  EXPECT_NEAR(judgement.interval.estimate, 0.1, 0.003);
  EXPECT_EQ(judgement.samples, "3 seeds, fewer than a verdict should have (5)");
  EXPECT_EQ(
      judgement.rule,
      "supported where the whole 95 % interval is above 0.05; refuted where it is below 0.05");
}

TEST(Claims, ASeparateBoundForRefutingLeavesAGapBetween) {
  const char* claim =
      "  - {text: gap, arm: {batch: 8}, against: {batch: 2}, supported: {above: 0.2}, "
      "refuted: {below: 0.02}}\n";
  EXPECT_EQ(JudgeOne(claim, 0.05).verdict, Verdict::kInconclusive);
  EXPECT_EQ(JudgeOne(claim, 0.0).verdict, Verdict::kRefuted);
  EXPECT_EQ(JudgeOne(claim, 0.15).verdict, Verdict::kSupported);
}

TEST(Claims, EquivalenceIsShownByAnIntervalWithinTheMarginAndRefutedOutsideOfIt) {
  const char* claim =
      "  - {text: same, arm: {batch: 8}, against: {batch: 2}, equivalent_within: 0.02}\n";
  EXPECT_EQ(JudgeOne(claim, 0.0).verdict, Verdict::kSupported);
  EXPECT_EQ(JudgeOne(claim, 0.05).verdict, Verdict::kRefuted);
  EXPECT_EQ(JudgeOne(claim, 0.0095).verdict, Verdict::kInconclusive);
  EXPECT_EQ(JudgeOne(claim, 0.0).level, 90);
}

TEST(Claims, ADivergedArmCountsAtChanceAndIsNotLeftOut) {
  const Judgement judgement = JudgeOne(
      "  - {text: worse, arm: {batch: 8}, against: {batch: 2}, supported: {below: -0.1}}\n", 0.05,
      true);
  EXPECT_EQ(judgement.verdict, Verdict::kSupported);
  EXPECT_NEAR(judgement.interval.estimate, 0.1 - 0.42, 0.01);
}

TEST(Claims, WhatIsNeverReachedComesLaterThanTheRunsAndNeverSpeaksForWhoDidNotReachIt) {
  // Batch 2 never reaches it; batch 8 does at step 16, which is where both runs end.
  const std::string slower =
      "  - {text: steps, measure: steps_to half, compare: ratio, arm: {batch: 2}, against: {batch: "
      "8}, "
      "supported: {above: 0.9}}\n";
  const Judgement judgement = JudgeOne(slower, 0.05);
  EXPECT_EQ(judgement.interval.low, 1);
  EXPECT_EQ(judgement.interval.high, std::numeric_limits<double>::infinity());
  EXPECT_EQ(judgement.verdict, Verdict::kSupported);
  EXPECT_TRUE(
      judgement.samples.ends_with("3 trials did not reach it: the interval is open on that side"))
      << judgement.samples;
  // Who diverged after three steps was not faster.
  const std::string faster =
      "  - {text: faster, measure: steps_to half, compare: ratio, arm: {batch: 8}, against: "
      "{batch: 4}, "
      "supported: {below: 0.9}}\n";
  EXPECT_NE(JudgeOne(faster, 0.1, true).verdict, Verdict::kSupported);
}

TEST(Claims, SettingsThatAreLeftOpenAreNoFurtherEvidence) {
  const auto judge = [](const std::string& more, const std::string& where) {
    const Plan plan(testing::Parse(testing::SmallStudy(more + "claims:\n  - {text: more, arm: {" +
                                                       where + "batch: 8}, against: {" + where +
                                                       "batch: 2}, supported: {above: 0}}\n")));
    const auto results = testing::ResultsOf(plan, [&](const Trial& trial) {
      const Cell& cell = plan.cells()[trial.cell];
      const double noise = trial.seed == 2 ? -0.05 : 0.1;
      return testing::Finished(0.2, 0.5 + (cell.levels[0] == 2 ? noise : 0));
    });
    return Judge(plan, Outlook(plan, results)).at(0).interval;
  };
  const Interval alone = judge("", "");
  const Interval pooled =
      judge("  - {path: train.optimizer.momentum, values: [0, 0.1, 0.2, 0.3]}\n", "");
  EXPECT_NEAR(alone.low, pooled.low, 1e-12);
  EXPECT_NEAR(alone.high, pooled.high, 1e-12);
}

TEST(Claims, AnAxisOfNumbersIsFollowedByRankAndBySlope) {
  const char* rank =
      "  - {text: grows, compare: rank_correlation, over: batch, supported: {above: 0.5}}\n";
  EXPECT_EQ(JudgeOne(rank, 0.1).verdict, Verdict::kSupported);
  EXPECT_EQ(JudgeOne(rank, -0.1).verdict, Verdict::kRefuted);
  const char* slope =
      "  - {text: slope, compare: log_slope, over: batch, supported: {above: 0.05, below: 0.5}, "
      "refuted: {below: 0}}\n";
  EXPECT_EQ(JudgeOne(slope, 0.1).verdict, Verdict::kSupported);
  EXPECT_EQ(JudgeOne(slope, -0.1).verdict, Verdict::kRefuted);
}

TEST(Claims, AControlThatComesOutOtherwiseIsSaid) {
  const std::string claim =
      "  - {text: more, arm: {batch: 8}, against: {batch: 2}, supported: {above: 0.05}, "
      "control: refuted}\n";
  EXPECT_TRUE(JudgeOne(claim, 0.0).as_it_must);
  EXPECT_FALSE(JudgeOne(claim, 0.05).as_it_must);
}

TEST(Claims, WithoutAllTrialsThereIsNoVerdictAndItSaysWhy) {
  const Plan plan(testing::Parse(testing::SmallStudy(std::string("claims:\n") + kMore)));
  auto results =
      testing::ResultsOf(plan, [](const Trial& trial) { return testing::Finished(0.2, 0.3); });
  results.erase(results.begin());
  results.erase(results.begin());
  results.erase(results.begin());
  results.erase(results.begin());
  const Judgement judgement = Judge(plan, Outlook(plan, results)).at(0);
  EXPECT_FALSE(judgement.verdict);
  EXPECT_EQ(judgement.why, "not all of its trials have ended");
}

TEST(Report, OpensWithTheAnswerAndShowsVerdictsPlotsAndWhatDidNotEndWell) {
  const Plan plan(testing::Parse(testing::SmallStudy(std::string("claims:\n") + kMore)));
  const auto results = testing::ResultsOf(plan, [](const Trial& trial) {
    if (trial.cell == 0 && trial.seed == 2) {
      return TrialRecord{.end = TrialEnd::kDiverged, .reason = "nan at step 3", .classes = 10};
    }
    return testing::Finished(0.2, 0.3 + 0.1 * static_cast<double>(trial.cell));
  });
  const Outlook outlook(plan, results);
  const document::Document report = MakeReport(plan, outlook, {"here"});
  ASSERT_GE(report.answer.size(), 2u);
  EXPECT_TRUE(
      report.answer[0].starts_with("The best test accuracy at the end has batch 8: 50.00 %"))
      << report.answer[0];
  std::vector<std::string> headings;
  for (const document::Section& section : report.sections) headings.push_back(section.heading);
  EXPECT_EQ(headings, (std::vector<std::string>{"Verdicts", "Against batch", "Learning curves",
                                                "Results", "Trials that diverged or failed"}));
  const std::string csv = TrialsCsv(plan, outlook);
  EXPECT_TRUE(csv.starts_with("trial,batch,seed,end,steps,samples,test_accuracy,")) << csv;
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 10);
  EXPECT_NE(csv.find(",2,2,diverged,0,0,0.1,"), std::string::npos) << csv;
}

}  // namespace
}  // namespace syncbn::study
