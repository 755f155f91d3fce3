// Single images: independent of each other, and what the evaluation of a run sees of them.
#include "interchange/predictor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "backend/backend.h"
#include "base/error.h"
#include "tests/interchange/trained.h"
#include "train/checkpoint_evaluation.h"

namespace syncbn::interchange {
namespace {

constexpr const char* kRun =
    "data: {dataset: shapes, shapes: {train_samples: 64, test_samples: 24}}\n"
    "model: {architecture: cnn_small}\n"
    "cluster: {replicas: 2, batch_per_replica: 8}\n"
    "train: {max_steps: 6, evaluate: {with: [running, precise, batch]}}\n";

data::Image ImageOf(const data::Dataset& dataset, int64_t index) {
  const auto pixels = dataset.Image(index);
  return {.shape = dataset.image_shape(), .pixels = {pixels.begin(), pixels.end()}};
}

TEST(Predictor, SaysOfTestImagesWhatTheEvaluationSays) {
  const Trained trained = TrainedBy(kRun);
  data::DatasetCache datasets;
  const train::PreparedRun run(trained.spec, datasets);
  const auto backend = backend::MakeCpuBackend();
  Predictor predictor(*backend, trained.spec, InputOf(run), trained.checkpoint);
  const data::Dataset& test = run.data().test();
  double loss = 0, correct = 0;
  std::vector<std::vector<double>> alone;
  for (int64_t i = 0; i < test.size(); ++i) {
    alone.push_back(predictor.Logits(ImageOf(test, i)));
    const std::vector<Guess> all = MostLikely(alone.back(), 10);
    double sum = 0;
    for (const Guess& guess : all) {
      if (guess.label == test.Label(i)) loss -= std::log(guess.probability);
      sum += guess.probability;
    }
    EXPECT_NEAR(sum, 1, 1e-12);
    correct += all[0].label == test.Label(i) ? 1 : 0;
  }
  const auto evaluated = train::EvaluateCheckpoint(run, *backend, trained.checkpoint,
                                                   {.modes = {v1::EVALUATION_MODE_RUNNING}});
  const auto samples = static_cast<double>(test.size());
  EXPECT_EQ(evaluated[0].samples, test.size());
  // Batches of another size: other roundings.
  EXPECT_NEAR(loss / samples, evaluated[0].loss, 1e-5);
  EXPECT_EQ(correct / samples, evaluated[0].accuracy);
  // In another order, and once more, they are the same to the bit.
  for (int64_t i = test.size() - 1; i >= 0; --i) {
    EXPECT_EQ(predictor.Logits(ImageOf(test, i)), alone[static_cast<size_t>(i)]) << i;
  }
}

TEST(Predictor, RefusesAModelWithoutRunningStatistics) {
  const Trained trained = TrainedBy(
      "data: {dataset: shapes, shapes: {train_samples: 16, test_samples: 4}}\n"
      "model: {architecture: cnn_small, norm: {running: none}}\n"
      "cluster: {batch_per_replica: 8}\n"
      "train: {max_steps: 1}\n");
  data::DatasetCache datasets;
  const train::PreparedRun run(trained.spec, datasets);
  const auto backend = backend::MakeCpuBackend();
  try {
    Predictor(*backend, trained.spec, InputOf(run), trained.checkpoint);
    FAIL() << "it was taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kFailedPrecondition);
    EXPECT_THAT(error.message(), testing::HasSubstr("has no running statistics"));
  }
}

TEST(MostLikely, AreInOrderAndTheSmallerLabelFirst) {
  const std::vector<Guess> guesses = MostLikely({1, 3, 3, -1000}, 5);
  ASSERT_EQ(guesses.size(), 4u);
  EXPECT_EQ(guesses[0].label, 1);
  EXPECT_EQ(guesses[1].label, 2);
  EXPECT_EQ(guesses[2].label, 0);
  EXPECT_EQ(guesses[3].probability, 0);
  EXPECT_DOUBLE_EQ(guesses[0].probability, 1 / (2 + std::exp(-2)));
}

TEST(EvaluateCheckpoint, SaysWhatTheRunHasSaid) {
  const v1::RunSpec spec = RunSpecFromYaml(kRun);
  const TempFolder folder;
  const InProcessRunResult ended = RunInProcess(
      spec, {.processes = 2,
             .out = folder.path(),
             .adjust = [](int, train::TrainerOptions& options) { options.evaluate = true; }});
  const auto checkpoint = train::CheckpointStore({.out = folder.path()}).Latest();
  data::DatasetCache datasets;
  const auto backend = backend::MakeCpuBackend();
  const auto results =
      train::EvaluateCheckpoint(train::PreparedRun(spec, datasets), *backend, *checkpoint,
                                {.modes = {v1::EVALUATION_MODE_RUNNING, v1::EVALUATION_MODE_PRECISE,
                                           v1::EVALUATION_MODE_BATCH},
                                 .concurrency = 2});
  const char* names[] = {"running", "precise", "batch"};
  for (size_t i = 0; i < 3; ++i) {
    const auto& said = ended.summary.test.at(names[i]);
    EXPECT_EQ(results[i].loss, said.loss) << names[i];
    EXPECT_EQ(results[i].accuracy, said.accuracy) << names[i];
  }
  EXPECT_NE(results[0].loss, results[1].loss);
  EXPECT_NE(results[1].loss, results[2].loss);
}

}  // namespace
}  // namespace syncbn::interchange
