// Forecasts from a profile that the test makes: nothing is timed.
#include "forecast/run_forecast.h"

#include <gmock/gmock.h>

#include "base/error.h"
#include "forecast/measure.h"
#include "forecast/norm_batch.h"
#include "tests/support/in_process_run.h"
#include "tests/support/small_run.h"
#include "train/prepared_run.h"

namespace syncbn::forecast {
namespace {

using ::testing::ElementsAre;

std::unique_ptr<backend::Backend> TestBackend() {
  return std::string_view(kTestBackend) == "cpu" ? backend::MakeCpuBackend()
                                                 : backend::MakeReferenceBackend();
}

// A millisecond a sample, evenly over the events of a step that shares all its statistics.
MachineProfile EvenProfile(const v1::RunSpec& run, ProgramRecorder& recorder) {
  v1::RunSpec spec = run;
  SetNormBatch(*spec.mutable_model(), GlobalNormBatch(), Norms::kAll);
  const StepProgram program = recorder.OfReplica(spec, 0);
  MachineProfile profile;
  for (const ProgramEvent& event : program.events) profile.events.push_back(program.NameOf(event));
  const auto count = static_cast<double>(profile.events.size());
  for (const int64_t batch : {1, 64}) {
    ProfiledBatch& one = profile.batches.emplace_back(ProfiledBatch{.batch = batch});
    one.compute.assign(profile.events.size(), 1e-3 * static_cast<double>(batch) / count);
  }
  return profile;
}

class RunForecastTest : public testing::Test {
 protected:
  RunForecast Forecast(const std::string& yaml, const Network& network, int cores = 1) {
    const v1::RunSpec spec = RunSpecFromYaml(yaml);
    const train::PreparedRun prepared(spec, datasets_);
    recorder_ = std::make_unique<ProgramRecorder>(*backend_, prepared.model().input());
    profile_ = EvenProfile(spec, *recorder_);
    return RunForecast(spec, profile_, *recorder_, {.network = network, .cores = cores});
  }

