#include "study/claims.h"

#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "study/overview.h"
#include "study/report.h"
#include "study/trials_csv.h"
#include "tests/study/support.h"

namespace syncbn::study {
namespace {

// Accuracy 0.5 + seed / 100 at the level's index times `step` more.
Judgement JudgeOne(const std::string& claim, double step, bool diverge_last = false,
                   size_t seeds = 3) {
  const std::string study = testing::SmallStudy(
      "targets:\n  - {name: half, metric: test_accuracy, at_least: 0.5}\nclaims:\n" + claim);
  const Plan plan(testing::Parse(testing::OfSeeds(study, seeds)));
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
  EXPECT_EQ(JudgeOne(rank, 0.1, false, 5).verdict, Verdict::kSupported);
  EXPECT_EQ(JudgeOne(rank, -0.1, false, 5).verdict, Verdict::kRefuted);
  const char* slope =
      "  - {text: slope, compare: log_slope, over: batch, supported: {above: 0.05, below: 0.5}, "
      "refuted: {below: 0}}\n";
  EXPECT_EQ(JudgeOne(slope, 0.1).verdict, Verdict::kSupported);
  EXPECT_EQ(JudgeOne(slope, -0.1).verdict, Verdict::kRefuted);
}

TEST(Claims, FewSeedsThatAreAllAlikeAreNoProof) {
  const char* rank =
      "  - {text: grows, compare: rank_correlation, over: batch, supported: {above: 0.5}}\n";
  const Judgement few = JudgeOne(rank, 0.1);
  EXPECT_EQ(few.interval.low, few.interval.high);
  EXPECT_EQ(few.verdict, Verdict::kInconclusive);
  EXPECT_EQ(few.seeds, 3u);
  EXPECT_TRUE(few.of_few_seeds());
  EXPECT_TRUE(few.samples.ends_with("; they are all alike, which of so few is no proof"))
      << few.samples;
  EXPECT_FALSE(JudgeOne(rank, 0.1, false, 5).of_few_seeds());
  // Of equivalence, too.
  const Plan plan(
      testing::Parse(testing::SmallStudy("claims:\n  - {text: same, arm: {batch: 8}, against: "
                                         "{batch: 2}, equivalent_within: 0.1}\n")));
  const auto results =
      testing::ResultsOf(plan, [](const Trial&) { return testing::Finished(0.2, 0.3); });
  EXPECT_EQ(Judge(plan, Outlook(plan, results)).at(0).verdict, Verdict::kInconclusive);
}

TEST(Claims, FiguresThatAreTheSameWithEverySeedNeedNotManyOfThem) {
  const Plan plan(testing::Parse(testing::SmallStudy(
      "claims:\n  - {text: more, measure: parameters, arm: {batch: 8}, against: {batch: 2}, "
      "supported: {below: 1}}\n")));
  const auto results = testing::ResultsOf(plan, [](const Trial&) {
    TrialRecord record = testing::Finished(0.2, 0.3);
    record.sizes = {{"parameters", 100}};
    return record;
  });
  const Judgement judgement = Judge(plan, Outlook(plan, results)).at(0);
  EXPECT_EQ(judgement.verdict, Verdict::kSupported);
  EXPECT_FALSE(judgement.of_few_seeds());
  EXPECT_EQ(judgement.samples, "3 seeds");
}

TEST(Claims, ReportAndOverviewSayWhichVerdictsAreOfFewSeeds) {
  const Plan plan(testing::Parse(testing::SmallStudy(std::string("claims:\n") + kMore)));
  const auto results = testing::ResultsOf(plan, [](const Trial& trial) {
    return testing::Finished(0.2, 0.3 + 0.1 * static_cast<double>(trial.cell) +
                                      0.001 * static_cast<double>(trial.seed * trial.cell));
  });
  const Outlook outlook(plan, results);
  const std::string said =
      "1 of these verdicts rests on fewer seeds than a verdict should have (5).";
  EXPECT_EQ(MakeReport(plan, outlook, {}).answer.back(), "Of 1 claim: 1 supported. " + said);
  const document::Document page = MakeOverview({{&plan, &outlook, ""}}, "one", {});
  EXPECT_EQ(page.answer.back(), said);
  const auto& table = std::get<document::Table>(page.sections.at(0).blocks.at(0));
  EXPECT_EQ(table.rows.at(0).cells.at(2), "supported, of 3 seeds");
  // What the study's own report says first is not lost on the way.
  const std::string changed = "The rules were changed.";
  const document::Document warned = MakeOverview({{&plan, &outlook, "", {changed}}}, "one", {});
  EXPECT_EQ(warned.answer.back(), "small: " + changed);
  const auto& blocks = warned.sections.back().blocks;
  EXPECT_TRUE(std::ranges::any_of(blocks, [&](const document::Block& block) {
    const auto* text = std::get_if<std::string>(&block);
    return text != nullptr && *text == changed;
  }));
}

// Axis rate 0.1, 1, 10 and case A, B; accuracy by `accuracy(case, rate, seed)`.
Judgement JudgeRates(const std::string& claim,
                     const std::function<double(int which, double rate, uint64_t seed)>& accuracy) {
  const Plan plan(testing::Parse(testing::OfSeeds(
      testing::SmallStudy(
          R"(  - {name: rate, path: train.learning_rate.base, values: [0.1, 0.5, 1, 10]}
  - {name: case, cases: [{name: A}, {name: B, set: {model.hidden: [5]}}]}
skip:
  - {where: {batch: 2}}
  - {where: {batch: 4}}
claims:
)" + claim),
      5)));
  const auto results = testing::ResultsOf(plan, [&](const Trial& trial) {
    const Cell& cell = plan.cells()[trial.cell];
    return testing::Finished(0.1,
                             accuracy(cell.levels[2], *plan.LevelOf(cell, 1).number, trial.seed));
  });
  Judgement judgement = Judge(plan, Outlook(plan, results)).at(0);
  judgement.claim = nullptr;
  return judgement;
}

TEST(Claims, TheLargestValueAtWhichSomethingHoldsIsFoundForEachSeed) {
  const char* claim =
      "  - {text: ten times, compare: ratio, arm: {case: A}, against: {case: B}, along: {over: "
      "rate, "
      "take: largest_value, where: {above: 0.5}}, supported: {above: 5}}\n";
  // A trains up to 1, B up to 0.1: a ratio of 10, with all seeds.
  const Judgement exact = JudgeRates(claim, [](int which, double rate, uint64_t) {
    return rate <= (which == 0 ? 1 : 0.1) ? 0.9 : 0.1;
  });
  EXPECT_EQ(exact.figure, "largest rate with test_accuracy above 0.5: case A over case B");
  EXPECT_NEAR(exact.interval.estimate, 10, 1e-9);
  EXPECT_EQ(exact.verdict, Verdict::kSupported);
  // A trains at all of them: at least 100.
  const Judgement open = JudgeRates(claim, [](int which, double rate, uint64_t) {
    return which == 0 || rate <= 0.1 ? 0.9 : 0.1;
  });
  EXPECT_EQ(open.interval.high, std::numeric_limits<double>::infinity());
  EXPECT_NEAR(open.interval.low, 100, 1e-9);
  EXPECT_EQ(open.verdict, Verdict::kSupported);
  EXPECT_TRUE(
      open.samples.ends_with("5 figures lie beyond the axis: the interval is open on that side"))
      << open.samples;
  // Neither trains at any rate: nothing is known.
  const Judgement none = JudgeRates(claim, [](int, double, uint64_t) { return 0.1; });
  EXPECT_EQ(none.interval.low, -std::numeric_limits<double>::infinity());
  EXPECT_EQ(none.interval.high, std::numeric_limits<double>::infinity());
  EXPECT_EQ(none.verdict, Verdict::kInconclusive);
}

TEST(Claims, AlongAnAxisTheBestOrTheSpreadIsTaken) {
  const auto accuracy = [](int which, double rate, uint64_t seed) {
    const double noise = 0.001 * static_cast<double>(seed);
    return (which == 0 ? 0.8 : 0.7) - (rate == 1 ? 0 : which == 0 ? 0.05 : 0.4) + noise;
  };
  const Judgement best = JudgeRates(
      "  - {text: better, arm: {case: A}, against: {case: B}, along: {over: rate}, supported: "
      "{above: "
      "0.05}}\n",
      accuracy);
  EXPECT_NEAR(best.interval.estimate, 0.1, 1e-9);
  EXPECT_EQ(best.verdict, Verdict::kSupported);
  const Judgement spread = JudgeRates(
      "  - {text: flat, arm: {case: A}, along: {over: rate, take: spread}, supported: {below: "
      "0.06}}\n",
      accuracy);
  EXPECT_NEAR(spread.interval.estimate, 0.05, 1e-9);
  EXPECT_EQ(spread.verdict, Verdict::kSupported);
}

TEST(Claims, AShareOfAnotherDifferenceIsTakenOff) {
  // B loses 0.3 where A loses 0.4: at least 70 % of it, and not 80.
  const auto judge = [](const std::string& share) {
    return JudgeRates(
        "  - {text: most of it, arm: {case: B, rate: 0.1}, against: {case: B, rate: 10}, less: "
        "{share: " +
            share +
            ", arm: {case: A, rate: 0.1}, against: {case: A, rate: 10}}, "
            "supported: {above: 0}}\n",
        [](int which, double rate, uint64_t seed) {
          const double lost = rate < 10 ? 0 : which == 0 ? 0.4 : 0.3;
          return 0.8 - lost + 0.0001 * static_cast<double>(seed * (which + 1u));
        });
  };
  EXPECT_EQ(judge("0.7").verdict, Verdict::kSupported);
  EXPECT_NEAR(judge("0.7").interval.estimate, 0.3 - 0.7 * 0.4, 1e-9);
  EXPECT_EQ(judge("0.8").verdict, Verdict::kRefuted);
}

TEST(Claims, ASlopeIsTakenOverTheValuesOfARange) {
  const char* claim =
      "  - {text: slope, arm: {case: A}, compare: log_slope, over: rate, range: {below: 5}, "
      "supported: "
      "{above: 0.9, below: 1.1}, refuted: {below: 0.5}}\n";
  const Judgement judgement =
      JudgeRates(claim, [](int, double rate, uint64_t) { return rate == 10 ? 0.9 : rate / 10; });
  EXPECT_NEAR(judgement.interval.estimate, 1, 1e-9);
  EXPECT_EQ(judgement.verdict, Verdict::kSupported);
}

TEST(Claims, CasesThatAreNamedByNumbersAreAnAxisOfNumbers) {
  const Plan plan(testing::Parse(testing::OfSeeds(
      testing::SmallStudy(
          "  - {name: width, cases: [{name: \"4\", set: {model.hidden: [4]}}, {name: \"8\", set: "
          "{model.hidden: [8]}}, {name: \"16\", set: {model.hidden: [16]}}]}\n"
          "skip:\n  - {where: {batch: 2}}\n  - {where: {batch: 4}}\n"
          "claims:\n  - {text: slope, compare: log_slope, over: width, arm: {batch: 8}, supported: "
          "{above: "
          "-1.1, below: -0.9}, refuted: {above: -0.5}}\n"),
      5)));
  const auto results = testing::ResultsOf(plan, [&](const Trial& trial) {
    return testing::Finished(0.1, 0.8 / *plan.LevelOf(plan.cells()[trial.cell], 1).number);
  });
  const Judgement judgement = Judge(plan, Outlook(plan, results)).at(0);
  EXPECT_NEAR(judgement.interval.estimate, -1, 1e-9);
  EXPECT_EQ(judgement.verdict, Verdict::kSupported);
}

TEST(Claims, SameBitsHoldsForAllPairsOrNotAtAll) {
  const auto judge = [](const std::function<std::string(const Trial& trial)>& digest) {
    const Plan plan(testing::Parse(testing::SmallStudy(
        "claims:\n  - {text: same, compare: same_bits, arm: {batch: 4}, against: {batch: 8}}\n")));
    const auto results = testing::ResultsOf(
        plan, [&](const Trial& trial) { return testing::Finished(0.1, 0.2, digest(trial)); });
    return Judge(plan, Outlook(plan, results)).at(0);
  };
  const Judgement same = judge([](const Trial& trial) { return std::to_string(trial.seed); });
  EXPECT_EQ(same.verdict, Verdict::kSupported);
  EXPECT_EQ(same.samples, "3 pairs");
  const Judgement one = judge([](const Trial& trial) {
    return std::to_string(trial.seed) + (trial.cell == 2 && trial.seed == 2 ? "x" : "");
  });
  EXPECT_EQ(one.verdict, Verdict::kRefuted);
  EXPECT_EQ(one.interval.estimate, 1);
}

TEST(Claims, ATargetMayBeAShareOfWhatAnArmReaches) {
  const auto judge = [](double share) {
    const Plan plan(testing::Parse(testing::SmallStudy(
        "targets:\n  - {name: best, share_of_best: {share: " + std::to_string(share) +
        ", arm: {batch: 2}}}\nclaims:\n  - {text: sooner, measure: steps_to best, arm: {batch: 8}, "
        "against: {batch: 2}, supported: {below: -1}}\n")));
    // Batch 2 ends at 0.6; batch 8 has 0.55 after 8 steps already.
    auto results = testing::ResultsOf(plan, [&](const Trial& trial) {
      return testing::Finished(trial.cell == 2 ? 0.55 : 0.3, 0.6);
    });
    const Outlook outlook(plan, results);
    EXPECT_NEAR(outlook.thresholds().at("best").value_or(0), share * 0.6, 1e-12);
    const Judgement judgement = Judge(plan, outlook).at(0);
    results.erase(results.begin());
    results.erase(results.begin());
    results.erase(results.begin());
    results.erase(results.begin());
    EXPECT_FALSE(Outlook(plan, results).thresholds().at("best").has_value() &&
                 Judge(plan, Outlook(plan, results)).at(0).verdict.has_value());
    return judgement.interval.estimate;
  };
  EXPECT_EQ(judge(0.9), -8);
  EXPECT_EQ(judge(1.0), 0);
}

TEST(Claims, FiguresOfProbesAreMeasures) {
  const Plan plan(testing::Parse(
      testing::SmallStudy("set: {probes.moments: 1}\nclaims:\n"
                          "  - {text: last, measure: figure moments.bn1.condition, arm: {batch: "
                          "8}, supported: {above: 1}}\n"
                          "  - {text: first, measure: first figure moments.bn1.condition, arm: "
                          "{batch: 8}, supported: {above: 1}}\n"
                          "  - {text: mean, measure: mean figure moments.bn1.condition, arm: "
                          "{batch: 8}, supported: {above: 1}}\n"
                          "  - {text: growth, measure: growth figure moments.*.condition, arm: "
                          "{batch: 8}, supported: {above: 1}}\n"
                          "  - {text: over layers, measure: mean_over_layers figure "
                          "moments.*.condition, arm: {batch: 8}, "
                          "supported: {above: 1}}\n"
                          "  - {text: none, measure: figure moments.bn9.condition, arm: {batch: "
                          "8}, supported: {above: 1}}\n")));
  const auto results = testing::ResultsOf(plan, [&](const Trial& trial) {
    TrialRecord record = testing::Finished(0.1, 0.2);
    const double own = 1e-9 * static_cast<double>(trial.seed);  // an interval needs a spread
    record.figures = {{"moments.bn1.condition", {{1, 2 + own}, {2, 4 + own}}},
                      {"moments.bn2.condition", {{2, 8 + own}}},
                      {"moments.bn10.condition", {{2, 16 + own}}}};
    return record;
  });
  const std::vector<Judgement> judgements = Judge(plan, Outlook(plan, results));
  const std::vector<double> expected = {4, 2, 3, 2, 28.0 / 3};
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_NEAR(judgements[i].interval.estimate, expected[i], 1e-6) << judgements[i].why;
  }
  EXPECT_TRUE(judgements[5].why.starts_with("a trial of it has no figure of figure moments.bn9"))
      << judgements[5].why;
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
