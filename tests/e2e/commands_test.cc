// check, explain, info and the help texts, as a newcomer would try them.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/file.h"
#include "tests/support/process.h"
#include "tests/support/small_run.h"
#include "tests/support/temp_folder.h"

namespace syncbn {
namespace {

namespace fs = std::filesystem;

ProcessResult Syncbn(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), SyncbnProgram());
  return RunProcess({.argv = arguments});
}

size_t LongestLine(const std::string& text) {
  std::istringstream lines(text);
  size_t longest = 0;
  for (std::string line; std::getline(lines, line);) longest = std::max(longest, line.size());
  return longest;
}

TEST(Commands, HelpFits100ColumnsAndNamesEveryCommand) {
  const ProcessResult help = Syncbn({"--help"});
  EXPECT_EQ(help.status, 0);
  for (const char* command :
       {"train", "check", "explain", "verify", "replay", "evaluate", "predict", "export", "info"}) {
    EXPECT_NE(help.out.find(command), std::string::npos) << command;
    const ProcessResult own = Syncbn({command, "--help"});
    EXPECT_EQ(own.status, 0) << command;
    EXPECT_LE(LongestLine(own.out), 100u) << own.out;
    EXPECT_EQ(own.out.find("{false}"), std::string::npos) << own.out;
    EXPECT_EQ(own.out.find("Excludes: \n"), std::string::npos) << "of nothing:\n" << own.out;
  }
  EXPECT_LE(LongestLine(help.out), 110u) << help.out;
}

TEST(Commands, InfoNamesVersionsInstructionSetBackEndsAndTransports) {
  const ProcessResult info = Syncbn({"info"});
  EXPECT_EQ(info.status, 0);
  for (const char* text : {"oneDNN 2.6", "Open MPI", "reference", "cpu", "in-process", "mpi"}) {
    EXPECT_NE(info.out.find(text), std::string::npos) << text << "\n" << info.out;
  }
}

// The program with another beside it that stands in for the one that trains on GPUs.
class BesideAnother {
 public:
  explicit BesideAnother(const std::string& script) {
    std::error_code failed;
    fs::create_hard_link(SyncbnProgram(), program(), failed);
    if (failed) fs::copy_file(SyncbnProgram(), program());
    const fs::path other = folder_.path() / "syncbn-cuda";
    std::ofstream(other) << "#!/bin/sh\n" << script;
    fs::permissions(other, fs::perms::owner_all);
  }
  std::string program() const { return (folder_.path() / "syncbn").string(); }
  ProcessResult Run(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), program());
    return RunProcess({.argv = arguments, .environment = {{"OF_THE_USER", "his own"}}});
  }
  std::string file(const std::string& name, const std::string& text) const {
    std::ofstream(folder_.path() / name) << text;
    return (folder_.path() / name).string();
  }

 private:
  TempFolder folder_;
};

TEST(Commands, BecomeTheProgramThatTrainsOnGpusBeforeTheySayAnything) {
  const BesideAnother programs("echo \"$OF_THE_USER: $*\"; exit 9\n");
  const std::string run = programs.file("run.yaml", "not read: [");
  for (const char* command : {"train", "replay", "evaluate", "forecast", "study run"}) {
    std::vector<std::string> words = {command, run, "--backend", "cuda"};
    if (command == std::string("study run")) words = {"study", "run", run, "--backend", "cuda"};
    if (command == std::string("replay")) words.insert(words.end(), {"--step", "1"});
    if (command == std::string("forecast"))
      words.insert(words.end(), {"--latency", "5us", "--bandwidth=25Gbit"});
    const ProcessResult result = programs.Run(words);
    std::string said = "his own:";
    for (const std::string& word : words) said += " " + word;
    EXPECT_EQ(result.out, said + "\n");
    EXPECT_EQ(result.err, "") << command;
    EXPECT_EQ(result.status, 9) << command;
  }
  const ProcessResult here = programs.Run({"train", run, "--backend", "cpu"});
  EXPECT_EQ(here.status, 2) << "it was this program that read the run file";
  if (fs::exists("/dev/nvidiactl") || fs::exists("/dev/dxg")) return;
  EXPECT_EQ(programs.Run({"train", run}).status, 2) << "there is no GPU";
}

