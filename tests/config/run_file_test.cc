#include "config/run_file.h"

#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/home.h"
#include "config/effective_yaml.h"
#include "tests/support/temp_folder.h"

namespace syncbn::config {
namespace {

using ::google::protobuf::util::MessageDifferencer;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

std::set<std::filesystem::path> Configs() {
  std::set<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(CONFIGS_FOLDER)) {
    if (entry.path().extension() == ".yaml") paths.insert(entry.path());
  }
  return paths;
}

v1::RunSpec Parse(const std::string& text, const std::vector<std::string>& overrides = {}) {
  return ParseRunFile(text, "run.yaml", overrides).spec;
}

const std::string kSmall = "data: {dataset: shapes}\nmodel: {architecture: resnet20}\n";

void ExpectRoundTrip(const RunFile& file) {
  const std::string effective = file.EffectiveYaml();
  const RunFile again = ParseRunFile(effective, "effective.yaml");
  EXPECT_TRUE(MessageDifferencer::Equals(file.spec, again.spec))
      << effective << "\nfirst " << file.spec.DebugString() << "\nthen "
      << again.spec.DebugString();
  // Only the origins differ.
  const auto without_comments = [](const std::string& text) {
    std::string result;
    for (size_t begin = 0; begin < text.size();) {
      const size_t end = text.find('\n', begin);
      const std::string line = text.substr(begin, end - begin);
      result += line.substr(0, line.find("  #")) + "\n";
      begin = end + 1;
    }
    return result;
  };
  EXPECT_EQ(without_comments(effective), without_comments(again.EffectiveYaml()));
}

TEST(Configs, AllAreRight) {
  EXPECT_GE(Configs().size(), 7u);
  for (const auto& path : Configs()) {
    EXPECT_NO_THROW(LoadRunFile(path)) << path;
    EXPECT_EQ(LoadRunFile(path).spec.name(), path.stem()) << "a run is named as its file";
  }
}

TEST(Configs, LinesAreAtMostAHundredCharacters) {
  for (const auto& path : Configs()) {
    const Source source(path.string(), ReadFile(path));
    for (int i = 1; i <= source.lines(); ++i) EXPECT_LE(source.Line(i).size(), 100u) << path << i;
  }
}

TEST(EffectiveYaml, ReadsBackAsTheSameRunFile) {
  for (const auto& path : Configs()) {
    SCOPED_TRACE(path);
    ExpectRoundTrip(LoadRunFile(path));
  }
}

TEST(EffectiveYaml, BranchesReadBackWithAllTheirNormsHaveGot) {
  const RunFile file = ParseRunFile(
      "data: {dataset: shapes}\n"
      "model:\n"
      "  norm: {kind: batch_renorm, renorm: {d_max: 2}}\n"
      "  layers:\n"
      "    - concat:\n"
      "        branches:\n"
      "          - body: [{conv: {out: 4, padding: 1}}, norm, gelu]\n"
      "          - body: []\n"
      "          - body: [{max_pool: {kernel: 3, stride: 1, padding: 1}}, {norm: {kind: "
      "iterative}}]\n"
      "    - global_average_pool\n"
      "    - linear: 10\n",
      "run.yaml");
  const auto& branches = file.spec.model().layers(0).concat().branches();
  EXPECT_FALSE(branches[0].body(0).conv().bias());
  EXPECT_EQ(branches[0].body(1).norm().renorm().d_max(), 2);
  EXPECT_EQ(branches[0].body(1).norm().renorm().r_max(), 3);
  EXPECT_EQ(branches[2].body(1).norm().iterations(), 5);
  ExpectRoundTrip(file);
}

TEST(EffectiveYaml, ReadsBackUnderOverridesOfEveryKind) {
  const std::vector<std::vector<std::string>> arms = {
      {"model.norm=none"},
      {"model.norm.kind=group"},
      {"model.norm.running=none"},
      {"model.norm.kind=none", "train.optimizer.kind=adamw"},
      {"train.learning_rate.schedule=step", "train.learning_rate.milestones=[1]"},
      {"cluster.replicas=3", "cluster.batch_per_replica=[5, 4, 0]", "model.norm.batch=global"},
      {"name=\"123\"", "seed=18446744073709551615", "train.optimizer.weight_decay=1e-7"},
  };
  for (const auto& overrides : arms) {
    // Not every run file takes every override.
    int taken = 0;
    for (const auto& path : Configs()) {
      SCOPED_TRACE(path.string() + " " + overrides.front());
      const CheckedRunFile checked = CheckRunFile(ReadFile(path), path.string(), overrides);
      if (!checked.diagnostics.empty()) continue;
      ++taken;
      ExpectRoundTrip(checked.file);
    }
    EXPECT_GE(taken, 2) << overrides.front();
  }
}

TEST(EffectiveYaml, FrozenStatisticsAreInheritedByNormsByHandAndReadBack) {
  const RunFile file = ParseRunFile(
      "data: {dataset: shapes}\n"
      "model:\n"
      "  init: {from: w.safetensors, except: 'fc.*'}\n"
      "  norm: {running: {frozen: [\"0*\", \"1\"]}}\n"
      "  layers: [norm, {norm: {running: {frozen: x}}}, {norm: layer}, global_average_pool, "
      "{linear: 10}]\n"
      "train: {freeze: ['*.bias', linear.weight]}\n",
      "run.yaml");
  const auto& layers = file.spec.model().layers();
  EXPECT_THAT(layers[0].norm().running().frozen(), ElementsAre("0*", "1"));
  EXPECT_THAT(layers[1].norm().running().frozen(), ElementsAre("x"));
  EXPECT_THAT(file.spec.model().init().except(), ElementsAre("fc.*"));
  EXPECT_THAT(file.spec.train().freeze(), ElementsAre("*.bias", "linear.weight"));
  ExpectRoundTrip(file);
}

TEST(EffectiveYaml, NormsWithoutAScaleReadBack) {
  ExpectRoundTrip(ParseRunFile(
      "data: {dataset: shapes}\nmodel: {architecture: mlp, norm: {affine: false}}\n", "run.yaml"));
  ExpectRoundTrip(ParseRunFile(
      "data: {dataset: shapes}\n"
      "model:\n"
      "  norm: {initial_scale: 0.5}\n"
      "  layers: [{norm: {affine: false}}, norm, {residual: {body: [{norm: {affine: false}}]}}, "
      "global_average_pool, {linear: 10}]\n",
      "run.yaml"));
}

TEST(Validate, AScaleThatANormDoesNotHaveStartsNowhere) {
  for (const char* model : {"{architecture: mlp, norm: {affine: false, initial_scale: 0.5}}",
                            "{layers: [{norm: {affine: false, initial_scale: 0.5}}, "
                            "global_average_pool, {linear: 10}]}"}) {
    const CheckedRunFile checked =
        CheckRunFile(std::string("data: {dataset: shapes}\nmodel: ") + model + "\n", "run.yaml");
    EXPECT_THAT(checked.diagnostics.Format("run.yaml"),
                testing::HasSubstr("the norm has no scale"));
  }
}

TEST(EffectiveYaml, OddTextsReadBack) {
  for (const char* path : {"/données", "a \"b\" \\ #c", "true",    "Null",       "010",
                           "a: b",     "- x",           "yes",     "@x",         " x ",
                           "a\tb",     "/a/b-c.d_e",    "'",       "=",          "<<",
                           "1:30",     "0o17",          "1e5",     "2026-11-28", "null",
                           "No",       "OFF",           ".inf",    "a\u00a0b",   "\u200b",
                           "a\u2028b", "\u0085",        "\ufeffa", "/\u0090",    "/日本 語"}) {
    v1::RunSpec spec;
    const CheckedRunFile first = CheckRunFile(kSmall, "run.yaml");
    RunFile file = first.file;
    file.spec.mutable_data()->set_dataset(v1::DATASET_MNIST);
    file.spec.mutable_data()->set_path(path);
    EXPECT_EQ(ParseRunFile(file.EffectiveYaml(), "again.yaml").spec.data().path(), path);
  }
}

TEST(EffectiveYaml, NumbersHaveAPointBeforeTheirExponent) {
  const std::string text = ParseRunFile(kSmall +
                                            "train:\n  optimizer: {weight_decay: 5e-4}\n"
                                            "  learning_rate: 2.5e-7\n  clip_norm: 1e22\n"
                                            "  epochs: 20\n",
                                        "run.yaml")
                               .EffectiveYaml();
  EXPECT_THAT(text, HasSubstr(" weight_decay: 5.0e-04 "));
  EXPECT_THAT(text, HasSubstr(" epsilon: 1.0e-05 "));
  EXPECT_THAT(text, HasSubstr(" base: 2.5e-07 "));
  EXPECT_THAT(text, HasSubstr(" clip_norm: 1.0e+22 "));
  EXPECT_THAT(text, HasSubstr(" epochs: 20 "));
}

TEST(EffectiveYaml, HoldsNothingThatOtherReadersTakeForTheEndOfALine) {
  RunFile file = ParseRunFile(kSmall, "odd\u2028name\u0085 \xff.yaml", {});
  file.spec.mutable_data()->set_dataset(v1::DATASET_MNIST);
  file.spec.mutable_data()->set_path("/a\u0085b\u2028c\u2029d\u0090\u00a0");
  const std::string text = file.EffectiveYaml();
  EXPECT_THAT(text, HasSubstr("  path: \"/a\\x85b\\u2028c\\u2029d\\x90\\xa0\""));
  EXPECT_THAT(text, HasSubstr("# odd?name? ?.yaml:1\n"));
  for (const char* odd : {"\u0085", "\u2028", "\u2029", "\u0090", "\xff"}) {
    EXPECT_THAT(text, Not(HasSubstr(odd)));
  }
}

TEST(EffectiveYaml, SaysWhereEveryValueIsFrom) {
  const RunFile file = ParseRunFile(kSmall + "train:\n  epochs: 2\n", "run.yaml",
                                    std::vector<std::string>{"train.clip_norm=1"});
  const std::string text = file.EffectiveYaml();
  EXPECT_THAT(text, HasSubstr("  epochs: 2                                 # run.yaml:4\n"));
  EXPECT_THAT(text,
              HasSubstr("  clip_norm: 1                              # --set train.clip_norm=1\n"));
  EXPECT_THAT(text, HasSubstr("  label_smoothing: 0                        # default\n"));
  // Without effect, so not shown.
  EXPECT_THAT(text, Not(HasSubstr("milestones")));
  EXPECT_THAT(text, Not(HasSubstr("path")));
}

TEST(RunFile, IsCompleteForItsReaders) {
  const v1::RunSpec spec = Parse(R"(data: {dataset: shapes}
model:
  layers:
    - conv: {out: 8}
    - norm
    - conv: {out: 8}
    - norm: weight
    - conv: {out: 8}
    - relu
    - max_pool: 3
    - average_pool: {kernel: 2, stride: 1}
    - flatten
    - linear: {out: 16, bias: true}
    - norm
    - linear: 10
)");
  const auto& layers = spec.model().layers();
  EXPECT_FALSE(layers[0].conv().bias());
  EXPECT_TRUE(layers[2].conv().bias());
  EXPECT_TRUE(layers[4].conv().has_bias());
  EXPECT_TRUE(layers[4].conv().bias());
  EXPECT_EQ(layers[6].max_pool().stride(), 3);
  EXPECT_EQ(layers[7].average_pool().stride(), 1);
  EXPECT_TRUE(layers[9].linear().bias());
  EXPECT_EQ(spec.train().optimizer().weight_decay_mode(), v1::WEIGHT_DECAY_MODE_COUPLED);
  EXPECT_EQ(Parse(kSmall, {"train.optimizer=adamw"}).train().optimizer().weight_decay_mode(),
            v1::WEIGHT_DECAY_MODE_DECOUPLED);
}

TEST(RunFile, LarsLeavesNormsAndBiasesOutUnlessAskedAndTheOthersDoNot) {
  const auto with = [](const std::vector<std::string>& overrides) {
    return Parse(kSmall, overrides).train().optimizer().decay_norms_and_biases();
  };
  EXPECT_TRUE(with({}));
  EXPECT_TRUE(with({"train.optimizer=adamw"}));
  EXPECT_FALSE(with({"train.optimizer=lars"}));
  EXPECT_TRUE(with({"train.optimizer={kind: lars, decay_norms_and_biases: true}"}));
  EXPECT_FALSE(with({"train.optimizer.decay_norms_and_biases=false"}));
}

TEST(RunFile, WithoutRunningStatisticsIsEvaluatedWithThoseOfTheBatch) {
  EXPECT_THAT(Parse(kSmall, {"model.norm.running=none"}).train().evaluate().with(),
              ElementsAre(v1::EVALUATION_MODE_BATCH));
}

TEST(RunFile, AnOverrideOfTheModelDropsEvaluationsThatNoLongerMakeSense) {
  const std::string text =
      kSmall + "train: {evaluate: {with: [running, precise], precise_samples: 64}}\n";
  const v1::RunSpec spec = Parse(text, {"model.norm=none"});
  EXPECT_THAT(spec.train().evaluate().with(), ElementsAre(v1::EVALUATION_MODE_RUNNING));
  EXPECT_EQ(spec.train().evaluate().precise_samples(), 2048);
}

TEST(RunFile, NormalizationBatchesThatFitAreTaken) {
  const auto fits = [](const char* batches, int replicas, int samples) {
    const CheckedRunFile checked =
        CheckRunFile(kSmall, "run.yaml",
                     std::vector<std::string>{"cluster.replicas=" + std::to_string(replicas),
                                              std::string("cluster.batch_per_replica=") + batches,
                                              "model.norm.batch=" + std::to_string(samples)});
    return checked.diagnostics.empty();
  };
  for (int n = 1; n <= 16; ++n) EXPECT_TRUE(fits("16", 8, n)) << n;
  for (int n : {32, 64, 128}) EXPECT_TRUE(fits("16", 8, n)) << n;
  for (int n : {17, 24, 48, 80, 96, 112, 127, 129, 256}) EXPECT_FALSE(fits("16", 8, n)) << n;
  // Groups of consecutive replicas that hold as many samples each.
  EXPECT_TRUE(fits("[10, 6, 9, 7]", 4, 16));
  EXPECT_TRUE(fits("[10, 6, 9, 7]", 4, 32));
  EXPECT_FALSE(fits("[10, 6, 9, 8]", 4, 16));
  EXPECT_TRUE(fits("[5, 4, 2, 0]", 4, 5));
}

TEST(RunFile, AShortTrialOfALongScheduleIsAllowed) {
  const std::string text = kSmall +
                           "train:\n  epochs: 20\n  learning_rate: {schedule: step, "
                           "milestones: [10, 15]}\n";
  EXPECT_EQ(Parse(text, {"train.epochs=2"}).train().learning_rate().milestones_size(), 2);
}

TEST(RunFile, AFileThatDoesNotExistIsNamed) {
  try {
    LoadRunFile("/nowhere/run.yaml");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kNotFound);
    EXPECT_THAT(error.message(), HasSubstr("/nowhere/run.yaml"));
  }
}

