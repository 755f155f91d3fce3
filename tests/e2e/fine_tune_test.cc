// What was trained, used: weights exported and taken again, frozen parts, images told apart,
// evaluation by command, as a user does these.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <png.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/file.h"
#include "tests/support/process.h"
#include "tests/support/temp_folder.h"

namespace syncbn {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr const char* kData =
    "data: {dataset: shapes, shapes: {train_samples: 96, test_samples: 12}}\n"
    "cluster: {replicas: 2, batch_per_replica: 8}\n";
// Where nothing moves: the rate is lost against any weight, and statistics are frozen.
constexpr const char* kStill = "train: {max_steps: 1, learning_rate: {base: 1.0e-30}}\n";

class FineTune : public testing::Test {
 protected:
  ProcessResult Syncbn(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), SyncbnProgram());
    return RunProcess({.argv = arguments, .working_folder = folder_.path()});
  }
  std::string Ok(const std::vector<std::string>& arguments) const {
    const ProcessResult result = Syncbn(arguments);
    EXPECT_EQ(result.status, 0) << result.out << result.err;
    return result.out;
  }
  void Write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_.path() / name) << text;
  }
  // An image of `side` x `side` pixels that `kind` decides.
  void WriteImage(const std::string& name, int side, int kind) const {
    std::vector<uint8_t> pixels;
    for (int i = 0; i < 3 * side * side; ++i) {
      pixels.push_back(static_cast<uint8_t>((kind * 37 + i * (kind + 3) + i / side) % 256));
    }
    png_image png{};
    png.version = PNG_IMAGE_VERSION;
    png.width = png.height = static_cast<uint32_t>(side);
    png.format = PNG_FORMAT_RGB;
    ASSERT_NE(png_image_write_to_file(&png, (folder_.path() / name).c_str(), 0, pixels.data(), 0,
                                      nullptr),
              0);
  }
  std::string Predicted(const std::string& run, const std::vector<std::string>& images) const {
    std::vector<std::string> words = {"predict", run, "--format", "json", "--logits"};
    words.insert(words.end(), images.begin(), images.end());
    return Ok(words);
  }

  TempFolder folder_;
};

TEST_F(FineTune, AResNet18FromExportedAndTakenWeightsGivesTheSameLogitsToTheBit) {
  Write("base.yaml", kData + std::string("model: {architecture: resnet18}\n"
                                         "train: {max_steps: 2, learning_rate: {base: 0.02}}\n"));
  Ok({"train", "base.yaml", "--out", "base", "--quiet", "--no-evaluation"});
  Ok({"export", "base", "--format", "safetensors", "--out", "base.safetensors"});
  // Fine-tuned: a new head, the stem frozen.
  Write("tuned.yaml",
        kData + std::string("seed: 5\n"
                            "model: {architecture: resnet18, init: {from: base.safetensors, "
                            "except: 'fc.*'}}\n"
                            "train: {max_steps: 2, learning_rate: {base: 0.02}, freeze: "
                            "[conv1.weight, 'bn1.*']}\n"));
  Ok({"train", "tuned.yaml", "--out", "tuned", "--quiet", "--no-evaluation"});
  const std::string exported =
      Ok({"export", "tuned", "--format", "safetensors", "--out", "tuned.safetensors"});
  EXPECT_THAT(exported, AllOf(HasSubstr("written: tuned.safetensors"), HasSubstr("after 2 steps")));
  // The same seed: it draws the shapes, by whose mean and spread images are standardized.
  Write("taken.yaml",
        kData +
            std::string("seed: 5\n"
                        "model: {architecture: resnet18, init: {from: tuned.safetensors}, "
                        "norm: {running: {frozen: '*'}}}\n") +
            kStill);
  Ok({"train", "taken.yaml", "--out", "taken", "--quiet", "--no-evaluation"});
  WriteImage("a.png", 32, 1);
  WriteImage("b.png", 50, 2);
  const std::string tuned = Predicted("tuned", {"a.png", "b.png"});
  EXPECT_EQ(Predicted("taken", {"a.png", "b.png"}), tuned);
  EXPECT_NE(Predicted("base", {"a.png", "b.png"}), tuned);
}

