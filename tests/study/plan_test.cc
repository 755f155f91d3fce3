#include "study/plan.h"

#include <gtest/gtest.h>

#include <memory>
#include <set>

#include "base/error.h"
#include "tests/study/support.h"

namespace syncbn::study {
namespace {

const std::string kHead = R"(name: p
run:
  data: {dataset: shapes}
  model: {architecture: mlp, hidden: [4], norm: batch}
  cluster: {replicas: 2, batch_per_replica: 8}
)";

v1::RunSpec FirstRun(const std::string& more) {
  const Plan plan(testing::Parse(kHead + more));
  return plan.RunOf(plan.TrialsOf(0, std::nullopt).front());
}

TEST(Plan, CellsAreAllCombinationsAndEverySeedIsInEachOfThem) {
  const Plan plan(testing::Parse(kHead + R"(
axes:
  - {path: cluster.replicas, values: [1, 2, 4]}
  - {name: norm, cases: [{name: BN}, {name: none, set: {model.norm.kind: none}}]}
skip:
  - where: {replicas: 4, norm: none}
seeds: {list: [7, 9]}
)"));
  EXPECT_EQ(plan.cells().size(), 5u);
  EXPECT_EQ(plan.Describe(plan.cells()[0]), "replicas 1, norm BN");
  EXPECT_EQ(plan.Describe(plan.cells()[4]), "replicas 4, norm BN");
  const auto trials = plan.FirstTrials();
  EXPECT_EQ(trials.size(), 10u);
  std::set<std::string> ids;
  for (const Trial& trial : trials) {
    EXPECT_TRUE(ids.insert(plan.IdOf(trial)).second);
    EXPECT_EQ(plan.RunOf(trial).seed(), trial.seed);
  }
  EXPECT_EQ(plan.RunOf(trials[2]).model().norm().kind(), v1::NORM_KIND_NONE);
}

TEST(Plan, TheSgdBatchIsSpreadOverTheReplicasEvenly) {
  const auto batches = [](const v1::RunSpec& run) {
    return std::vector<int64_t>(run.cluster().batch_per_replica().begin(),
                                run.cluster().batch_per_replica().end());
  };
  EXPECT_EQ(batches(FirstRun("set: {sgd_batch: 64}\n")).front(), 32);
  EXPECT_EQ(batches(FirstRun("set: {sgd_batch: 64, cluster.replicas: 4}\n")).front(), 16);
  EXPECT_EQ(batches(FirstRun("set: {cluster.replicas: 3, sgd_batch: 8}\n")),
            (std::vector<int64_t>{3, 3, 2}));
}

TEST(Plan, EqualStepsAndEqualSamplesAreEpochsOfTheirOwn) {
  const auto epochs = [](const std::string& set) {
    return FirstRun("set: {" + set + ", data.shapes.train_samples: 1000}\n").train().epochs();
  };
  // 1,000 samples at batch 64 are 16 steps.
  EXPECT_DOUBLE_EQ(epochs("sgd_batch: 64, steps: 8"), 0.5);
  EXPECT_DOUBLE_EQ(epochs("sgd_batch: 64, samples: 512"), 0.5);
  EXPECT_DOUBLE_EQ(epochs("sgd_batch: 10, steps: 300"), 3);
  EXPECT_DOUBLE_EQ(epochs("sgd_batch: 10, samples: 3000"), 3);
  EXPECT_DOUBLE_EQ(epochs("sgd_batch: 500, samples: 1"), 0.5) << "one step at least";
}

TEST(Plan, ProcessesDecideOverTheTrialAndNotOverItsRun) {
  const Plan plan(
      testing::Parse(kHead + "axes:\n  - {path: processes, values: [1, 2]}\nseeds: 1\n"));
  const auto trials = plan.FirstTrials();
  ASSERT_EQ(trials.size(), 2u);
  EXPECT_EQ(plan.ProcessesOf(trials[0]), 1);
  EXPECT_EQ(plan.ProcessesOf(trials[1]), 2);
  EXPECT_NE(plan.IdOf(trials[0]), plan.IdOf(trials[1]));
  EXPECT_EQ(plan.RunOf(trials[0]).SerializeAsString(), plan.RunOf(trials[1]).SerializeAsString());
}

TEST(Plan, AFormHasOtherSettingsSeedsAndSkipsAndTheRestOfTheStudy) {
  const std::string text = kHead + R"(
set: {train.epochs: 3, sgd_batch: 16}
axes:
  - {name: rate, path: train.learning_rate.base, values: [0.1, 1]}
seeds: 5
claims:
  - {text: more, arm: {rate: 1}, against: {rate: 0.1}, supported: {above: 0}}
forms:
  - {name: quick, set: {train.epochs: 1}, seeds: 1, skip: [{where: {rate: 1}}], no_verdicts: true}
  - {name: full, seeds: 9}
)";
  const auto plan = [&](const std::string& form) {
    return std::make_unique<Plan>(ParseStudyFile(text, "study.yaml", "/", {}, form));
  };
  EXPECT_EQ(plan("")->FirstTrials().size(), 10u);
  EXPECT_EQ(plan("full")->FirstTrials().size(), 18u);
  const auto quick = plan("quick");
  ASSERT_EQ(quick->FirstTrials().size(), 1u);
  const v1::RunSpec run = quick->RunOf(quick->FirstTrials().front());
  EXPECT_EQ(run.train().epochs(), 1);
  EXPECT_EQ(run.cluster().batch_per_replica(0), 8);
  try {
    plan("huge");
    FAIL() << "there is no such form";
  } catch (const Error& error) {
    EXPECT_EQ(error.message(), "study.yaml: the study has no form `huge`; its forms: quick, full");
  }
}

TEST(Plan, ATrialIsKnownByItsRunWhateverTheStudyIsCalled) {
  const Plan a(testing::Parse(kHead + "seeds: 2\n"));
  const Plan b(testing::Parse(
      kHead + "question: Why?\naxes: [{path: model.norm.batch, values: [global, 4]}]\n"));
  EXPECT_EQ(a.IdOf(a.TrialsOf(0, std::nullopt)[0]), b.IdOf(b.TrialsOf(0, std::nullopt)[0]));
  EXPECT_NE(a.IdOf(a.TrialsOf(0, std::nullopt)[0]), b.IdOf(b.TrialsOf(1, std::nullopt)[0]));
}

// Results from before there was a choice are those of trials in float32.
TEST(Plan, ATrialInFloat32HasTheIdOfOneThatDoesNotSay) {
  const Plan plan(
      testing::Parse(kHead + "seeds: 1\naxes: [{path: precision, values: [float32, bf16]}]\n"));
  const auto trials = plan.FirstTrials();
  ASSERT_EQ(trials.size(), 2u);
  const Plan silent(testing::Parse(kHead + "seeds: 1\n"));
  EXPECT_EQ(plan.IdOf(trials[0]), silent.IdOf(silent.FirstTrials()[0]));
  EXPECT_NE(plan.IdOf(trials[0]), plan.IdOf(trials[1]));
  v1::RunSpec run = silent.RunOf(silent.FirstTrials()[0]);
  EXPECT_EQ(run.precision(), v1::PRECISION_FLOAT32);
}

std::string FaultOf(const std::string& more) {
  try {
    const Plan plan(testing::Parse(kHead + more));
    return "none";
  } catch (const Error& error) {
    return error.what();
  }
}

TEST(Plan, RunsThatDifferInLengthOrEvaluationAreDifferentRuns) {
  for (const char* axis : {"train.max_steps, values: [1, 10]", "train.epochs, values: [1, 2]",
                           "train.evaluate.every_epochs, values: [1, 4]",
                           "train.evaluate.with, values: [[running], [precise]]",
                           "train.max_skipped.in_a_row, values: [3, 4]"}) {
    EXPECT_EQ(FaultOf(std::string("axes: [{path: ") + axis + "}]\n"), "none") << axis;
  }
}

TEST(Plan, CellsThatAreTheSameRunAreRefused) {
  const std::string fault = FaultOf("axes: [{path: name, values: [a, b]}]\n");
  EXPECT_TRUE(fault.find("the trials of name a and of name b are the same runs") !=
              std::string::npos)
      << fault;
}

TEST(Plan, ArmsThatSkipHasEmptiedOrMadeUnlikeAreRefused) {
  const std::string axes =
      "axes:\n  - {path: model.norm.batch, values: [2, 4]}\n"
      "  - {path: train.learning_rate.base, name: rate, values: [0.1, 0.2]}\n";
  const std::string claim =
      "claims: [{text: c, arm: {batch: 2}, against: {batch: 4}, supported: {above: 0}}]\n";
  EXPECT_EQ(FaultOf(axes + claim), "none");
  EXPECT_NE(FaultOf(axes + claim + "skip: [{where: {batch: 4, rate: 0.2}}]\n")
                .find("they cannot be paired"),
            std::string::npos);
  EXPECT_NE(
      FaultOf(axes + claim + "skip: [{where: {batch: 2}}]\n").find("`skip` leaves no trial of it"),
      std::string::npos);
}

TEST(Plan, EveryValueOfATuningGridIsCheckedBeforeAnythingRuns) {
  const std::string fault =
      FaultOf("tune: {path: cluster.batch_per_replica, log: {from: 4, to: 16, points: 4}}\n");
  EXPECT_NE(fault.find("found the number 6.35"), std::string::npos) << fault;
}

TEST(Plan, ALogarithmicGridHasBothEndsAndGoesOnInItsOwnSteps) {
  v1::LogGridSpec grid;
  grid.set_from(0.01);
  grid.set_to(1);
  grid.set_points(5);
  const std::vector<double> values = LogGrid(grid);
  EXPECT_EQ(values, (std::vector<double>{0.01, 0.0316, 0.1, 0.316, 1}));
  EXPECT_EQ(BeyondLogGrid(grid, 5), 3.16);
  EXPECT_EQ(BeyondLogGrid(grid, 6), 10);
  EXPECT_EQ(BeyondLogGrid(grid, -1), 0.00316);
  EXPECT_EQ(BeyondLogGrid(grid, -2), 0.001) << "and not 0.000999";
}

}  // namespace
}  // namespace syncbn::study
