// Training steps on a GPU, as `syncbn train` runs them: loader, acceptance, metrics; on random
// images of any size.
//   build/bin/gpu_step_bench --architecture resnet50 --side 224 --classes 1000 --batch 128
//   --precision bf16
// Prints one JSON object: milliseconds from one step to the next, median over the steps behind
// those of the warm-up.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "base/error.h"
#include "base/rng.h"
#include "config/run_file.h"
#include "data/dataset_cache.h"
#include "train/prepared_run.h"
#include "train/training_run.h"

namespace syncbn {
namespace {

using Clock = std::chrono::steady_clock;

struct Options {
  std::string architecture = "resnet50", precision = "float32";
  int64_t side = 224, batch = 64;
  int classes = 1000, replicas = 1, steps = 30, warm_up = 10;
};

data::Dataset RandomImages(const Options& options, data::Split split, int64_t samples) {
  data::Dataset::Content content{.name = "random",
                                 .split = split,
                                 .image = {options.side, options.side, 3},
                                 .classes = options.classes,
                                 .images = {},
                                 .labels = {}};
  const int64_t bytes = samples * content.image.elements();
  content.images.resize(static_cast<size_t>(bytes));
  RandomStream random(RandomKey(1).Fold(data::SplitName(split)));
  for (uint8_t& pixel : content.images) pixel = static_cast<uint8_t>(random() >> 24);
  for (int64_t i = 0; i < samples; ++i) {
    content.labels.push_back(static_cast<int32_t>(i % options.classes));
  }
  return data::Dataset(std::move(content));
}

v1::RunSpec SpecOf(const Options& options) {
  const std::string text =
      "data: {dataset: shapes}\n"  // stands for the images that are handed in
      "model: {architecture: " +
      options.architecture + ", norm: {batch: global}}\n" +
      "cluster: {replicas: " + std::to_string(options.replicas) +
      ", batch_per_replica: " + std::to_string(options.batch) + "}\n" +
      "precision: " + options.precision +
      "\n"
      "train:\n"
      "  epochs: 1000000\n"
      "  max_steps: " +
      std::to_string(options.warm_up + options.steps) +
      "\n"
      "  optimizer: {momentum: 0.9, nesterov: true, weight_decay: 5.0e-4}\n"
      "  learning_rate: 0.01\n";
  return config::ParseRunFile(text, "step.yaml", {}).spec;
}

class StepTimes : public train::RunObserver {
 public:
  void OnStep(const train::MetricRecord& record, const train::EpochSums&) override {
    at_.push_back(Clock::now());
    data_.push_back(record.milliseconds ? record.milliseconds->data : 0);
    loss_ = record.loss.value_or(NAN);
  }
  // Without the first `warm_up`.
  std::vector<double> Milliseconds(int warm_up) const {
    std::vector<double> times;
    for (size_t i = static_cast<size_t>(warm_up); i < at_.size(); ++i) {
      times.push_back(std::chrono::duration<double, std::milli>(at_[i] - at_[i - 1]).count());
    }
    return times;
  }
  std::vector<double> WaitsForData(int warm_up) const {
    return {data_.begin() + warm_up, data_.end()};
  }
  double loss() const { return loss_; }

 private:
  std::vector<Clock::time_point> at_;
  std::vector<double> data_;
  double loss_ = NAN;
};

double Median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

int Main(int argc, char** argv) {
  Options options;
  CLI::App parser("Training steps on a GPU");
  parser.add_option("--architecture", options.architecture);
  parser.add_option("--precision", options.precision);
  parser.add_option("--side", options.side, "height and width of an image");
  parser.add_option("--batch", options.batch, "of a replica");
  parser.add_option("--classes", options.classes);
  parser.add_option("--replicas", options.replicas);
  parser.add_option("--steps", options.steps)->check(CLI::Range(1, 1000000));
  parser.add_option("--warm-up", options.warm_up)->check(CLI::Range(1, 1000000));
  CLI11_PARSE(parser, argc, argv);
  try {
    const int64_t samples = options.batch * options.replicas;
    data::DatasetCache datasets([&](const v1::DataSpec&, uint64_t) {
      return data::DatasetPair{
          .train = std::make_unique<data::Dataset>(
              RandomImages(options, data::Split::kTrain, 4 * samples)),
          .test = std::make_unique<data::Dataset>(RandomImages(options, data::Split::kTest, 1))};
    });
    const train::PreparedRun run(SpecOf(options), datasets);
    const auto backend = backend::MakeCudaBackend(0);
    StepTimes times;
    train::RunEnvironment environment{.backend = backend.get(), .concurrency = options.replicas};
    environment.training.observer = &times;
    environment.training.evaluate = false;
    train::RunTraining(run, std::move(environment));
    if (!std::isfinite(times.loss())) {
      throw Error(ErrorCode::kInternal, "the loss is " + std::to_string(times.loss()));
    }
    std::vector<double> steps = times.Milliseconds(options.warm_up);
    const auto [least, most] = std::ranges::minmax(steps);
    const double median = Median(steps);
    std::printf("%s\n",
                nlohmann::json{{"architecture", options.architecture},
                               {"precision", options.precision},
                               {"side", options.side},
                               {"batch", options.batch},
                               {"replicas", options.replicas},
                               {"steps", options.steps},
                               {"median_ms", median},
                               {"least_ms", least},
                               {"most_ms", most},
                               {"data_ms", Median(times.WaitsForData(options.warm_up))},
                               {"images_per_second", 1000 * static_cast<double>(samples) / median},
                               {"loss", times.loss()},
                               {"back_end", backend->Description()}}
                    .dump()
                    .c_str());
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace syncbn

int main(int argc, char** argv) {
  return syncbn::Main(argc, argv);
}
