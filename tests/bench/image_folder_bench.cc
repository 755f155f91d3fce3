// Own images: how many a core decodes and augments, and how long a start over very many takes.
//
//   image_folder_bench rate FOLDER [--seconds 5]   images a second of one core's time, of 500 x 375
//                                                  JPEGs that are made in FOLDER if it is not there
//                                                  (image_folder_bench.py reads the same)
//   image_folder_bench open FOLDER                 seconds to open a folder with train and val:
//   with
//                                                  the index that is there, if one is; and again
//
// Prints a JSON object a line.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <numeric>
#include <stdexcept>
#include <vector>

#include "base/rng.h"
#include "data/batch_maker.h"
#include "data/dataset_cache.h"
#include "syncbn/v1/run.pb.h"
#include "tests/data/image_files.h"

namespace syncbn::bench {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// Waves, edges and noise: about 100 KB of JPEG, as photographs of this size are.
data::Image Picture(uint64_t number) {
  data::Image image{.shape = {375, 500, 3}, .pixels = {}};
  RandomStream stream{RandomKey(number)};
  double waves[3][3];
  for (auto& channel : waves) {
    for (double& rate : channel) rate = 0.01 + 0.15 * stream.UniformDouble();
  }
  for (int64_t y = 0; y < image.shape.height; ++y) {
    for (int64_t x = 0; x < image.shape.width; ++x) {
      const double grain = 4 * stream.Normal();
      for (const auto& [a, b, c] : waves) {
        const auto u = static_cast<double>(x), v = static_cast<double>(y);
        const double edge = static_cast<int>((u + v) * c / 3) % 2 == 0 ? 25 : -25;
        image.pixels.push_back(static_cast<uint8_t>(
            std::clamp(125 + 70 * std::sin(a * u + b * v) + edge + grain, 0.0, 255.0)));
      }
    }
  }
  return image;
}

void MakePictures(const fs::path& folder) {
  if (fs::exists(folder)) return;
  uint64_t number = 0;
  for (const char* split : {"train", "val"}) {
    for (const char* label : {"a", "b"}) {
      fs::create_directories(folder / split / label);
      for (int i = 0; i < (*split == 't' ? 100 : 10); ++i) {
        data::WriteJpeg(folder / split / label / (std::to_string(i) + ".jpg"), Picture(number++));
      }
    }
  }
}

v1::RunSpec RunOn(const fs::path& folder, bool jitter) {
  v1::RunSpec run;
  v1::DataSpec& data = *run.mutable_data();
  data.set_dataset(v1::DATASET_IMAGE_FOLDER);
  data.set_path(folder.string());
  data.set_train_folder("train");
  data.set_image_size(224);
  data.set_resize_size(256);
  v1::AugmentSpec& augment = *data.mutable_augment();
  augment.set_horizontal_flip(true);
  for (const double scale : {0.08, 1.0}) augment.mutable_random_resized_crop()->add_scale(scale);
  for (const double ratio : {3.0 / 4, 4.0 / 3}) {
    augment.mutable_random_resized_crop()->add_ratio(ratio);
  }
  if (!jitter) return run;
  v1::ColorJitterSpec& colors = *augment.mutable_color_jitter();
  colors.set_brightness(0.4);
  colors.set_contrast(0.4);
  colors.set_saturation(0.4);
  colors.set_hue(0.1);
  return run;
}

double ThreadSeconds() {
  timespec time;
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// Of this thread's time, over batches of 32.
void Rate(const char* what, const data::BatchMaker& maker, double seconds) {
  std::vector<uint64_t> ids(std::min<size_t>(32, static_cast<size_t>(maker.dataset().size())));
  std::iota(ids.begin(), ids.end(), 0);
  const data::Batch first = maker.Make(ids, 0), again = maker.Make(ids, 0);
  const auto one = first.images.Span<float>(), other = again.images.Span<float>();
  if (!std::ranges::equal(one, other)) throw std::runtime_error("a batch is not the same again");
  int64_t images = 0;
  const double begin = ThreadSeconds();
  double now = begin;
  for (int64_t epoch = 1; now < begin + seconds; ++epoch, now = ThreadSeconds()) {
    for (uint64_t& id : ids) id = (id + 32) % static_cast<uint64_t>(maker.dataset().size());
    images += maker.Make(ids, epoch).size();
  }
  const Json line = {{"what", what},
                     {"images_per_second_of_a_core",
                      std::round(10 * static_cast<double>(images) / (now - begin)) / 10}};
  std::printf("%s\n", line.dump().c_str());
  std::fflush(stdout);
}

void Rates(const fs::path& folder, double seconds) {
  MakePictures(folder);
  data::DatasetCache cache;
  for (const bool jitter : {false, true}) {
    const v1::RunSpec run = RunOn(folder, jitter);
    const auto data = cache.Get(run.data(), 0);
    Rate(jitter ? "random resized crop, flip, colour jitter" : "random resized crop, flip",
         data::BatchMaker(data->train(), data::BatchMaker::Options::ForTraining(run, {})), seconds);
    if (jitter) continue;
    Rate("resize, middle",
         data::BatchMaker(data->test(), data::BatchMaker::Options::ForEvaluation(run, {})),
         seconds);
  }
}

void Open(const fs::path& folder) {
  for (const char* what : {"open", "open again"}) {
    const auto begin = std::chrono::steady_clock::now();
    const data::DatasetPair pair = data::MakeDataset(RunOn(folder, false).data(), 0);
    const std::string digest = pair.train->ComputeDigest().Hex();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    const Json line = {{"what", what},
                       {"training_images", pair.train->size()},
                       {"seconds", std::round(1000 * took.count()) / 1000},
                       {"digest", digest}};
    std::printf("%s\n", line.dump().c_str());
    std::fflush(stdout);
  }
}

}  // namespace
}  // namespace syncbn::bench

int main(int argc, char** argv) {
  CLI::App app("Own images: rate of a core, and starts");
  std::string folder;
  double seconds = 5;
  CLI::App* rate = app.add_subcommand("rate", "images a second of a core");
  CLI::App* open = app.add_subcommand("open", "seconds to open a folder");
  for (CLI::App* command : {rate, open}) command->add_option("FOLDER", folder)->required();
  rate->add_option("--seconds", seconds);
  app.require_subcommand(1);
  CLI11_PARSE(app, argc, argv);
  try {
    rate->parsed() ? syncbn::bench::Rates(folder, seconds) : syncbn::bench::Open(folder);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "image_folder_bench: %s\n", error.what());
    return 1;
  }
}