TEST(RunFile, KeepsTheTextAsItWasRead) {
  TempFolder folder;
  WriteFileAtomically(folder.path() / "run.yaml", "# mine\n" + kSmall);
  const RunFile file = LoadRunFile(folder.path() / "run.yaml", std::vector<std::string>{"seed=3"});
  EXPECT_EQ(file.source_text, "# mine\n" + kSmall);
  EXPECT_EQ(file.spec.seed(), 3u);
}

TEST(RunFile, WhatMayDifferFromWeightsNeedsWeights) {
  EXPECT_THROW(Parse(kSmall + "train: {epochs: 1}\n", {"model.init.except=fc.*"}), Error);
  EXPECT_THROW(Parse(kSmall, {"model.init.from=~/w.safetensors"}), Error);
  EXPECT_NO_THROW(Parse(kSmall, {"model.init.from=w.safetensors", "model.init.except=fc.*"}));
}

TEST(RunFile, AHomeFolderThatOnlyAShellKnowsIsRefusedWithTheWholePath) {
  const std::string text = "data: {dataset: mnist, path: ~/mnist}\nmodel: {architecture: lenet}\n";
  const std::string found = CheckRunFile(text, "run.yaml").diagnostics.Format("run.yaml");
  EXPECT_THAT(found, HasSubstr("run.yaml:1:30: data.path: begins with `~`"));
  EXPECT_THAT(found, HasSubstr("Write the whole path, for example " + ExpandHome("~/mnist") + "."));
  EXPECT_NE(ExpandHome("~/mnist"), "~/mnist");
}

