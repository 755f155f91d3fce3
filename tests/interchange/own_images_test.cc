// Runs on a folder of images: equal bits whoever decodes, and predictions of its files.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "backend/backend.h"
#include "interchange/model_input.h"
#include "interchange/predictor.h"
#include "tests/data/image_files.h"
#include "tests/interchange/trained.h"
#include "train/checkpoint_evaluation.h"
#include "train/prepared_run.h"

namespace syncbn::interchange {
namespace {

namespace fs = std::filesystem;

class OwnImages : public ::testing::Test {
 protected:
  OwnImages() {
    const char* endings[] = {".jpg", ".png", ".webp"};
    for (int i = 0; i < 27; ++i) {
      const std::string name = std::string(i < 21 ? "train/" : "val/") + "kind-" +
                               std::to_string(i % 3) + "/" + std::to_string(i) +
                               endings[(i < 21 ? i / 3 : i) % 3];
      const fs::path path = folder_.path() / name;
      fs::create_directories(path.parent_path());
      // Those to evaluate are so large that a JPEG is decoded in a smaller size, and so rough that
      // it shows.
      const int64_t scale = i < 21 ? 1 : 6;
      data::Image image = data::Ramp(scale * (40 + 2 * i), scale * (90 - i), 3, 40 * (i % 3) + i);
      std::minstd_rand rough(static_cast<unsigned>(i + 1));
      if (scale > 1) {
        for (uint8_t& pixel : image.pixels) pixel = static_cast<uint8_t>(rough() >> 8);
      }
      switch (path.extension().string()[1]) {
        case 'j':
          data::WriteJpeg(path, image);
          break;
        case 'p':
          data::WritePng(path, image);
          break;
        default:
          data::WriteWebp(path, image);
      }
    }
  }

  std::string RunFile(const std::string& jitter = "{brightness: 0.4, hue: 0.1}") const {
    return "data: {dataset: image_folder, path: " + folder_.path().string() +
           ", image_size: 32,\n"
           "       augment: {random_resized_crop: [0.3, 1], horizontal_flip: true, color_jitter: " +
           jitter +
           "}}\n"
           "model: {architecture: cnn_small}\n"
           "cluster: {replicas: 4, batch_per_replica: 2}\n"
           "train: {epochs: 2}\n";
  }

  const TempFolder folder_;
};

TEST_F(OwnImages, GiveEqualBitsOnAnyNumberOfProcessesAndThreads) {
  const v1::RunSpec spec = RunSpecFromYaml(RunFile());
  const InProcessRunResult one = RunInProcess(spec, {.processes = 1, .concurrency = 1});
  ASSERT_EQ(one.digests.size(), 1u);
  for (const int processes : {1, 2, 3, 4}) {
    const InProcessRunResult several =
        RunInProcess(spec, {.processes = processes, .concurrency = 3});
    for (const Digest& digest : several.digests) EXPECT_EQ(digest, one.digests[0]) << processes;
    EXPECT_EQ(several.StepDigests(), one.StepDigests()) << processes;
  }
  const v1::RunSpec plain = RunSpecFromYaml(RunFile("{brightness: 0.4}"));
  EXPECT_NE(RunInProcess(plain, {}).digests[0], one.digests[0]);
}

TEST_F(OwnImages, AreToldApartByThePredictorAsByTheEvaluation) {
  const Trained trained = TrainedBy(RunFile());
  data::DatasetCache datasets;
  const train::PreparedRun run(trained.spec, datasets);
  const auto backend = backend::MakeCpuBackend();
  // As it stands in the folder of a run.
  const ModelInput input = ModelInput::FromJson(InputOf(run).ToJson(), "input.json");
  EXPECT_EQ(input.middle_of, 37);
  EXPECT_EQ(input.classes, (std::vector<std::string>{"kind-0", "kind-1", "kind-2"}));
  EXPECT_EQ(input.standardize.mean, (std::vector<double>{0.485, 0.456, 0.406}));
  Predictor predictor(*backend, trained.spec, input, trained.checkpoint);
  double loss = 0, correct = 0, samples = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder_.path() / "val")) {
    if (!entry.is_regular_file()) continue;
    const std::string kind = entry.path().parent_path().filename().string();
    const std::vector<Guess> all = MostLikely(predictor.Logits(entry.path()), input.classes.size());
    for (const Guess& guess : all) {
      if (input.classes[static_cast<size_t>(guess.label)] == kind) {
        loss -= std::log(guess.probability);
      }
    }
    correct += input.classes[static_cast<size_t>(all[0].label)] == kind ? 1 : 0;
    ++samples;
  }
  const auto evaluated = train::EvaluateCheckpoint(run, *backend, trained.checkpoint,
                                                   {.modes = {v1::EVALUATION_MODE_RUNNING}});
  ASSERT_EQ(samples, 6);
  EXPECT_EQ(evaluated[0].samples, 6);
  EXPECT_NEAR(loss / samples, evaluated[0].loss, 1e-5);
  EXPECT_EQ(correct / samples, evaluated[0].accuracy);
}

}  // namespace
}  // namespace syncbn::interchange
