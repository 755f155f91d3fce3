// A folder of images as its owner uses it: checked, trained on by any number of processes,
// evaluated, predicted, with damaged files in it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "tests/data/image_files.h"
#include "tests/support/process.h"
#include "tests/support/temp_folder.h"

namespace syncbn {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class OwnImages : public testing::Test {
 protected:
  OwnImages() {
    const char* endings[] = {".jpg", ".png", ".webp"};
    for (int label = 0; label < 3; ++label) {
      const std::string name = std::string("kind-") + static_cast<char>('a' + label);
      for (int i = 0; i < 9; ++i) {
        Add((i < 7 ? "train/" : "val/") + name + "/" + std::to_string(i) + endings[i % 3],
            30 * label + i, 40 + 5 * i, 70 - 3 * i);
      }
    }
    std::ofstream(folder_.path() / "own.yaml")
        << "data:\n"
           "  dataset: image_folder\n"
           "  path: photos\n"
           "  image_size: 32\n"
           "  augment:\n"
           "    random_resized_crop: [0.3, 1]\n"
           "    horizontal_flip: true\n"
           "    color_jitter: {brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1}\n"
           "model: {architecture: cnn_small}\n"
           "cluster: {replicas: 4, batch_per_replica: 2}\n"
           "train: {epochs: 2}\n";
  }

  void Add(const std::string& name, int shift, int64_t height, int64_t width) const {
    const fs::path path = folder_.path() / "photos" / name;
    fs::create_directories(path.parent_path());
    const data::Image image = data::Ramp(height, width, 3, shift);
    if (path.extension() == ".jpg") return data::WriteJpeg(path, image);
    path.extension() == ".png" ? data::WritePng(path, image) : data::WriteWebp(path, image);
  }
  ProcessResult Syncbn(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), SyncbnProgram());
    return RunProcess({.argv = arguments, .working_folder = folder_.path()});
  }
  std::string Ok(const std::vector<std::string>& arguments) const {
    const ProcessResult result = Syncbn(arguments);
    EXPECT_EQ(result.status, 0) << result.out << result.err;
    return result.out;
  }
  nlohmann::json Json(const std::string& path) const {
    return nlohmann::json::parse(ReadFile(folder_.path() / path));
  }

  TempFolder folder_;
};

TEST_F(OwnImages, GiveEqualBitsOnAnyNumberOfProcessesAndThreads) {
  EXPECT_THAT(Ok({"check", "own.yaml"}), HasSubstr("own.yaml"));
  EXPECT_THAT(Ok({"verify", "own.yaml", "--processes", "1,2,3,4", "--steps", "4"}),
              HasSubstr("identical"));
  Ok({"train", "own.yaml", "--out", "one", "--quiet", "--threads", "1"});
  Ok({"train", "own.yaml", "--out", "four", "--quiet", "--threads", "4", "--set",
      "data.prefetch=5"});
  Ok({"train", "own.yaml", "--out", "none", "--quiet", "--set", "data.prefetch=0"});
  const auto digest = Json("one/summary.json").at("digest");
  EXPECT_EQ(Json("four/summary.json").at("digest"), digest);
  EXPECT_EQ(Json("none/summary.json").at("digest"), digest);
  // Evaluated by the loader's threads or by the replicas.
  for (const char* other : {"four", "none"}) {
    EXPECT_EQ(Json(std::string(other) + "/summary.json").at("test"),
              Json("one/summary.json").at("test"));
  }
  Ok({"train", "own.yaml", "--out", "plain", "--quiet", "--set",
      "data.augment.color_jitter.hue=0"});
  EXPECT_NE(Json("plain/summary.json").at("digest"), digest);
}

TEST_F(OwnImages, AreEvaluatedAndPredictedAsTheyWereTrained) {
  const std::string out = Ok({"train", "own.yaml", "--out", "run"});
  EXPECT_THAT(out, HasSubstr("image_folder, 21 training and 6 test images of 32 x 32 x 3"));
  const nlohmann::json input = Json("run/input.json");
  EXPECT_EQ(input.at("height"), 32);
  EXPECT_EQ(input.at("middle_of"), 37);
  EXPECT_EQ(input.at("mean"), (std::vector<double>{0.485, 0.456, 0.406}));
  EXPECT_EQ(input.at("classes"), (std::vector<std::string>{"kind-a", "kind-b", "kind-c"}));
  EXPECT_THAT(Ok({"evaluate", "run", "--with", "running"}), HasSubstr("6"));
  // The accuracy of the evaluation is that of the predictions, image by image.
  int right = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder_.path() / "photos/val")) {
    if (!entry.is_regular_file()) continue;
    const std::string said = Ok({"predict", "run", entry.path().string(), "--format", "json"});
    const nlohmann::json best = nlohmann::json::parse(said).at("top").at(0);
    right += best.at("class") == entry.path().parent_path().filename().string() ? 1 : 0;
  }
  const auto summary = Json("run/summary.json");
  EXPECT_NEAR(summary.at("test").at("running").at("accuracy").get<double>(), right / 6.0, 1e-9)
      << summary.dump(1);
}