  const std::unique_ptr<backend::Backend> backend_ = TestBackend();
  data::DatasetCache datasets_;
  std::unique_ptr<ProgramRecorder> recorder_;
  MachineProfile profile_;
};

constexpr Network kFree{.latency = 0, .bandwidth = 1e30};

TEST_F(RunForecastTest, ProcessesShareTheReplicasOfTheRunAndThenBringTheirOwn) {
  RunForecast forecast = Forecast(SmallRun(8, 4, "global"), kFree);
  const ClusterForecast two = forecast.At(2), eight = forecast.At(8), sixteen = forecast.At(16);
  EXPECT_EQ(two.replicas, 8);
  EXPECT_EQ(two.sgd_batch, 32);
  EXPECT_NEAR(two.step.total(), 16e-3, 1e-9);
  EXPECT_NEAR(eight.step.total(), 4e-3, 1e-9);
  EXPECT_EQ(sixteen.replicas, 16);
  EXPECT_EQ(sixteen.sgd_batch, 64);
  EXPECT_NEAR(sixteen.step.total(), 4e-3, 1e-9);
  EXPECT_NEAR(sixteen.images_per_second(), 16000, 1e-3);
  EXPECT_FALSE(sixteen.extrapolated);
}

TEST_F(RunForecastTest, AnSgdBatchIsSharedOutEvenlyOrNotAtAll) {
  RunForecast forecast = Forecast(SmallRun(8, 4, "global"), kFree);
  EXPECT_EQ(forecast.At(2, 64).replica_batch, 8);
  EXPECT_NEAR(forecast.At(64, 64).step.total(), 1e-3, 1e-9);
  EXPECT_TRUE(forecast.At(2, 1024).extrapolated);
  EXPECT_THAT(forecast.At(3, 36).impossible,
              testing::HasSubstr("36 samples cannot be shared out to 8 replicas"));
  const std::vector<Setting> settings = forecast.Settings({2, 16}, {8, 16, 36});
  ASSERT_EQ(settings.size(), 3u);
  EXPECT_EQ(settings[2].sgd_batch, 16);
  EXPECT_EQ(settings[2].processes, 16);
}

TEST_F(RunForecastTest, ANormalizationBatchThatDoesNotFitSaysSo) {
  RunForecast forecast = Forecast(SmallRun(8, 4, "8"), kFree);
  EXPECT_EQ(forecast.At(16).impossible, "");
  EXPECT_THAT(forecast.At(9).impossible, testing::HasSubstr("normalization batch"));
}

TEST_F(RunForecastTest, LatencyIsPaidForEveryLayerForwardAndBackward) {
  const Network slow{.latency = 1, .bandwidth = 1e30, .eager_bytes = 1 << 30};
  // 4 norms; that of the shortcut may travel beside another. Milliseconds of compute hide some of
  // it.
  RunForecast forecast = Forecast(SmallRun(8, 4, "global"), slow);
  const StepTime two = forecast.At(2).step, four = forecast.At(4).step;
  EXPECT_NEAR(two.statistics, std::round(two.statistics), 0.02);
  EXPECT_GE(two.statistics, 6);
  EXPECT_LE(two.statistics, 8);
  EXPECT_NEAR(four.statistics, 2 * two.statistics, 0.02);  // two rounds
}

TEST_F(RunForecastTest, ALargerNormalizationBatchIsFreeInsideOfAProcessAndOnAFastNetwork) {
  const Network slow{.latency = 1e-3, .bandwidth = 1e30};
  RunForecast at_slow = Forecast(SmallRun(8, 4, "global"), slow);
  const auto two = at_slow.FreeAt(2), eight = at_slow.FreeAt(8);
  ASSERT_TRUE(two && eight);
  EXPECT_EQ(two->samples, 16) << "four replicas of a process";
  EXPECT_EQ(eight->samples, 4);
  EXPECT_EQ(eight->replica, 4);
  EXPECT_EQ(eight->global, 32);
  EXPECT_GT(eight->global_adds, 1);
  RunForecast at_fast = Forecast(SmallRun(8, 4, "replica"), kFree);
  EXPECT_EQ(at_fast.FreeAt(8)->samples, 32);
  EXPECT_EQ(at_fast.FreeAt(64)->samples, 256);
}

TEST_F(RunForecastTest, WithoutBatchNormNoNormalizationBatchIsFree) {
  RunForecast forecast = Forecast(
      "data: {dataset: shapes, shapes: {train_samples: 64, test_samples: 8}}\n"
      "model: {architecture: lenet, norm: {kind: group, groups: 2}}\n"
      "cluster: {replicas: 2, batch_per_replica: 4}\n",
      kFree);
  EXPECT_FALSE(forecast.FreeAt(2));
  EXPECT_EQ(forecast.At(2).step.statistics, 0);
}

TEST_F(RunForecastTest, ReplicasOfOneSampleHaveNoStatisticsToCompareWith) {
  RunForecast forecast = Forecast(
      "data: {dataset: shapes, shapes: {train_samples: 64, test_samples: 8}}\n"
      "model: {architecture: mlp, hidden: [8], norm: {kind: batch, batch: global}}\n"
      "cluster: {replicas: 4, batch_per_replica: 1}\n",
      kFree);
  EXPECT_EQ(forecast.At(2).impossible, "");
  EXPECT_FALSE(forecast.FreeAt(2));
}

TEST_F(RunForecastTest, NativeReductionsAreRefused) {
  v1::RunSpec spec = RunSpecFromYaml(SmallRun(8, 4, "global"));
  RunForecast made = Forecast(SmallRun(8, 4, "global"), kFree);
  spec.mutable_cluster()->set_reduction(v1::REDUCTION_NATIVE);
  RunForecast forecast(spec, profile_, *recorder_, {.network = kFree});
  EXPECT_THROW(forecast.At(2), Error);
}

// What is measured fits what is predicted of, whatever the times are.
TEST(Measure, AProfileHasTheEventsOfTheRunsSteps) {
  const v1::RunSpec spec = RunSpecFromYaml(SmallRun(8, 4, "8"));
  data::DatasetCache datasets;
  const auto backend = TestBackend();
  const MachineProfile profile =
      MeasureProfile(spec, *backend, datasets, {.batches = {2, 4}, .least_steps = 2, .seconds = 0});
  EXPECT_EQ(profile.host.empty(), false);
  ASSERT_EQ(profile.batches.size(), 2u);
  for (const ProfiledBatch& one : profile.batches) EXPECT_GT(one.total(), 0);
  EXPECT_GT(profile.costs.seconds_per_round, 0);
  EXPECT_GT(profile.costs.seconds_per_message, 0);
  EXPECT_GE(profile.costs.seconds_per_byte, 0);
  const train::PreparedRun prepared(spec, datasets);
  ProgramRecorder recorder(*backend, prepared.model().input());
  RunForecast forecast(spec, profile, recorder, {.network = kFree});
  const ClusterForecast at = forecast.At(8);
  EXPECT_EQ(at.impossible, "");
  EXPECT_GT(at.step.compute, 0);
  EXPECT_GT(at.step.other, 0);
}

TEST(Measure, SizesThatAreMeasuredHoldThoseThatAreWanted) {
  const std::vector<int64_t> wanted = {1, 4, 64};
  EXPECT_THAT(BatchesToMeasure(16, wanted, 50000), ElementsAre(1, 16, 64));
  EXPECT_THAT(BatchesToMeasure(16, wanted, 100), ElementsAre(1, 16, 50));
  EXPECT_THAT(BatchesToMeasure(16, {}, 50000), ElementsAre(8, 16));
  EXPECT_THAT(BatchesToMeasure(1, {}, 50000), ElementsAre(1, 2));
}

}  // namespace
}  // namespace syncbn::forecast
