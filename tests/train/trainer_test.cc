// The promises of the trainer, each over whole runs: equal bits at any number of processes and across
// stop and resume; skipped steps leave no trace; batches of all shapes.
#include "train/trainer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <fstream>
#include <functional>
#include <limits>
#include <map>
#include <tuple>

#include "base/error.h"
#include "base/file.h"
#include "tests/support/in_process_run.h"
#include "tests/support/small_run.h"
#include "tests/support/temp_folder.h"
#include "train/safetensors.h"

namespace syncbn::train {
namespace {

// Digests of two runs, step by step.
void ExpectEqualSteps(const InProcessRunResult& a, const InProcessRunResult& b) {
  EXPECT_FALSE(a.StepDigests().empty());
  EXPECT_EQ(a.StepDigests(), b.StepDigests());
}

class EqualBits : public testing::TestWithParam<std::string> {};

TEST_P(EqualBits, At8ReplicasOn1To8Processes) {
  const v1::RunSpec spec = RunSpecFromYaml(SmallRun(8, 4, GetParam()));
  const InProcessRunResult one = RunInProcess(spec, {.processes = 1});
  ASSERT_EQ(one.StepDigests().size(), 30u);
  EXPECT_NE(one.StepDigests().at(0), one.StepDigests().at(29)) << "nothing was learned";
  EXPECT_EQ(one.summary.skipped_steps, 0);
  for (int processes : {2, 3, 4, 8}) {
    const InProcessRunResult many = RunInProcess(spec, {.processes = processes});
    SCOPED_TRACE(processes);
    ExpectEqualSteps(many, one);
    ASSERT_EQ(many.digests.size(), static_cast<size_t>(processes));
    for (const Digest& digest : many.digests) EXPECT_EQ(digest, one.digests[0]);
    ASSERT_EQ(many.records.size(), one.records.size());
    for (size_t i = 0; i < one.records.size(); ++i) {
      EXPECT_EQ(many.records[i].loss, one.records[i].loss) << "step " << i;
      EXPECT_EQ(many.records[i].accuracy, one.records[i].accuracy) << "step " << i;
      EXPECT_EQ(many.records[i].gradient_norm, one.records[i].gradient_norm) << "step " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(NormalizationBatch, EqualBits,
                         testing::Values("2", "4", "replica", "8", "global"),
                         [](const auto& info) { return "Of_" + info.param; });

TEST(Trainer, GivesEqualBitsAt6ReplicasOn4And5Processes) {
  const v1::RunSpec spec = RunSpecFromYaml(SmallRun(6, 5, "global"));
  const InProcessRunResult one = RunInProcess(spec, {.processes = 1});
  for (int processes : {4, 5}) {
    SCOPED_TRACE(processes);
    ExpectEqualSteps(RunInProcess(spec, {.processes = processes}), one);
  }
}

TEST(Trainer, GivesEqualBitsWhateverTheBucketsAndTheConcurrency) {
  v1::RunSpec spec = RunSpecFromYaml(SmallRun(6, 5, "replica"));
  const InProcessRunResult small = RunInProcess(spec, {.processes = 2, .concurrency = 1});
  spec.mutable_cluster()->set_bucket_mib(64);
  ExpectEqualSteps(RunInProcess(spec, {.processes = 2, .concurrency = 3}), small);
}

TEST(Trainer, ResumesWithTheSameBitsOnAnotherNumberOfProcesses) {
  for (const char* norm_batch : {"4", "replica", "8", "global"}) {
    v1::RunSpec spec = RunSpecFromYaml(SmallRun(8, 4, norm_batch));
    const InProcessRunResult whole = RunInProcess(spec, {.processes = 2});
    TempFolder out;
    // 17 is inside an epoch of 4 steps.
    spec.mutable_train()->set_max_steps(17);
    RunInProcess(spec, {.processes = 3, .out = out.path()});
    spec.mutable_train()->set_max_steps(30);
    const InProcessRunResult rest =
        RunInProcess(spec, {.processes = 4, .out = out.path(), .resume = true});
    EXPECT_EQ(rest.digests[0], whole.digests[0]) << "normalization batch " << norm_batch;
    ASSERT_EQ(rest.records.size(), 13u);
    EXPECT_EQ(rest.records.front().step, 17);
    EXPECT_EQ(rest.records.back().digest, whole.records.back().digest);
  }
}

TEST(Trainer, SkipsNonFiniteStepsWithoutATrace) {
  v1::RunSpec spec = RunSpecFromYaml(SmallRun(4, 8, "global"));
  spec.mutable_train()->set_max_steps(6);
  auto poison = [](int, TrainerOptions& options) {
    options.on_batch = [](int64_t step, int replica, data::Batch& batch) {
      if (step == 3 && replica == 2) {
        batch.images.Data<float>()[0] = std::numeric_limits<float>::quiet_NaN();
      }
    };
  };
  const InProcessRunResult run = RunInProcess(spec, {.processes = 2, .adjust = poison});
  EXPECT_EQ(run.summary.skipped_steps, 1);
  EXPECT_TRUE(run.records.at(3).skipped);
  EXPECT_FALSE(run.records.at(4).skipped);
  // Neither parameters nor running statistics moved in that step, and the run went on.
  EXPECT_EQ(run.records.at(3).digest, run.records.at(2).digest);
  EXPECT_NE(run.records.at(4).digest, run.records.at(3).digest);
  ASSERT_GT(run.state.running_statistics.elements(), 0);
  for (double value : std::as_const(run.state.running_statistics).Span<double>()) {
    EXPECT_TRUE(std::isfinite(value));
  }
}

// Images of these steps hold a NaN.
auto PoisonSteps(std::function<bool(int64_t step)> poisoned) {
  return [poisoned](int, TrainerOptions& options) {
    options.on_batch = [poisoned](int64_t step, int replica, data::Batch& batch) {
      if (replica == 0 && poisoned(step)) {
        batch.images.Data<float>()[0] = std::numeric_limits<float>::quiet_NaN();
      }
    };
  };
}

TEST(Trainer, EndsAsDivergedOneStepPastTheMostThatMayBeSkippedInARow) {
  v1::RunSpec spec = RunSpecFromYaml(SmallRun(4, 8, "global"));
  spec.mutable_train()->set_max_steps(60);
  spec.mutable_train()->mutable_max_skipped()->set_in_all(60);
  TempFolder out;
  const InProcessRunResult run = RunInProcess(
      spec, {.processes = 2, .out = out.path(), .adjust = PoisonSteps([](int64_t step) {
                                                  return step > 0;
                                                })});
  EXPECT_EQ(run.summary.end, RunEnd::kDiverged);
  EXPECT_EQ(run.summary.steps, 12) << "one good one and eleven that are not";
  EXPECT_EQ(run.summary.skipped_steps, 11);
  EXPECT_NE(run.summary.reason.find(
                "11 steps in a row were not finite (train.max_skipped.in_a_row is 10)"),
            std::string::npos)
      << run.summary.reason;
  EXPECT_NE(run.summary.reason.find("--step 11'"), std::string::npos) << run.summary.reason;
  // 12 is the end of an epoch, when one would have been due.
  EXPECT_EQ(CheckpointStore({.out = out.path()}).Steps(), (std::vector<int64_t>{4, 8}));
}

TEST(Trainer, CountsSkippedStepsInAllAndAcrossAResume) {
  v1::RunSpec spec = RunSpecFromYaml(SmallRun(4, 8, "global"));
  spec.mutable_train()->mutable_max_skipped()->set_in_all(3);
  const auto every_second = PoisonSteps([](int64_t step) { return step % 2 == 1; });
  const InProcessRunResult whole = RunInProcess(spec, {.processes = 2, .adjust = every_second});
  EXPECT_EQ(whole.summary.end, RunEnd::kDiverged);
  EXPECT_EQ(whole.summary.steps, 8);
  TempFolder out;
  spec.mutable_train()->set_max_steps(5);
  EXPECT_EQ(RunInProcess(spec, {.out = out.path(), .adjust = every_second}).summary.end,
            RunEnd::kFinished);
  spec.mutable_train()->set_max_steps(30);
  const InProcessRunResult rest =
      RunInProcess(spec, {.out = out.path(), .resume = true, .adjust = every_second});
  EXPECT_EQ(rest.summary.end, RunEnd::kDiverged);
  EXPECT_EQ(rest.summary.steps, 8);
}

TEST(Trainer, AnEndThatIsNotFiniteIsDivergedAndLeavesNoCheckpointOfIt) {
  v1::RunSpec spec = RunSpecFromYaml(SmallRun(4, 8, "global"));
  v1::TrainSpec& train = *spec.mutable_train();
  train.set_clip_norm(0);
  train.set_max_steps(1);
  train.mutable_learning_rate()->set_warmup_epochs(0);
  train.mutable_learning_rate()->set_base(1e42);
  for (const bool evaluate : {false, true}) {
    TempFolder out;
    const InProcessRunResult run = RunInProcess(
        spec, {.processes = 2, .out = out.path(), .adjust = [&](int, TrainerOptions& options) {
                 options.evaluate = evaluate;
               }});
    EXPECT_EQ(run.summary.end, RunEnd::kDiverged);
    EXPECT_EQ(run.summary.skipped_steps, 0) << "the step itself was finite";
    EXPECT_NE(run.summary.reason.find("not finite, after step 0"), std::string::npos)
        << run.summary.reason;
    EXPECT_TRUE(CheckpointStore({.out = out.path()}).Steps().empty());
  }
}

TEST(Trainer, ALastCheckpointThatIsNotWrittenIsAnEndForWantOfStorage) {
  v1::RunSpec spec = RunSpecFromYaml(SmallRun(4, 8, "global"));
  spec.mutable_train()->set_max_steps(6);
  TempFolder out;
  std::ofstream(out.path() / "checkpoints") << "a file where the folder should be";
  const InProcessRunResult run = RunInProcess(spec, {.processes = 2, .out = out.path()});
  EXPECT_EQ(run.summary.end, RunEnd::kStorage);
  EXPECT_EQ(run.summary.steps, 6);
  EXPECT_NE(run.summary.reason.find("the last checkpoint, of step 6, was not written"),
            std::string::npos)
      << run.summary.reason;
  EXPECT_EQ(run.warnings.size(), 1u) << "that of step 4 may fail";
}

TEST(Trainer, ADumpThatWasAskedForAndIsNotThereIsAnEndForWantOfStorage) {
  v1::RunSpec spec = RunSpecFromYaml(SmallRun(4, 8, "global"));
  spec.mutable_train()->set_max_steps(3);
  TempFolder out;
  std::ofstream(out.path() / "steps") << "a file where the folder should be";
  const InProcessRunResult run = RunInProcess(
      spec,
      {.out = out.path(), .adjust = [](int, TrainerOptions& options) { options.dump_steps = 2; }});
  EXPECT_EQ(run.summary.end, RunEnd::kStorage);
  EXPECT_EQ(run.summary.reason, "2 steps could not be dumped, the first of them step 0");
}

// Evaluations by step, with what they came to.
std::vector<std::tuple<int64_t, double, double>> Evaluations(
    const std::vector<MetricRecord>& records) {
  std::vector<std::tuple<int64_t, double, double>> evaluations;
  for (const MetricRecord& record : records) {
    if (record.split == "test")
      evaluations.emplace_back(record.step, *record.loss, *record.accuracy);
  }
  return evaluations;
}

TEST(Trainer,
     ARunThatIsStoppedAtEveryStepHasTheEvaluationsCheckpointsAndFiguresOfAnUndisturbedOne) {
  v1::RunSpec spec = RunSpecFromYaml(SmallRun(4, 8, "global"));
  v1::TrainSpec& train = *spec.mutable_train();
  train.set_max_steps(14);
  train.mutable_evaluate()->set_every_epochs(0.5);
  train.mutable_checkpoint()->set_every_epochs(0.75);
  train.mutable_checkpoint()->set_keep(2);
  const auto settings = [](bool stops) {
    return [stops](int process, TrainerOptions& options) {
      options.evaluate = true;
      if (stops) options.control_requests = [] { return ControlRequests{.stop = true}; };
      PoisonSteps([](int64_t step) { return step == 5; })(process, options);
    };
  };
  TempFolder undisturbed, stopped;
  const InProcessRunResult whole =
      RunInProcess(spec, {.out = undisturbed.path(), .adjust = settings(false)});
  std::vector<MetricRecord> records;
  std::vector<Summary> summaries;
  for (int i = 0; i < 14; ++i) {
    const InProcessRunResult part = RunInProcess(
        spec,
        {.processes = 1 + i % 2, .out = stopped.path(), .resume = i > 0, .adjust = settings(true)});
    records.insert(records.end(), part.records.begin(), part.records.end());
    summaries.push_back(part.summary);
  }
  EXPECT_EQ(Evaluations(whole.records).size(), 7u);
  EXPECT_EQ(Evaluations(records), Evaluations(whole.records));
  const Summary& last = summaries.back();
  EXPECT_EQ(last.end, RunEnd::kFinished);
  EXPECT_EQ(last.steps, 14);
  EXPECT_EQ(last.digest, whole.summary.digest);
  EXPECT_EQ(last.skipped_steps, 1);
  EXPECT_EQ(last.best_test_accuracy, whole.summary.best_test_accuracy);
  ASSERT_TRUE(last.train && whole.summary.train);
  EXPECT_EQ(last.train->loss, whole.summary.train->loss) << "of the whole epoch, to the bit";
  EXPECT_EQ(last.train->accuracy, whole.summary.train->accuracy);
  // The skipped step takes nothing from its epoch but itself.
  ASSERT_TRUE(summaries.at(7).train);
  EXPECT_TRUE(std::isfinite(summaries.at(7).train->loss));
  const CheckpointStore kept({.out = stopped.path()}), expected({.out = undisturbed.path()});
  EXPECT_EQ(kept.Steps(), expected.Steps());
  for (const int64_t step : expected.Steps()) {
    EXPECT_EQ(CheckpointStore::Load(kept.FolderOf(step)).manifest.test_accuracy,
              CheckpointStore::Load(expected.FolderOf(step)).manifest.test_accuracy)
        << step;
  }
}

TEST(Trainer, ACheckpointsModelIsAStateDictWithoutTheOptimizersState) {
  v1::RunSpec spec = RunSpecFromYaml(SmallRun(4, 8, "global"));
  spec.mutable_train()->set_max_steps(3);
  TempFolder out;
  RunInProcess(spec, {.out = out.path()});
  int counts = 0;
  const auto folder = CheckpointStore({.out = out.path()}).FolderOf(3);
  for (const NamedTensor& tensor : ReadSafetensors(folder / "model.safetensors").tensors) {
    EXPECT_FALSE(tensor.name.starts_with("optimizer.")) << tensor.name;
    if (!tensor.name.ends_with("num_batches_tracked")) continue;
    ++counts;
    ASSERT_EQ(tensor.tensor.dtype(), DType::kInt64) << tensor.name;
    EXPECT_EQ(tensor.tensor.Span<int64_t>()[0], 3);
  }
  EXPECT_EQ(counts, 4);
  for (const NamedTensor& tensor : ReadSafetensors(folder / "optimizer.safetensors").tensors) {
    EXPECT_TRUE(tensor.name.starts_with("optimizer.velocity.")) << tensor.name;
  }
}

TEST(Trainer, StopsWhenAnyProcessIsAskedTo) {
  const v1::RunSpec spec = RunSpecFromYaml(SmallRun(4, 8, "global"));
  TempFolder out;
  std::atomic<int> asked = 0;
  const InProcessRunResult run = RunInProcess(
      spec,
      {.processes = 2, .out = out.path(), .adjust = [&](int process, TrainerOptions& options) {
         if (process == 1)
           options.control_requests = [&] { return ControlRequests{.stop = ++asked > 5}; };
       }});
  EXPECT_EQ(run.summary.end, RunEnd::kStopped);
  EXPECT_EQ(run.summary.steps, 6);
  EXPECT_EQ(CheckpointStore({.out = out.path()}).Latest()->manifest.counters.step, 6);
}

TEST(Trainer, WritesACheckpointWhenAnyProcessIsAskedTo) {
  v1::RunSpec spec = RunSpecFromYaml(SmallRun(4, 8, "global"));
  spec.mutable_train()->set_max_steps(10);
  spec.mutable_train()->mutable_checkpoint()->set_every_epochs(0);
  TempFolder out;
  std::atomic<int> asked = 0;
  RunInProcess(spec, {.processes = 2, .out = out.path(), .adjust = [&](int process, TrainerOptions& options) {
                        if (process == 1) {
                          options.control_requests = [&] {
                            return ControlRequests{.checkpoint = ++asked == 5};
                          };
                        }
                      }});
  EXPECT_EQ(CheckpointStore({.out = out.path()}).Steps(), (std::vector<int64_t>{5, 10}));
}

TEST(Trainer, NamesTheReplicaThatFailsAndReleasesTheOthers) {
  const v1::RunSpec spec = RunSpecFromYaml(SmallRun(4, 8, "global"));
  try {
    RunInProcess(spec, {.processes = 2, .adjust = [](int, TrainerOptions& options) {
                          options.on_batch = [](int64_t step, int replica, data::Batch&) {
                            if (step == 2 && replica == 1) {
                              throw Error(ErrorCode::kInternal, "a broken replica");
                            }
                          };
                        }});
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("a broken replica"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("replica 1"), std::string::npos) << error.what();
  }
}

TEST(Trainer, UnevenAndEmptyReplicasTrain) {
  std::string text = SmallRun(4, 8, "global");
  const std::string from = "batch_per_replica: 8";
  text.replace(text.find(from), from.size(), "batch_per_replica: [29, 17, 0, 7]");
  v1::RunSpec spec = RunSpecFromYaml(text);
  spec.mutable_train()->set_max_steps(8);
  const InProcessRunResult one = RunInProcess(spec, {.processes = 1});
  EXPECT_EQ(one.summary.skipped_steps, 0);
  ExpectEqualSteps(RunInProcess(spec, {.processes = 3}), one);
}

TEST(Trainer, DumpsWhatAStepSawAndDid) {
  v1::RunSpec spec = RunSpecFromYaml(SmallRun(4, 8, "global"));
  spec.mutable_train()->set_max_steps(5);
  TempFolder out;
  const InProcessRunResult run = RunInProcess(
      spec, {.processes = 2, .out = out.path(), .adjust = [](int, TrainerOptions& options) {
               options.dump_from = 3;
               options.dump_steps = 1;
             }});
  const SafetensorsFile dump = ReadSafetensors(out.path() / "steps" / "000003.safetensors");
  std::map<std::string, Tensor> tensors;
  for (const NamedTensor& entry : dump.tensors) tensors[entry.name] = entry.tensor;
  // The epoch's last step: 4 samples, one for each replica.
  EXPECT_EQ(tensors["input.images"].shape(), (Shape{4, 3, 32, 32}));
  ASSERT_EQ(tensors["input.replica"].shape(), (Shape{4}));
  const std::span<const int32_t> replicas = std::as_const(tensors["input.replica"]).Span<int32_t>();
  EXPECT_EQ(std::vector<int32_t>(replicas.begin(), replicas.end()),
            (std::vector<int32_t>{0, 1, 2, 3}));
  EXPECT_EQ(tensors["output.logits"].shape(), (Shape{4, 10}));
  EXPECT_EQ(tensors["dropout.5"].shape(), (Shape{4, 8, 8, 8}));
  // Every replica dropped, and none all.
  for (int64_t i = 0; i < 4; ++i) {
    const Tensor factors = tensors["dropout.5"].Rows(i, i + 1).As(DType::kFloat64);
    const auto dropped = std::ranges::count(factors.Span<double>(), 0.0);
    EXPECT_GT(dropped, 50) << i;
    EXPECT_LT(dropped, 300) << i;
  }
  EXPECT_TRUE(tensors["before.optimizer.velocity.7.weight"].defined());
  EXPECT_TRUE(tensors["after.optimizer.velocity.7.weight"].defined());
  EXPECT_EQ(dump.metadata.at("optimizer_updates"), "3");
  EXPECT_EQ(dump.metadata.at("digest"), run.records.at(3).digest->Hex());
  EXPECT_FALSE(std::filesystem::exists(out.path() / "steps" / "000002.safetensors"));
}

TEST(Trainer, DumpsTheSameBitsOnAnyNumberOfProcesses) {
  v1::RunSpec spec = RunSpecFromYaml(SmallRun(4, 8, "global"));
  spec.mutable_train()->set_max_steps(5);
  std::vector<std::string> files;
  for (const int processes : {1, 3}) {
    TempFolder out;
    RunInProcess(
        spec,
        {.processes = processes, .out = out.path(), .adjust = [](int, TrainerOptions& options) {
           options.dump_from = 3;
           options.dump_steps = 1;
         }});
    files.push_back(ReadFile(out.path() / "steps" / "000003.safetensors"));
  }
  EXPECT_GT(files[0].size(), 10000u);
  EXPECT_TRUE(files[0] == files[1]);
}

// Where replicas take turns, activations are held by those that compute and by no others.
TEST(Trainer, NeedsNoMoreActivationMemoryFor64ReplicasThanFor2) {
  auto peak_of = [](int replicas) {
    v1::RunSpec spec = RunSpecFromYaml(SmallRun(replicas, 16, "replica"));
    spec.mutable_data()->mutable_shapes()->set_train_samples(16 * replicas * 2);
    spec.mutable_train()->set_max_steps(2);
    size_t peak = 0;
    RunInProcess(spec, {.concurrency = 2, .after = [&](int, Engine& engine) {
                          for (const auto& executor : engine.executors().executors()) {
                            peak += executor->Memory().peak;
                          }
                        }});
    return static_cast<double>(peak);
  };
  if (kTestBackend != std::string("cpu")) GTEST_SKIP() << "only the cpu back end counts memory";
  const double two = peak_of(2), many = peak_of(64);
  EXPECT_GT(two, 1e6) << "activations are not counted";
  EXPECT_LE(many, 1.5 * two);
}

TEST(Trainer, EvaluatesEquallyOnAnyNumberOfProcesses) {
  v1::RunSpec spec = RunSpecFromYaml(SmallRun(4, 8, "global"));
  spec.mutable_train()->set_max_steps(8);
  auto* evaluate = spec.mutable_train()->mutable_evaluate();
  evaluate->clear_with();
  for (auto mode : {v1::EVALUATION_MODE_RUNNING, v1::EVALUATION_MODE_PRECISE, v1::EVALUATION_MODE_BATCH}) {
    evaluate->add_with(mode);
  }
  evaluate->set_precise_samples(64);
  auto with_evaluation = [](int, TrainerOptions& options) { options.evaluate = true; };
  const InProcessRunResult one = RunInProcess(spec, {.processes = 1, .adjust = with_evaluation});
  const InProcessRunResult three = RunInProcess(spec, {.processes = 3, .adjust = with_evaluation});
  ASSERT_EQ(one.summary.test.size(), 3u);
  for (const auto& [name, figures] : one.summary.test) {
    EXPECT_EQ(three.summary.test.at(name).loss, figures.loss) << name;
    EXPECT_EQ(three.summary.test.at(name).accuracy, figures.accuracy) << name;
  }
  EXPECT_NE(one.summary.test.at("running").loss, one.summary.test.at("precise").loss);
  // Evaluation changes nothing: the run's bits are those of a run without.
  EXPECT_EQ(RunInProcess(spec, {.processes = 1}).digests[0], one.digests[0]);
}

// A run that learns nothing worth a digit: its weights stay those of the seed.
v1::RunSpec FrozenRun(const std::string& cluster, const std::string& more) {
  return RunSpecFromYaml(
      "seed: 3\n"
      "data: {dataset: shapes, shapes: {train_samples: 56, test_samples: 28},\n"
      "       augment: {random_crop_padding: 4, horizontal_flip: true}}\n"
      "model: {architecture: resnet20, width: 0.25, norm: {batch: 14}}\n"
      "cluster: " +
      cluster +
      "\n"
      "train: {epochs: 2, learning_rate: 1.0e-30, evaluate: {every_epochs: 0, precise_samples: "
      "28,\n"
      "        with: [running, precise, batch]}, " +
      more + "}\n");
}

Summary EvaluatedAtTheEnd(const v1::RunSpec& spec) {
  auto with_evaluation = [](int, TrainerOptions& options) { options.evaluate = true; };
  return RunInProcess(spec, {.processes = 1, .adjust = with_evaluation}).summary;
}

// One replica of 14 samples, and four that share as many, form the same groups of samples.
TEST(Trainer, EvaluatesWithTheGroupsOfTrainingWhereReplicasAreUneven) {
  const Summary one =
      EvaluatedAtTheEnd(FrozenRun("{replicas: 1, batch_per_replica: 14}", "max_steps: 1"));
  const Summary four = EvaluatedAtTheEnd(
      FrozenRun("{replicas: 4, batch_per_replica: [5, 2, 1, 6]}", "max_steps: 1"));
  for (const char* mode : {"precise", "batch"}) {
    const double loss = one.test.at(mode).loss;
    EXPECT_NEAR(four.test.at(mode).loss, loss, 1e-4 * loss) << mode;
  }
}

TEST(Trainer, PreciseStatisticsAfterAnEpochAreOfThatEpochsSamples) {
  const std::string cluster = "{replicas: 2, batch_per_replica: 7}";
  const double last_but_one =
      EvaluatedAtTheEnd(FrozenRun(cluster, "max_steps: 3")).test.at("precise").loss;
  EXPECT_EQ(EvaluatedAtTheEnd(FrozenRun(cluster, "max_steps: 4")).test.at("precise").loss,
            last_but_one)
      << "the fourth and last step of the first epoch";
  EXPECT_NE(EvaluatedAtTheEnd(FrozenRun(cluster, "max_steps: 5")).test.at("precise").loss,
            last_but_one)
      << "another epoch is augmented otherwise";
}

}  // namespace
}  // namespace syncbn::train