TEST(Commands, InfoShowsWhatTheOtherProgramSays) {
  const BesideAnother programs(
      "test \"$*\" = 'info --json' || exit 1\n"
      "echo '{\"cuda\": {\"program\": \"syncbn-cuda\", \"versions\": {\"cuDNN\": \"9.19.0\"}, "
      "\"gpus\": [{\"ordinal\": 0, \"name\": \"NVIDIA H200\", \"compute_capability\": \"9.0\", "
      "\"memory_bytes\": 150000000000, \"uuid\": \"GPU-1\", \"pci_bus_id\": \"0:1:0.0\", "
      "\"unfit\": null}], \"problem\": null}}'\n");
  const std::string text = programs.Run({"info"}).out;
  EXPECT_NE(text.find("NVIDIA H200, compute capability 9.0, 139.7 GiB, GPU-1"), std::string::npos)
      << text;
  EXPECT_NE(text.find("cuDNN 9.19.0"), std::string::npos) << text;
  const std::string json = programs.Run({"info", "--json"}).out;
  EXPECT_NE(json.find("\"name\":\"NVIDIA H200\""), std::string::npos) << json;
  const BesideAnother broken("exit 1\n");
  const std::string problem = broken.Run({"info"}).out;
  EXPECT_NE(problem.find("cannot be run: it ends with exit code 1"), std::string::npos) << problem;
}

TEST(Commands, UnknownOptionsAreRefusedWithAHint) {
  const ProcessResult result = Syncbn({"train", "a.yaml", "--resumee"});
  EXPECT_EQ(result.status, 2);
  EXPECT_NE(result.err.find("--resumee"), std::string::npos) << result.err;
  EXPECT_EQ(Syncbn({}).status, 2);
  EXPECT_EQ(Syncbn({"fly"}).status, 2);
}

TEST(Commands, WithTooFewFilesTheyEndWithASentence) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "UBSan looks at memory through pipes and needs files of its own";
#endif
  const auto told = [](int files, const std::string& words) {
    const ProcessResult result = RunProcess(
        {.argv = {"sh", "-c", "ulimit -n " + std::to_string(files) + "; exec \"$0\" " + words,
                  SyncbnProgram()}});
    EXPECT_EQ(result.status, 2) << result.err;
    return result.err.substr(0, result.err.find(" where it is started"));
  };
  EXPECT_EQ(
      told(20, "serve --data /nowhere"),
      "syncbn: the coordinator may have 20 files open, and needs 64 at least: raise the limit");
  EXPECT_EQ(told(8, "jobs --coordinator 127.0.0.1:1"),
            "syncbn: this program may have 8 files open, and needs 16 at least: raise the limit");
}

TEST(Commands, ATeamIsOfNamesThatTokensCanHave) {
  TempFolder folder;
  const auto why = [&](const std::string& team) {
    const ProcessResult result = Syncbn({"serve", "--data", (folder.path() / "data").string(), "--listen",
                                         "nowhere.invalid:0", "--allow-plaintext", "--team", team});
    EXPECT_EQ(result.status, 2) << result.out;
    return result.err;
  };
  for (const char* team : {"a,,b", "a b,c", "a,", "local,anna"})
    EXPECT_NE(why(team).find("cannot be the name of a token"), std::string::npos) << why(team);
  EXPECT_NE(why("a").find("two names at least"), std::string::npos);
  for (const char* team : {"anna,bert", "anna, bert", "*"})
    EXPECT_EQ(why(team).find("--team"), std::string::npos) << why(team);
}

TEST(Commands, ANumberBeyondItsRangeIsRefusedWithTheRange) {
  EXPECT_NE(Syncbn({"serve", "--connections", "0"}).err.find(
                "--connections: expected a whole number from 1 to 65536, found '0'"),
            std::string::npos);
  EXPECT_NE(Syncbn({"token", "create", "a", "--role", "viewer", "--days", "0"})
                .err.find("--days: expected a number from 0.001 to 36500, found '0'"),
            std::string::npos);
}

TEST(Commands, CheckReportsAllFaultsOfAFileWithTheirLines) {
  TempFolder folder;
  const auto path = folder.path() / "run.yaml";
  WriteFileAtomically(path, "data: {dataset: shapez}\nmodel: {architecture: resnet20}\ntrain: {epochs: -1}\n");
  const ProcessResult result = Syncbn({"check", path.string()});
  EXPECT_EQ(result.status, 2);
  EXPECT_NE(result.err.find(path.string() + ":1:"), std::string::npos) << result.err;
  EXPECT_NE(result.err.find(path.string() + ":3:"), std::string::npos) << result.err;
  WriteFileAtomically(path, SmallRun(8, 4, "global"));
  const ProcessResult right = Syncbn({"check", path.string()});
  EXPECT_EQ(right.status, 0) << right.err;
  const ProcessResult print = Syncbn({"check", path.string(), "--print", "--set", "seed=9"});
  EXPECT_NE(print.out.find("seed: 9"), std::string::npos) << print.out;
  EXPECT_NE(print.out.find("--set"), std::string::npos) << print.out;
}