TEST_F(OwnImages, ThatAreDamagedAreNamedAndCountedAndNoCrash) {
  const fs::path train = folder_.path() / "photos/train/kind-b";
  std::ofstream(train / "html.jpg") << "<html>";
  const ProcessResult refused = Syncbn({"train", "own.yaml", "--out", "refused"});
  EXPECT_EQ(refused.status, 7) << refused.err;
  EXPECT_THAT(refused.err,
              AllOf(HasSubstr("1 of 22 files in "), HasSubstr("kind-b/html.jpg is neither"),
                    HasSubstr("data.damaged_files")));
  EXPECT_FALSE(fs::exists(folder_.path() / "refused"));
  // One more whose middle alone is wrong: it shows when it is decoded.
  std::string png = ReadFile(train / "1.png");
  for (size_t i = png.size() / 2; i < png.size() / 2 + 8; ++i) png[i] = 'x';
  std::ofstream(train / "middle.png", std::ios::binary) << png;
  const ProcessResult lenient =
      Syncbn({"train", "own.yaml", "--out", "lenient", "--set", "data.damaged_files=leave_out"});
  EXPECT_EQ(lenient.status, 0) << lenient.err;
  EXPECT_THAT(lenient.err, AllOf(HasSubstr("1 of 23 files in "), HasSubstr("They are left out."),
                                 HasSubstr("1 file could not be decoded whole"),
                                 HasSubstr("kind-b/middle.png is damaged: ")));
  EXPECT_THAT(lenient.out, HasSubstr("22 training and 6 test images"));
  fs::remove(train / "html.jpg");
  const ProcessResult strict = Syncbn({"train", "own.yaml", "--out", "strict"});
  EXPECT_EQ(strict.status, 7) << strict.err;
  EXPECT_THAT(strict.err,
              AllOf(HasSubstr("kind-b/middle.png is damaged: "),
                    HasSubstr("loading the batch of epoch"), Not(HasSubstr("terminate"))));
}

// In their places, so that no folder tells of it.
TEST_F(OwnImages, ThatAreWrittenAgainAreNotGoneOnWith) {
  const fs::path photos = folder_.path() / "photos";
  const auto again = [&](const std::function<void(const fs::path&)>& write) {
    std::vector<fs::path> files;
    for (const auto& entry : fs::recursive_directory_iterator(photos / "train")) {
      if (entry.is_regular_file()) files.push_back(entry.path());
    }
    for (const fs::path& file : files) write(file);
  };
  data::SettleFolder(photos);
  Ok({"train", "own.yaml", "--out", "run", "--set", "train.max_steps=2"});
  again([&](const fs::path& file) { Add(fs::relative(file, photos).string(), 99, 30, 30); });
  const ProcessResult resumed =
      Syncbn({"train", "own.yaml", "--out", "run", "--resume", "--set", "train.max_steps=4"});
  EXPECT_NE(resumed.status, 0) << resumed.out;
  EXPECT_THAT(resumed.err,
              AllOf(HasSubstr("was trained on other data"), HasSubstr("were its files replaced?")));
  again([](const fs::path& file) { fs::resize_file(file, 0); });
  const ProcessResult empty = Syncbn({"train", "own.yaml", "--out", "empty"});
  EXPECT_EQ(empty.status, 7) << empty.err;
  EXPECT_THAT(empty.err,
              AllOf(HasSubstr("21 of 21 files in "), HasSubstr("kind-a/0.jpg is damaged"),
                    HasSubstr("kind-c/5.webp is damaged: it is empty"), HasSubstr("and 1 more")));
}

TEST_F(OwnImages, WhoseClassesAreOddAreWarnedOf) {
  fs::remove_all(folder_.path() / "photos/val/kind-b");
  const ProcessResult trained =
      Syncbn({"train", "own.yaml", "--out", "run", "--set", "train.max_steps=1"});
  EXPECT_EQ(trained.status, 0) << trained.err;
  EXPECT_THAT(trained.err, HasSubstr("syncbn: warning: "));
  EXPECT_THAT(trained.err, HasSubstr("has no images of 1 of the 3 classes that are trained on: "
                                     "kind-b;"));
}

}  // namespace
}  // namespace syncbn