TEST(RunFile, AnOverrideToASingleReplicaTakesTheNoiseScaleOutOfTheFile) {
  const std::string text =
      kSmall + "cluster: {replicas: 4, batch_per_replica: 8}\nprobes: {noise_scale: 20, moments: 5}\n";
  const auto probes = [&](const std::vector<std::string>& overrides) {
    return Parse(text, overrides).probes();
  };
  EXPECT_EQ(probes({}).noise_scale().every_steps(), 20);
  EXPECT_EQ(probes({"cluster.replicas=1"}).noise_scale().every_steps(), 0);
  EXPECT_EQ(probes({"cluster.replicas=1"}).moments().every_steps(), 5);
  // Asked for by an override itself, it is a mistake.
  EXPECT_THROW(Parse(text, {"cluster.replicas=1", "probes.noise_scale=10"}), Error);
}

TEST(RunFile, AWarmUpMayTakeTheWholeRunAndBeCutOffByAnOverride) {
  const std::string text = kSmall + "train: {epochs: 1, learning_rate: {warmup_epochs: 1}}\n";
  EXPECT_NO_THROW(Parse(text));
  EXPECT_NO_THROW(Parse(text, {"train.epochs=0.5"}));
  EXPECT_THROW(Parse(text, {"train.learning_rate.warmup_epochs=2"}), Error);
}