// What check says about a run file beside "no errors", and its warnings.
struct Checked {
  std::string notes, warnings;
};
Checked CheckWith(const std::string& text, std::vector<std::string> sets) {
  TempFolder folder;
  const auto path = folder.path() / "run.yaml";
  WriteFileAtomically(path, text);
  std::vector<std::string> arguments = {"check", path.string()};
  for (std::string& set : sets) {
    arguments.push_back("--set");
    arguments.push_back(std::move(set));
  }
  const ProcessResult result = Syncbn(arguments);
  EXPECT_EQ(result.status, 0) << result.err;
  const size_t end = result.out.find('\n');
  EXPECT_NE(result.out.substr(0, end).find("no errors"), std::string::npos) << result.out;
  return {result.out.substr(end + 1), result.err};
}

constexpr const char* kResNet =
    "data: {dataset: shapes, shapes: {train_samples: 1024, test_samples: 100}}\n"
    "model: {architecture: resnet20}\n"
    "cluster: {replicas: 4, batch_per_replica: 4}\n";

TEST(Commands, APrecisionOfGpusIsNotedByCheckAndRefusedByTheBackEndsOfCpus) {
  for (const std::string precision : {"tf32", "bf16"}) {
    if (!std::filesystem::exists("/dev/nvidiactl")) {
      EXPECT_EQ(CheckWith(kResNet, {"precision=" + precision}).warnings,
                "syncbn: warning: precision: " + precision +
                    " is computed on GPUs alone, by the cuda back end, which this machine has not: "
                    "here the run would be refused. `precision: float32` is computed everywhere\n");
    }
    TempFolder folder;
    const auto path = folder.path() / "run.yaml";
    WriteFileAtomically(path, kResNet + ("precision: " + precision + "\n"));
    for (const std::string name : {"cpu", "reference"}) {
      const auto out = folder.path() / name;
      const ProcessResult result =
          Syncbn({"train", path.string(), "--backend", name, "--out", out.string()});
      EXPECT_EQ(result.status, 2) << result.err;
      EXPECT_NE(result.err.find("the " + name + " back end does not compute in " + precision +
                                ": tf32 and bf16 are those of the cuda back end, on a GPU "
                                "(--backend cuda)"),
                std::string::npos)
          << result.err;
      EXPECT_FALSE(std::filesystem::exists(out)) << "training had begun";
    }
  }
  EXPECT_EQ(CheckWith(kResNet, {"precision=float32"}).warnings, "");
}

TEST(Commands, CheckSaysWhatANormalizationBatchComesToWhereThatIsNotTheNumber) {
  EXPECT_EQ(
      CheckWith(kResNet, {"model.norm.batch=3"}).notes,
      "note: a normalization batch of 3 samples: each replica is normalized alone, in balanced "
      "slices of at most as many; batches of a replica: 4 as 2 + 2\n");
  EXPECT_EQ(
      CheckWith(kResNet, {"cluster.replicas=6", "cluster.batch_per_replica=[5, 2, 7, 0, 3, 4]",
                          "model.norm.batch=7"})
          .notes,
      "note: a normalization batch of 7 samples: each replica is normalized alone; batches of a "
      "replica: 2, 3, 4, 5, 7\n");
  for (const char* as_asked : {"2", "4", "8", "16", "global", "replica"}) {
    EXPECT_EQ(CheckWith(kResNet, {std::string("model.norm.batch=") + as_asked}).notes, "")
        << as_asked;
  }
}

TEST(Commands, CheckSaysWhereGroupNormHasAnotherNumberOfGroups) {
  EXPECT_EQ(CheckWith(kResNet, {"model.norm=group"}).notes,
            "note: 32 groups over 16 channels, in 7 of 21 group norms: one channel each, which is "
            "instance norm\n"
            "note: 32 groups over 32 channels, in 7 of 21 group norms: one channel each, which is "
            "instance norm\n");
  EXPECT_EQ(CheckWith(kResNet, {"model.norm={kind: group, groups: 12}"}).notes,
            "note: 12 groups over 16 channels, in 7 of 21 group norms: 8 groups of 2, the largest "
            "number that divides the channels\n"
            "note: 12 groups over 32 channels, in 7 of 21 group norms: 8 groups of 4, the largest "
            "number that divides the channels\n"
            "note: 12 groups over 64 channels, in 7 of 21 group norms: 8 groups of 8, the largest "
            "number that divides the channels\n");
  EXPECT_EQ(CheckWith(kResNet, {"model.norm={kind: group, groups: 8}"}).notes, "");
}