TEST_F(FineTune, EqualBitsOnAnyNumberOfProcessesAndReplayedAndGoneOnWithWithoutTheFile) {
  const std::string small = "model: {architecture: cnn_small, init: {from: base.safetensors}}\n";
  Write("base.yaml",
        kData + std::string("model: {architecture: cnn_small}\ntrain: {max_steps: 3}\n"));
  Ok({"train", "base.yaml", "--out", "base", "--quiet"});
  Ok({"export", "base", "--format", "safetensors", "--out", "base.safetensors"});
  Write("tuned.yaml",
        kData + small +
            "train: {max_steps: 6, checkpoint: {every_steps: 3}}\noutput: {digests: true}\n");
  EXPECT_THAT(Ok({"verify", "tuned.yaml", "--processes", "1,2", "--steps", "4"}),
              HasSubstr("identical"));
  Ok({"train", "tuned.yaml", "--out", "whole", "--quiet"});
  EXPECT_THAT(Ok({"replay", "whole", "--step", "1"}), HasSubstr("identical to the digest"));
  Ok({"train", "tuned.yaml", "--out", "half", "--quiet", "--set", "train.max_steps=3"});
  fs::rename(folder_.path() / "base.safetensors", folder_.path() / "kept");
  Ok({"train", "tuned.yaml", "--out", "half", "--quiet", "--resume"});
  const auto digest = [&](const char* run) {
    return nlohmann::json::parse(ReadFile(folder_.path() / run / "summary.json")).at("digest");
  };
  EXPECT_EQ(digest("half"), digest("whole"));
  // Nor does a step behind a checkpoint need it, but one before does, and the very same.
  EXPECT_THAT(Ok({"replay", "half", "--step", "4"}), HasSubstr("identical to the digest"));
  const ProcessResult moved = Syncbn({"replay", "half", "--step", "1"});
  EXPECT_EQ(moved.status, 2);
  EXPECT_THAT(moved.err, AllOf(HasSubstr("base.safetensors"), HasSubstr("model.init.from"),
                               HasSubstr("syncbn replay half --step 1 --weights FILE")));
  EXPECT_THAT(Ok({"replay", "half", "--step", "1", "--weights", "kept"}),
              HasSubstr("identical to the digest"));
  const ProcessResult wrong = Syncbn({"replay", "half", "--step", "1", "--weights", "nowhere"});
  EXPECT_EQ(wrong.status, 2);
  EXPECT_THAT(wrong.err, HasSubstr("nowhere"));
  Ok({"export", "whole", "--format", "safetensors", "--out", "base.safetensors"});
  const ProcessResult other = Syncbn({"replay", "half", "--step", "1"});
  EXPECT_EQ(other.status, 2);
  EXPECT_THAT(other.err, HasSubstr("base.safetensors is not what the run has begun with"));
}

TEST_F(FineTune, WhatDoesNotFitIsToldBeforeAnythingIsThere) {
  Write("base.yaml",
        kData + std::string("model: {architecture: cnn_small}\ntrain: {max_steps: 1}\n"));
  Ok({"train", "base.yaml", "--out", "base", "--quiet"});
  const std::string from = "--set=model.init.from=base/checkpoints/step-00000001/model.safetensors";
  const ProcessResult wide =
      Syncbn({"train", "base.yaml", "--out", "wide", "--set", "model.width=2", from});
  EXPECT_EQ(wide.status, 2);
  EXPECT_THAT(wide.err,
              AllOf(HasSubstr("does not fit the model of the run file"), HasSubstr("expected ["),
                    HasSubstr(", found ["), HasSubstr("model.init.except")));
  const ProcessResult none =
      Syncbn({"train", "base.yaml", "--out", "none", "--set", "model.init.from=nowhere"});
  EXPECT_EQ(none.status, 2);
  EXPECT_THAT(none.err, AllOf(HasSubstr("nowhere"), HasSubstr("model.init.from")));
  Write("half", ReadFile(folder_.path() / "base/checkpoints/step-00000001/model.safetensors")
                    .substr(0, 3000));
  EXPECT_EQ(Syncbn({"train", "base.yaml", "--out", "none", "--set", "model.init.from=half"}).status,
            7);
  for (const char* name : {"wide", "none"}) EXPECT_FALSE(fs::exists(folder_.path() / name)) << name;
  const ProcessResult typo = Syncbn({"check", "base.yaml", "--set", "train.freeze=fc.wieght"});
  EXPECT_EQ(typo.status, 2);
  EXPECT_THAT(typo.err, HasSubstr("train.freeze: `fc.wieght` fits no parameter of the model"));
}