TEST(RunFile, WhatARunHasStoredIsReadAgainAlsoWhereAnOverrideHadShortenedIt) {
  for (const char* rate : {"{warmup_epochs: 5}", "{schedule: step, milestones: [5, 8]}"}) {
    const RunFile file =
        ParseRunFile(kSmall + "train: {epochs: 10, learning_rate: " + std::string(rate) + "}\n",
                     "run.yaml", std::vector<std::string>{"train.epochs=2"});
    const std::string effective = file.EffectiveYaml();
    EXPECT_THROW(ParseRunFile(effective, "stored.yaml"), Error) << rate;
    EXPECT_TRUE(
        MessageDifferencer::Equals(ParseStoredRunFile(effective, "stored.yaml").spec, file.spec))
        << rate;
  }
}

TEST(RunFile, OneNumberSaysHowManyStepsInARowMayBeSkipped) {
  EXPECT_EQ(Parse(kSmall).train().max_skipped().in_a_row(), 10);
  EXPECT_FALSE(Parse(kSmall).train().max_skipped().has_in_all());
  EXPECT_EQ(Parse(kSmall + "train: {max_skipped: 0}\n").train().max_skipped().in_a_row(), 0);
  EXPECT_EQ(Parse(kSmall, {"train.max_skipped.in_all=0"}).train().max_skipped().in_all(), 0);
  EXPECT_EQ(Parse(kSmall).train().checkpoint().resume_on(), v1::RESUME_ON_UNSPECIFIED);
  EXPECT_EQ(Parse(kSmall, {"train.checkpoint.resume_on=any"}).train().checkpoint().resume_on(),
            v1::RESUME_ON_ANY);
}

}  // namespace
}  // namespace syncbn::config
