#include "forecast/noise_source.h"

#include <gmock/gmock.h>

#include <cmath>
#include <functional>
#include <limits>

#include "base/error.h"
#include "base/file.h"
#include "config/run_file.h"
#include "forecast/time_to_target.h"
#include "study/plan.h"
#include "study/result_log.h"
#include "study/study_folder.h"
#include "tests/support/temp_folder.h"
#include "train/metric_record.h"

namespace syncbn::forecast {
namespace {

using ::testing::HasSubstr;

constexpr const char* kRun =
    "data: {dataset: shapes, shapes: {train_samples: 256, test_samples: 16}}\n"
    "model: {architecture: mlp, hidden: [8]}\n"
    "cluster: {replicas: 2, batch_per_replica: 16}\n"
    "train: {epochs: 4}\n";

class RunFolder {
 public:
  RunFolder() {
    WriteFileAtomically(path() / "run.yaml",
                        config::ParseRunFile(kRun, "run.yaml").EffectiveYaml());
  }
  const std::filesystem::path& path() const { return folder_.path(); }
  void Noise(int64_t step, double scale, bool biased = false) {
    train::MetricRecord record{.step = step, .split = "train"};
    record.figures["noise_scale"] = scale;
    if (biased) record.figures["noise_scale.biased"] = 1;
    Add(record);
  }
  void Accuracy(int64_t step, double accuracy, const std::string& evaluation = "running") {
    Add({.step = step, .split = "test", .evaluation = evaluation, .accuracy = accuracy});
  }

 private:
  void Add(const train::MetricRecord& record) {
    lines_ += record.ToJson() + "\n";
    WriteFileAtomically(path() / "metrics.jsonl", lines_);
  }
  TempFolder folder_;
  std::string lines_;
};

TEST(NoiseSource, OfARunIsTheGeometricMeanUntilItsTarget) {
  RunFolder run;
  run.Noise(9, 100);
  run.Noise(19, std::numeric_limits<double>::quiet_NaN());
  run.Noise(29, 400);
  run.Accuracy(29, 0.5);
  run.Accuracy(29, 0.9, "precise");
  run.Noise(39, 200);
  run.Accuracy(39, 0.8);
  run.Noise(49, 1e6);
  run.Accuracy(49, 0.8);
  const NoiseSource source = FromRun(run.path(), std::nullopt);
  EXPECT_NEAR(source.noise_scale.estimate, 200, 1e-9);
  EXPECT_LT(source.noise_scale.low, 200);
  EXPECT_GT(source.noise_scale.high, 200);
  EXPECT_NEAR(source.law.estimate.Steps(32), 40, 1e-9);
  EXPECT_FALSE(source.law.draws.empty());
  EXPECT_THAT(source.description,
              HasSubstr("3 figures of the noise scale at an SGD batch of 32, test "
                        "accuracy 0.8 after 40 steps"));
  EXPECT_THAT(source.description, Not(HasSubstr("biased")));

  const NoiseSource sooner = FromRun(run.path(), 0.45);
  EXPECT_NEAR(sooner.law.estimate.Steps(32), 30, 1e-9);
  EXPECT_EQ(sooner.noise_scale.low, sooner.noise_scale.high) << "two figures have no interval";
  EXPECT_THROW(FromRun(run.path(), 0.85), Error) << "with precise statistics alone";
}

TEST(NoiseSource, OfARunThatWasNeverEvaluatedIsRelative) {
  RunFolder run;
  run.Noise(9, 100, /*biased=*/true);
  const NoiseSource source = FromRun(run.path(), std::nullopt);
  EXPECT_TRUE(source.law.relative);
  EXPECT_THAT(source.description, HasSubstr("biased"));
  EXPECT_THROW(FromRun(run.path(), 0.5), Error);
}

TEST(NoiseSource, ARunWithoutTheProbeSaysHowToHaveIt) {
  RunFolder run;
  run.Accuracy(9, 0.5);
  try {
    FromFolder(run.path(), std::nullopt, "");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kFailedPrecondition);
    EXPECT_THAT(error.message(), HasSubstr("--set probes.noise_scale=100"));
  }
}

TEST(NoiseSource, ARunWhoseFiguresAreNoScaleSaysWhy) {
  const auto fault_of = [](bool biased) -> std::string {
    RunFolder run;
    run.Noise(9, -100, biased);
    run.Noise(19, 0, biased);
    try {
      FromRun(run.path(), std::nullopt);
      return "none";
    } catch (const Error& error) {
      return error.message();
    }
  };
  EXPECT_THAT(fault_of(true), HasSubstr("of its 2 figures of the noise scale none is a number "
                                        "above 0: replicas that share statistics"));
  EXPECT_THAT(fault_of(false), HasSubstr("too noisy"));
}

TEST(NoiseSource, AFolderOfSomethingElseIsRefused) {
  const TempFolder folder;
  EXPECT_THROW(FromFolder(folder.path(), std::nullopt, ""), Error);
  RunFolder run;
  run.Noise(9, 100);
  EXPECT_THROW(FromFolder(run.path(), std::nullopt, "fifth"), Error);
}

class StudyFolder {
 public:
  explicit StudyFolder(const std::string& axes, const std::string& targets) {
    WriteFileAtomically(path() / study::kRunFile, kRun);
    WriteFileAtomically(path() / study::kStudyFile,
                        "name: batches\nrun: run.yaml\naxes:\n" + axes + "seeds: 3\n" + targets);
    WriteFileAtomically(path() / study::kOverridesFile, "");
    WriteFileAtomically(path() / study::kResultsFile, "");
  }
  const std::filesystem::path& path() const { return folder_.path(); }
  // Every trial reaches the target after the law's steps, times 1 + seed / 100, but for those with
  // that `misses`, which end after `end` steps.
  void Fill(
      const NoiseLaw& law,
      const std::function<bool(int64_t batch, uint64_t seed)>& misses =
          [](int64_t, uint64_t) { return false; },
      int64_t end = 100) {
    const study::Plan plan(study::LoadStoredStudy(path()));
    std::string lines;
    for (const study::Trial& trial : plan.FirstTrials()) {
      const v1::RunSpec run = plan.RunOf(trial);
      const int64_t batch = run.cluster().replicas() * run.cluster().batch_per_replica(0);
      const double steps =
          law.Steps(static_cast<double>(batch)) * (1 + 0.01 * static_cast<double>(trial.seed));
      const bool missed = misses(batch, trial.seed);
      study::TrialRecord record{.steps = missed ? end : 100000, .classes = 10};
      record.test.push_back(
          {.steps = missed ? end : std::llround(steps), .accuracy = missed ? 0.1 : 0.9});
      lines += study::ToJsonLine(plan.IdOf(trial), record);
    }
    WriteFileAtomically(path() / study::kResultsFile, lines);
  }