TEST_F(FineTune, ImagesAreToldApartWhateverOthersAreGivenAndInEveryFormat) {
  Write("run.yaml",
        kData + std::string("model: {architecture: cnn_small}\ntrain: {max_steps: 4}\n"));
  Ok({"train", "run.yaml", "--out", "run", "--quiet"});
  const std::vector<std::string> names = {"a.png", "b.png", "comma, and \"quotes\".png"};
  for (size_t i = 0; i < names.size(); ++i)
    WriteImage(names[i], 20 + 12 * static_cast<int>(i), static_cast<int>(i));
  std::string alone;
  for (const std::string& name : names) alone += Predicted("run", {name});
  EXPECT_EQ(Predicted("run", names), alone);
  std::istringstream lines(alone);
  std::string line;
  std::getline(lines, line);
  const auto json = nlohmann::json::parse(line);
  EXPECT_EQ(json.at("image"), "a.png");
  EXPECT_EQ(json.at("top").size(), 5u);
  EXPECT_EQ(json.at("logits").size(), 10u);
  EXPECT_GE(json.at("top")[0].at("probability"), json.at("top")[1].at("probability"));
  const std::string first = json.at("top")[0].at("class");

  const std::string csv =
      Ok({"predict", "run", names[0], names[2], "--format", "csv", "--top", "1"});
  EXPECT_THAT(csv, AllOf(HasSubstr("image,rank,label,class,probability,error\na.png,1,"),
                         HasSubstr("," + first + ","),
                         HasSubstr("\n\"comma, and \"\"quotes\"\".png\",1,")));
  EXPECT_EQ(std::ranges::count(csv, '\n'), 3);
  EXPECT_THAT(Ok({"predict", "run", "a.png"}),
              AllOf(HasSubstr("a.png"), HasSubstr(first), HasSubstr(" %")));

  // What cannot be read is named, and the others are told of.
  Write("broken.png", ReadFile(folder_.path() / "a.png").substr(0, 60));
  const ProcessResult mixed =
      Syncbn({"predict", "run", "broken.png", "a.png", "run.yaml", "--format", "json"});
  EXPECT_EQ(mixed.status, 7);
  EXPECT_THAT(mixed.err, AllOf(HasSubstr("broken.png is damaged"),
                               HasSubstr("run.yaml is neither a JPEG nor a PNG nor a WebP")));
  EXPECT_THAT(mixed.out, HasSubstr("\"a.png\""));
  // A record each, in the order in which they were given.
  std::istringstream records(mixed.out);
  std::vector<nlohmann::json> all;
  while (std::getline(records, line)) all.push_back(nlohmann::json::parse(line));
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[0].at("image"), "broken.png");
  EXPECT_THAT(all[0].at("error").get<std::string>(), HasSubstr("broken.png is damaged"));
  EXPECT_FALSE(all[0].contains("top"));
  EXPECT_FALSE(all[1].contains("error"));
  EXPECT_THAT(all[2].at("error").get<std::string>(), HasSubstr("run.yaml is neither"));
  const ProcessResult table =
      Syncbn({"predict", "run", "broken.png", "a.png", "--format", "csv", "--top", "1"});
  EXPECT_EQ(table.status, 7);
  EXPECT_THAT(table.out, AllOf(HasSubstr("error\nbroken.png,,,,,broken.png is damaged"),
                               HasSubstr("\na.png,1,")));
  EXPECT_EQ(Syncbn({"predict", "nowhere", "a.png"}).status, 2);
}

TEST_F(FineTune, WhatIsNoFileIsNamedAndNotWaitedFor) {
  Write("run.yaml",
        kData + std::string("model: {architecture: cnn_small}\ntrain: {max_steps: 1}\n"));
  Ok({"train", "run.yaml", "--out", "run", "--quiet"});
  WriteImage("a.png", 20, 0);
  ASSERT_EQ(::mkfifo((folder_.path() / "pipe").c_str(), 0600), 0);
  std::filesystem::create_directory(folder_.path() / "folder");
  const int large = ::open((folder_.path() / "large.png").c_str(), O_CREAT | O_WRONLY, 0600);
  ASSERT_EQ(::ftruncate(large, (off_t{1} << 30) + 1), 0);  // a hole, which takes no room
  ::close(large);
  const ProcessResult said = Syncbn({"predict", "run", "pipe", "/dev/zero", "folder", "large.png",
                                     "missing.png", "a.png", "--format", "csv", "--top", "1"});
  EXPECT_EQ(said.status, 2);
  EXPECT_THAT(said.err,
              AllOf(HasSubstr("pipe is a pipe"), HasSubstr("/dev/zero is a device"),
                    HasSubstr("folder is a folder"), HasSubstr("large.png has 1073741825 bytes"),
                    HasSubstr("missing.png: No such file")));
  EXPECT_THAT(said.out, HasSubstr("\na.png,1,"));

  // Nor are those of a run, or weights.
  const ProcessResult weights =
      Syncbn({"train", "run.yaml", "--out", "other", "--set", "model.init.from=pipe"});
  EXPECT_EQ(weights.status, 2);
  EXPECT_THAT(weights.err,
              AllOf(HasSubstr("pipe is a pipe, not a file"), HasSubstr("in model.init.from")));
  for (const char* name : {"run.yaml", "input.json", "checkpoints/step-00000001/manifest.json"}) {
    fs::rename(folder_.path() / "run" / name, folder_.path() / "aside");
    fs::create_symlink("/dev/zero", folder_.path() / "run" / name);
    const ProcessResult refused = Syncbn({"predict", "run", "a.png"});
    EXPECT_EQ(refused.status, 2) << name;
    EXPECT_THAT(refused.err, HasSubstr(std::string(name) + " is a device, not a file"));
    fs::rename(folder_.path() / "aside", folder_.path() / "run" / name);
  }
}