TEST(Commands, CheckWarnsOfALastBatchThatIsNormalizedOverSingleNumbers) {
  const std::string mlp =
      "data: {dataset: shapes, shapes: {train_samples: 20, test_samples: 17}}\n"
      "model: {architecture: mlp}\n"
      "cluster: {replicas: 4, batch_per_replica: 2}\n";
  const Checked replica = CheckWith(mlp, {"model.norm.batch=replica"});
  EXPECT_NE(
      replica.warnings.find("in the last batch of an epoch, of 4 samples, a replica has a batch "
                            "of 1 sample: over a single number bn1 gives the same output"),
      std::string::npos)
      << replica.warnings;
  EXPECT_EQ(CheckWith(mlp, {}).warnings, "") << "4 samples share statistics";
  EXPECT_EQ(CheckWith(mlp, {"model.norm.batch=replica", "data.last_batch=drop"}).warnings, "");
  EXPECT_NE(CheckWith(mlp, {"train.evaluate.with=batch"}).warnings.find("of the evaluation"),
            std::string::npos);
  EXPECT_EQ(CheckWith(kResNet, {"data.train_limit=17", "model.norm.batch=replica"}).warnings, "")
      << "images have more than one pixel";
}

TEST(Commands, CheckSaysWhereALimitOrAPartOfAnEpochIsNotWhatIsWritten) {
  EXPECT_EQ(
      CheckWith(kResNet, {"data.train_limit=2000", "train.evaluate.with=precise"}).notes,
      "note: data.train_limit: there are 1024 samples, fewer than the 2000 that it gives: all are "
      "used\n"
      "note: train.evaluate.precise_samples: there are 1024 samples, fewer than the 2048 that it "
      "gives: all are used\n");
  EXPECT_EQ(CheckWith(kResNet, {"train.learning_rate.warmup_epochs=0.005"}).notes,
            "note: train.learning_rate.warmup_epochs: 0.005 epochs of 64 steps are 0 steps\n");
}

TEST(Commands, CheckNotesABiasThatANormSubtractsAgain) {
  const std::string by_hand =
      "data: {dataset: shapes}\n"
      "model:\n"
      "  norm: {kind: batch}\n"
      "  layers:\n"
      "    - conv: {out: 4, bias: true}\n"
      "    - norm\n"
      "    - relu\n"
      "    - residual:\n"
      "        body: [{conv: {out: 4, padding: 1, bias: true}}, norm]\n"
      "    - global_average_pool\n"
      "    - linear: {out: 10, bias: true}\n";
  EXPECT_EQ(CheckWith(by_hand, {}).notes,
            "note: model.layers.0.conv.bias, model.layers.3.residual.body.0.conv.bias: directly before "
            "a norm, which subtracts it again: it changes nothing, and its gradient is 0 but for "
            "rounding\n");
  EXPECT_EQ(CheckWith(by_hand, {"model.norm.kind=layer"}).notes, "")
      << "the mean over all channels leaves something of it";
}

TEST(Commands, CheckWarnsOfAdamwAtTheLearningRateOfSgd) {
  EXPECT_NE(CheckWith(kResNet, {"train.optimizer=adamw"})
                .warnings.find("train.learning_rate.base is 0.1, the default, with which adamw moves"),
            std::string::npos);
  EXPECT_EQ(CheckWith(kResNet, {"train.optimizer=adamw", "train.learning_rate=0.001"}).warnings, "");
  EXPECT_EQ(CheckWith(kResNet, {}).warnings, "");
}

TEST(Commands, CheckWarnsOfANoiseScaleThatIsBiasedAndNotesMomentsOfNothing) {
  const std::string probes = "probes={noise_scale: 10, moments: 10}";
  const Checked global = CheckWith(kResNet, {probes});
  EXPECT_NE(global.warnings.find("the noise scale is biased: its figures come with noise_scale.biased"),
            std::string::npos)
      << global.warnings;
  EXPECT_EQ(global.notes, "");
  EXPECT_EQ(CheckWith(kResNet, {probes, "model.norm.batch=4"}).warnings, "");
  EXPECT_EQ(CheckWith(kResNet, {probes, "model.norm=layer"}).notes,
            "note: probes.moments: the model has no batch norm, so there is nothing to measure\n");
  EXPECT_EQ(CheckWith(kResNet, {"probes.running_error={every_steps: 10, samples: 100}",
                                "model.norm=layer"})
                .notes,
            "note: probes.running_error: the model keeps no running averages, so there is nothing to "
            "measure\n");
}

