#include "study/plan.h"

#include <gtest/gtest.h>

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

TEST(Plan, EqualSamplesAreMoreStepsOfASmallerBatch) {
  EXPECT_EQ(FirstRun("set: {samples: 1000, sgd_batch: 64}\n").train().max_steps(), 16);
  EXPECT_EQ(FirstRun("set: {samples: 1000}\n").train().max_steps(), 63);
}

TEST(Plan, ATrialIsKnownByItsRunWhateverTheStudyIsCalled) {
  const Plan a(testing::Parse(kHead + "seeds: 2\n"));
  const Plan b(testing::Parse(
      kHead + "question: Why?\naxes: [{path: model.norm.batch, values: [global, 4]}]\n"));
  EXPECT_EQ(a.IdOf(a.TrialsOf(0, std::nullopt)[0]), b.IdOf(b.TrialsOf(0, std::nullopt)[0]));
  EXPECT_NE(a.IdOf(a.TrialsOf(0, std::nullopt)[0]), b.IdOf(b.TrialsOf(1, std::nullopt)[0]));
}

TEST(Plan, ALogarithmicGridHasBothEndsAndGoesOnInItsOwnSteps) {
  v1::LogGridSpec grid;
  grid.set_from(0.01);
  grid.set_to(1);
  grid.set_points(5);
  const std::vector<double> values = LogGrid(grid);
  EXPECT_EQ(values, (std::vector<double>{0.01, 0.0316, 0.1, 0.316, 1}));
  EXPECT_EQ(NextOnGrid(values, true), 3.16);
  EXPECT_EQ(NextOnGrid(values, false), 0.00316);
}

}  // namespace
}  // namespace syncbn::study