TEST_F(FineTune, ExportWritesNoModelThatContradictsItsCheckpoint) {
  Write("run.yaml",
        kData + std::string("model: {architecture: cnn_small}\ntrain: {max_steps: 1}\n"));
  Ok({"train", "run.yaml", "--out", "run", "--quiet"});
  auto input = nlohmann::json::parse(ReadFile(folder_.path() / "run/input.json"));
  input["classes"] = {"a", "b"};
  Write("run/input.json", input.dump());
  for (const char* format : {"onnx", "torch", "safetensors"}) {
    const ProcessResult said = Syncbn({"export", "run", "--format", format, "--out", "model"});
    EXPECT_NE(said.status, 0) << format;
    EXPECT_THAT(said.err, HasSubstr("step-00000001")) << format;
    EXPECT_FALSE(fs::exists(folder_.path() / "model")) << format;
  }
}

TEST_F(FineTune, EvaluateSaysWhatTheRunHasSaidAndExportRefusesWhatOnnxHasNot) {
  Write(
      "run.yaml",
      kData + std::string("model: {architecture: cnn_small}\n"
                          "train: {max_steps: 4, evaluate: {with: [running, precise, batch]}}\n"));
  Ok({"train", "run.yaml", "--out", "run", "--quiet"});
  const auto summary = nlohmann::json::parse(ReadFile(folder_.path() / "run/summary.json"));
  const auto again =
      nlohmann::json::parse(Ok({"evaluate", "run", "--with", "running,precise,batch", "--json"}));
  for (const char* name : {"running", "precise", "batch"}) {
    EXPECT_EQ(again.at(name).at("loss"), summary.at("test").at(name).at("loss")) << name;
    EXPECT_EQ(again.at(name).at("accuracy"), summary.at("test").at(name).at("accuracy")) << name;
  }
  EXPECT_THAT(Ok({"evaluate", "run", "--with", "batch"}), HasSubstr("batch "));
  EXPECT_EQ(Syncbn({"evaluate", "run", "--with", "best"}).status, 2);

  // Data that have moved since; and a model for which all ways are the same.
  std::filesystem::create_directory(folder_.path() / "cifar");
  for (const char* name : {"cifar/a.bin", "cifar/test.bin"})
    Write(name, std::string(3073 * 40, '\1'));
  Write("moved.yaml",
        "data: {dataset: cifar_binary, path: cifar}\n"
        "model: {architecture: cnn_small, norm: layer}\ntrain: {max_steps: 1}\n");
  Ok({"train", "moved.yaml", "--out", "moved", "--quiet"});
  std::filesystem::rename(folder_.path() / "cifar", folder_.path() / "elsewhere");
  EXPECT_EQ(Syncbn({"evaluate", "moved"}).status, 2);
  const auto same = nlohmann::json::parse(Ok(
      {"evaluate", "moved", "--data", "elsewhere", "--with", "running,precise,batch", "--json"}));
  EXPECT_EQ(same.at("precise"), same.at("running"));
  EXPECT_EQ(same.at("batch"), same.at("running"));
  Write("elsewhere/a.bin", std::string(3073 * 40, '\2'));
  EXPECT_EQ(Syncbn({"evaluate", "moved", "--data", "elsewhere"}).status, 2) << "other data";

  // A pipe is not made a file.
  ASSERT_EQ(::mkfifo((folder_.path() / "pipe").c_str(), 0600), 0);
  EXPECT_EQ(Syncbn({"export", "run", "--format", "torch", "--out", "pipe"}).status, 2);
  EXPECT_TRUE(std::filesystem::is_fifo(folder_.path() / "pipe"));
  const ProcessResult step = Syncbn({"export", "run", "--format", "torch", "--step", "99"});
  EXPECT_EQ(step.status, 2);
  EXPECT_THAT(step.err, HasSubstr("has no checkpoint after step 99; there are some after 4"));

  Write("rnn.yaml",
        kData + std::string("model: {architecture: rnn, norm: none}\ntrain: {max_steps: 1}\n"));
  Ok({"train", "rnn.yaml", "--out", "rnn", "--quiet"});
  const ProcessResult onnx = Syncbn({"export", "rnn", "--format", "onnx"});
  EXPECT_EQ(onnx.status, 2);
  EXPECT_THAT(onnx.err,
              AllOf(HasSubstr("cannot be written as ONNX"), HasSubstr("--format safetensors")));
  EXPECT_FALSE(fs::exists(folder_.path() / "rnn/model.onnx"));
}

}  // namespace
}  // namespace syncbn