 private:
  TempFolder folder_;
};

constexpr const char* kBatches = "  - {path: sgd_batch, values: [16, 32, 64, 128]}\n";
constexpr const char* kTarget =
    "targets:\n  - {name: half, metric: test_accuracy, at_least: 0.5}\n";

TEST(NoiseSource, OfAStudyIsTheLawOfItsStepsToTheTarget) {
  StudyFolder study(kBatches, kTarget);
  study.Fill({.steps_min = 10000, .noise_scale = 64},
             [](int64_t batch, uint64_t) { return batch == 16; });
  const NoiseSource source = FromFolder(study.path(), std::nullopt, "");
  EXPECT_NEAR(source.law.estimate.noise_scale, 64, 0.1);
  EXPECT_NEAR(source.law.estimate.steps_min, 10200, 10);
  EXPECT_FALSE(source.law.draws.empty());
  EXPECT_LE(source.noise_scale.low, source.noise_scale.estimate);
  EXPECT_THAT(source.description,
              HasSubstr("steps to half in 9 trials at SGD batches of 32, 64, 128; not used, as not "
                        "all trials reached it: 16 (3 of 3 trials did not reach it in 100 steps)"));
  EXPECT_EQ(source.largest_batch, 128);
  EXPECT_EQ(source.contradiction, "") << "100 steps are fewer than the law has";
  EXPECT_THROW(FromFolder(study.path(), 0.5, ""), Error);
  EXPECT_THROW(FromFolder(study.path(), std::nullopt, "third"), Error);
}

TEST(NoiseSource, ABatchThatSomeTrialsDidNotReachIsNotThatOfTheLuckyOnes) {
  StudyFolder study(kBatches, kTarget);
  study.Fill({.steps_min = 10000, .noise_scale = 64},
             [](int64_t batch, uint64_t seed) { return batch == 128 && seed > 1; });
  const NoiseSource source = FromStudy(study.path(), "");
  EXPECT_THAT(
      source.description,
      HasSubstr("9 trials at SGD batches of 16, 32, 64; not used, as not all trials reached "
                "it: 128 (2 of 3 trials did not reach it in 100 steps)"));
  EXPECT_EQ(source.largest_batch, 64);
}

TEST(NoiseSource, ALawThatHasFewerStepsThanTrialsRanInVainContradictsTheStudy) {
  StudyFolder study(kBatches, kTarget);
  study.Fill(
      {.steps_min = 10000, .noise_scale = 64}, [](int64_t batch, uint64_t) { return batch >= 64; },
      40000);
  const NoiseSource source = FromStudy(study.path(), "");
  EXPECT_EQ(source.largest_batch, 32);
  EXPECT_THAT(
      source.contradiction,
      HasSubstr("steps at an SGD batch of 64 (3 of 3 trials did not reach it in 40000 steps)"));
  EXPECT_EQ(source.most_advised(), 32);
  const TargetTimes times =
      PredictTimes(source.law, {{16, 1, 1}, {32, 1, 1}, {64, 1, 1}}, source.most_advised());
  EXPECT_EQ(times.settings[times.best].setting.sgd_batch, 32);
  EXPECT_EQ(PredictTimes(source.law, {{16, 1, 1}, {32, 1, 1}, {64, 1, 1}}).best, 2u);
}

TEST(NoiseSource, AStudyOfOneBatchThatAllReachedIsRefusedAndSaysWhyOfTheOthers) {
  StudyFolder study(kBatches, kTarget);
  study.Fill({.steps_min = 10000, .noise_scale = 64},
             [](int64_t batch, uint64_t seed) { return batch > 32 || (batch == 32 && seed == 1); });
  try {
    FromStudy(study.path(), "");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kFailedPrecondition);
    EXPECT_THAT(error.message(), HasSubstr("reached half at one SGD batch (16)"));
    EXPECT_THAT(error.message(), HasSubstr("32 (1 of 3 trials did not reach it in 100 steps), 64"));
  }
}

TEST(NoiseSource, AStudyThatCannotTellIsRefused) {
  StudyFolder none(kBatches, "");
  none.Fill({10000, 64});
  EXPECT_THROW(FromStudy(none.path(), ""), Error) << "no target";
  StudyFolder two(
      std::string(kBatches) + "  - {path: train.learning_rate.base, values: [0.1, 0.2]}\n",
      kTarget);
  two.Fill({10000, 64});
  try {
    FromStudy(two.path(), "");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.message(), HasSubstr("2 cells of an SGD batch of 16"));
  }
}

}  // namespace
}  // namespace syncbn::forecast