TEST(Commands, CheckSaysWhichSettingsChangeNothingBesideOthers) {
  const auto notes = [](std::vector<std::string> sets) {
    return CheckWith(kResNet, std::move(sets)).notes;
  };
  const std::string spread =
      "note: model.norm.noise.spread: changes nothing beside `shift: 0` and `scale: 1`, with which "
      "there is no noise\n";
  EXPECT_EQ(notes({"model.norm.noise={spread: 0.5}"}), spread);
  EXPECT_EQ(notes({"model.norm.noise={spread: 0.5, shift: 0.1}"}), "");
  EXPECT_EQ(notes({"model.norm.noise={spread: 0.1}"}), "") << "the default";
  const std::vector<std::string> mlp = {"model.architecture=mlp",
                                        "model.dropout_place=before_norm"};
  EXPECT_EQ(notes(mlp), "note: model.dropout_place: changes nothing while model.dropout is 0\n");
  EXPECT_EQ(notes({mlp[0], mlp[1], "model.dropout=0.1"}), "");
  const std::vector<std::string> lstm = {"model.architecture=lstm",
                                         "model.recurrent={hidden: 8, statistics: shared}"};
  EXPECT_EQ(
      notes({lstm[0], lstm[1], "model.norm=layer"}),
      "note: model.recurrent.statistics: changes nothing where model.norm is not `batch`: other "
      "norms have no statistics over samples\n");
  EXPECT_EQ(notes(lstm), "");
  const auto warnings = [](const std::string& norm, std::vector<std::string> sets = {}) {
    sets.push_back("model.norm=" + norm);
    return CheckWith(kResNet, std::move(sets)).warnings;
  };
  // 64 steps an epoch.
  EXPECT_NE(warnings("{kind: batch_renorm, renorm: {hold_steps: 128}}", {"train.epochs=2"})
                .find("hold_steps: 128 are all the 128 steps of the run"),
            std::string::npos);
  EXPECT_EQ(warnings("{kind: batch_renorm, renorm: {hold_steps: 127}}", {"train.epochs=2"}), "");
  const std::string few = "makes 64 channels uncorrelated by 16 numbers of each";
  EXPECT_NE(
      warnings("{kind: iterative}", {"model.architecture=mlp", "model.hidden=[64]"}).find(few),
      std::string::npos);
  EXPECT_EQ(warnings("{kind: iterative, group_channels: 8}",
                     {"model.architecture=mlp", "model.hidden=[64]"}),
            "");
  EXPECT_EQ(warnings("{kind: iterative}"), "") << "an image has many numbers of a channel";
}

// The first lines of a run say the same.
TEST(Commands, TrainSaysWhatANormReallyDoesBeforeItBegins) {
  TempFolder folder;
  const auto path = folder.path() / "run.yaml";
  WriteFileAtomically(path, kResNet);
  const ProcessResult result =
      Syncbn({"train", path.string(), "--set", "model.norm=group", "--set", "model.width=0.25",
              "--set", "train.max_steps=1", "--out", (folder.path() / "out").string()});
  EXPECT_EQ(result.status, 0) << result.err;
  const size_t note = result.out.find("note: 32 groups over 4 channels"),
               epoch = result.out.find("epoch 1");
  EXPECT_NE(note, std::string::npos) << result.out;
  EXPECT_LT(note, epoch) << result.out;
  EXPECT_EQ(result.out.find("statistics,"), std::string::npos) << "a group norm has none\n"
                                                               << result.out;
  EXPECT_EQ(result.out.find("running statistics"), std::string::npos) << result.out;
}

TEST(Commands, ExplainShowsTypeDefaultRangeAndMeaning) {
  const ProcessResult result = Syncbn({"explain", "train.optimizer.momentum"});
  EXPECT_EQ(result.status, 0);
  EXPECT_NE(result.out.find("momentum"), std::string::npos);
  EXPECT_LE(LongestLine(result.out), 100u);
  const ProcessResult wrong = Syncbn({"explain", "train.optimizer.momentun"});
  EXPECT_EQ(wrong.status, 2);
  EXPECT_NE(wrong.err.find("momentum"), std::string::npos) << wrong.err;
}

}  // namespace
}  // namespace syncbn
