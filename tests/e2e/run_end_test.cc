// How a run ends, goes on and owns its folder, as its users see it.
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "tests/support/process.h"
#include "tests/support/small_run.h"
#include "tests/support/temp_folder.h"
#include "train/checkpoint_store.h"
#include "train/metrics.h"

namespace syncbn {
namespace {

namespace fs = std::filesystem;

class RunEndTest : public testing::Test {
 protected:
  RunEndTest() { WriteFileAtomically(run_file_, SmallRun(8, 4, "global")); }

  std::vector<std::string> Command(std::vector<std::string> more) const {
    std::vector<std::string> command = {SyncbnProgram(), "train",       run_file_.string(),
                                        "--out",         out_.string(), "--no-evaluation"};
    command.insert(command.end(), more.begin(), more.end());
    return command;
  }
  ProcessResult Run(std::vector<std::string> more,
                    std::map<std::string, std::string> environment = {}) const {
    return RunProcess({.argv = Command(std::move(more)), .environment = std::move(environment)});
  }
  // The same where no file may be longer than `kilobytes`: a full disk, to whoever needs more.
  ProcessResult RunInLittleRoom(int kilobytes, const std::vector<std::string>& more,
                                int processes) const {
    std::vector<std::string> command = {
        "/bin/sh", "-c",
        "trap '' XFSZ; ulimit -f " + std::to_string(2 * kilobytes) + "; exec \"$@\"", "sh"};
    const std::vector<std::string> run = Command(more);
    command.insert(command.end(), run.begin(), run.end());
    return RunProcess(processes == 1 ? ProcessOptions{.argv = command}
                                     : UnderMpirun(processes, command));
  }
  nlohmann::json Summary() const { return nlohmann::json::parse(ReadFile(out_ / "summary.json")); }
  std::vector<train::MetricRecord> Metrics() const {
    return train::ReadMetrics(out_ / "metrics.jsonl");
  }
  static std::string Everything(const ProcessResult& result) {
    return "exit code " + std::to_string(result.status) + "\n" + result.out + result.err;
  }
  // A small data set in CIFAR-10's layout.
  void WriteData(const fs::path& folder, char first) const {
    fs::create_directories(folder);
    for (const auto& [name, images] : {std::pair("train.bin", 64), std::pair("test.bin", 16)}) {
      std::string bytes;
      for (int i = 0; i < images; ++i) {
        bytes += static_cast<char>(i % 10);
        for (int k = 0; k < 3072; ++k) bytes += static_cast<char>((i * 31 + k * 7) % 251);
      }
      bytes[1] = first;
      WriteFileAtomically(folder / name, bytes);
    }
  }
  static std::string DataOf(const fs::path& folder) {
    return "data={dataset: cifar_binary, path: " + folder.string() + "}";
  }

  TempFolder folder_;
  fs::path run_file_ = folder_.path() / "small.yaml";
  fs::path out_ = folder_.path() / "out";
};

TEST_F(RunEndTest, ARunThatDivergesEndsAsThatAndSaysSoEverywhere) {
  const std::vector<std::string> diverging = {"--set", "model.norm.kind=none",
                                              "--set", "train.learning_rate.base=1000",
                                              "--set", "train.learning_rate.warmup_epochs=0",
                                              "--set", "train.clip_norm=0"};
  for (const int processes : {1, 2}) {
    std::vector<std::string> more = diverging;
    more.push_back("--overwrite");
    const ProcessResult result = RunProcess(processes == 1 ? ProcessOptions{.argv = Command(more)}
                                                           : UnderMpirun(processes, Command(more)));
    EXPECT_EQ(result.status, 12) << Everything(result);
    EXPECT_NE(result.err.find("syncbn: DIVERGED: "), std::string::npos) << Everything(result);
    EXPECT_NE(result.out.find("DIVERGED"), std::string::npos) << Everything(result);
    EXPECT_EQ(Summary()["status"], "diverged");
    EXPECT_TRUE(Summary()["reason"].is_string());
    EXPECT_LT(Summary()["steps"], 30);
    // Every line is JSON of numbers and nulls.
    std::istringstream lines(ReadFile(out_ / "metrics.jsonl"));
    bool null = false;
    for (std::string line; std::getline(lines, line);) {
      const auto json = nlohmann::json::parse(line);
      EXPECT_TRUE(json["loss"].is_number() || json["loss"].is_null()) << line;
      null = null || json["loss"].is_null();
    }
    EXPECT_TRUE(null);
  }
  // It diverges again where it is gone on with.
  std::vector<std::string> again = diverging;
  again.push_back("--resume");
  EXPECT_EQ(Run(again).status, 12);
}

TEST_F(RunEndTest, TheRunFileSaysHowManyStepsMayBeSkipped) {
  const ProcessResult result =
      Run({"--set", "train.max_skipped=0", "--fault", "nan@step=2,replica=3"});
  EXPECT_EQ(result.status, 12) << Everything(result);
  EXPECT_EQ(Summary()["steps"], 3);
  EXPECT_NE(
      result.err.find("a step was not finite (train.max_skipped.in_a_row is 0), after step 2"),
      std::string::npos)
      << result.err;
}

TEST_F(RunEndTest, ALastCheckpointThatDoesNotFitIsNotASuccessAndTheRunCanBeFinishedLater) {
  const std::vector<std::string> large = {"--set", "model={architecture: mlp, hidden: [64]}",
                                          "--set", "train.max_steps=3",
                                          "--set", "train.optimizer={kind: sgd}"};
  std::vector<std::string> more = large;
  for (const int processes : {1, 2}) {
    const ProcessResult result = RunInLittleRoom(64, more, processes);
    EXPECT_EQ(result.status, 13) << Everything(result);
    EXPECT_NE(result.err.find("syncbn: STORAGE: the last checkpoint, of step 3, was not written"),
              std::string::npos)
        << Everything(result);
    EXPECT_EQ(Summary()["status"], "storage");
    more = large;
    more.push_back("--overwrite");
  }
  more.back() = "--resume";
  const ProcessResult rest = Run(more);
  EXPECT_EQ(rest.status, 0) << Everything(rest);
  EXPECT_EQ(Summary()["status"], "finished");
}

TEST_F(RunEndTest, ARunGoesOnWithItsDataWhereverTheyAreAndNeverWithOthers) {
  const fs::path data = folder_.path() / "data", moved = folder_.path() / "moved";
  WriteData(data, 'a');
  WriteData(moved, 'a');
  ASSERT_EQ(Run({"--set", DataOf(data), "--set", "train.max_steps=2"}).status, 0);
  const ProcessResult same =
      Run({"--set", DataOf(moved), "--set", "train.max_steps=3", "--resume"});
  EXPECT_EQ(same.status, 0) << Everything(same);
  WriteData(moved, 'b');
  const std::string before = ReadFile(out_ / "metrics.jsonl");
  const ProcessResult other =
      Run({"--set", DataOf(moved), "--set", "train.max_steps=4", "--resume"});
  EXPECT_EQ(other.status, 2) << Everything(other);
  EXPECT_NE(other.err.find("was trained on other data:\n  the digest of the training data: "),
            std::string::npos)
      << other.err;
  EXPECT_NE(other.err.find("the digest of the test data: "), std::string::npos) << other.err;
  EXPECT_EQ(ReadFile(out_ / "metrics.jsonl"), before);
}

TEST_F(RunEndTest, AnotherInstructionSetIsRefusedOrMarkedEverywhere) {
  ASSERT_EQ(Run({"--set", "train.max_steps=3"}).status, 0);
  const std::map<std::string, std::string> lesser = {{"ONEDNN_MAX_CPU_ISA", "SSE41"}};
  const ProcessResult refused = Run({"--resume", "--set", "train.max_steps=5"}, lesser);
  EXPECT_EQ(refused.status, 2) << Everything(refused);
  EXPECT_NE(refused.err.find("was written where the bits are others: back end: "),
            std::string::npos)
      << refused.err;
  EXPECT_NE(refused.err.find("--set train.checkpoint.resume_on=any"), std::string::npos)
      << refused.err;
  const std::vector<std::string> any = {"--resume", "--set", "train.max_steps=5", "--set",
                                        "train.checkpoint.resume_on=any"};
  const ProcessResult marked = Run(any, lesser);
  EXPECT_EQ(marked.status, 0) << Everything(marked);
  EXPECT_NE(marked.err.find(
                "warning: goes on after step 3 with other bits than if it had not been stopped: "),
            std::string::npos)
      << marked.err;
  EXPECT_NE(marked.out.find("since step 3: back end: "), std::string::npos) << marked.out;
  ASSERT_EQ(Summary()["environment_changes"].size(), 1u);
  EXPECT_EQ(Summary()["environment_changes"][0]["step"], 3);
  for (const train::MetricRecord& record : Metrics())
    EXPECT_EQ(record.other_bits, record.step >= 3) << record.step;
  // The mark stays when it goes on where it now is.
  ASSERT_EQ(Run({"--resume", "--set", "train.max_steps=6"}, lesser).status, 0);
  EXPECT_EQ(Summary()["environment_changes"].size(), 1u);
  EXPECT_TRUE(Metrics().back().other_bits);
}

TEST_F(RunEndTest, OfRunsThatStartInOneFolderAtOnceOneGoes) {
  for (int round = 0; round < 3; ++round) {
    out_ = folder_.path() / ("round-" + std::to_string(round));
    std::vector<std::unique_ptr<Process>> runs;
    for (int i = 0; i < 3; ++i) {
      runs.push_back(std::make_unique<Process>(
          ProcessOptions{.argv = Command({"--set", "train.max_steps=4"})}));
    }
    int gone = 0;
    for (const auto& run : runs) {
      const ProcessResult result = run->Wait();
      if (result.status == 0) {
        ++gone;
      } else {
        EXPECT_EQ(result.status, 2) << Everything(result);
        EXPECT_NE(result.err.find("holds a run already"), std::string::npos) << result.err;
      }
    }
    EXPECT_EQ(gone, 1);
    EXPECT_EQ(Metrics().size(), 4u);
  }
}

TEST_F(RunEndTest, ALivingRunIsNotResumedBesideItself) {
  Process living(
      {.argv = Command({"--set", "train.max_steps=1000000", "--set", "train.epochs=1000000",
                        "--set", "train.checkpoint.every_steps=10"})});
  const train::CheckpointStore store({.out = out_});
  ASSERT_TRUE(living.WaitForText("epoch", std::chrono::seconds(60)));
  const ProcessResult second = Run({"--resume"});
  EXPECT_EQ(second.status, 2) << Everything(second);
  EXPECT_NE(second.err.find("a run is under way in " + out_.string()), std::string::npos)
      << second.err;
  living.Signal(SIGTERM);
  EXPECT_EQ(living.Wait().status, 75);
}

TEST_F(RunEndTest, AFinishedRunIsMadeLongerOrSaysWhyNot) {
  const std::vector<std::string> constant = {"--set", "train.learning_rate={base: 0.1}", "--set",
                                             "train.max_steps=0"};
  const auto with = [](std::vector<std::string> words, const std::vector<std::string>& more) {
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  ASSERT_EQ(Run(with(constant, {"--set", "train.epochs=2"})).status, 0);
  const std::vector<train::MetricRecord> whole = Metrics();
  out_ = folder_.path() / "parts";
  ASSERT_EQ(Run(with(constant, {"--set", "train.epochs=1"})).status, 0);
  const ProcessResult done = Run(with(constant, {"--set", "train.epochs=1", "--resume"}));
  EXPECT_NE(done.out.find(
                "nothing was changed. To go on, raise train.epochs (--set train.epochs=2, say)."),
            std::string::npos)
      << Everything(done);
  const ProcessResult longer = Run(with(constant, {"--set", "train.epochs=2", "--resume"}));
  EXPECT_EQ(longer.status, 0) << Everything(longer);
  const std::vector<train::MetricRecord> parts = Metrics();
  ASSERT_EQ(parts.size(), whole.size());
  for (size_t i = 0; i < whole.size(); ++i) EXPECT_EQ(parts[i].digest, whole[i].digest) << i;
  EXPECT_EQ(Summary()["status"], "finished");

  out_ = folder_.path() / "cosine";
  const std::vector<std::string> cosine = {"--set", "train.max_steps=0"};
  ASSERT_EQ(Run(with(cosine, {"--set", "train.epochs=1"})).status, 0);
  const ProcessResult refused = Run(with(cosine, {"--set", "train.epochs=2", "--resume"}));
  EXPECT_EQ(refused.status, 2) << Everything(refused);
  EXPECT_NE(refused.err.find(
                "train.epochs: 2, the checkpoint has 1 (under `schedule: cosine` the rate of "
                "every step depends on it"),
            std::string::npos)
      << refused.err;
}

TEST_F(RunEndTest, AFinishedRunWhoseSummaryIsLostWritesItAgain) {
  ASSERT_EQ(Run({"--set", "train.max_steps=3"}).status, 0);
  nlohmann::json before = Summary();
  fs::remove(out_ / "summary.json");
  const ProcessResult result = Run({"--set", "train.max_steps=3", "--resume"});
  EXPECT_EQ(result.status, 0) << Everything(result);
  for (const char* key : {"status", "steps", "digest", "train", "samples"}) {
    EXPECT_EQ(Summary()[key], before[key]) << key;
  }
}

TEST_F(RunEndTest, AHomeFolderIsFoundHoweverItIsGiven) {
  const std::map<std::string, std::string> home = {{"HOME", folder_.path().string()}};
  for (const char* form : {"--out=~/mine", "~/theirs"}) {
    std::vector<std::string> command = {SyncbnProgram(),   "train", run_file_.string(),
                                        "--no-evaluation", "--set", "train.max_steps=1"};
    if (*form == '~') command.push_back("--out");
    command.push_back(form);
    const ProcessResult result = RunProcess(
        {.argv = command, .environment = home, .working_folder = folder_.path().string()});
    EXPECT_EQ(result.status, 0) << Everything(result);
  }
  EXPECT_TRUE(fs::exists(folder_.path() / "mine/summary.json"));
  EXPECT_TRUE(fs::exists(folder_.path() / "theirs/summary.json"));
  EXPECT_FALSE(fs::exists(folder_.path() / "~"));
}

TEST_F(RunEndTest, VerifyThatIsStoppedEndsWhenItsRanksHave) {
  const fs::path runs = folder_.path() / "runs";
  for (const std::string processes : {"2,1", "1,2"}) {
    Process verify({.argv = {SyncbnProgram(), "verify", run_file_.string(), "--processes",
                             processes, "--steps", "10000000", "--set", "train.epochs=1000000",
                             "--keep", runs.string()}});
    // mpirun and its ranks, or the one process.
    const size_t expected = processes == "2,1" ? 3 : 1;
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    std::vector<pid_t> ranks;
    while (std::chrono::steady_clock::now() < end) {
      ranks = ProcessesNaming(run_file_, verify.pid());
      // They are heard once they train.
      if (ranks.size() == expected &&
          fs::exists(runs / ("p" + processes.substr(0, 1)) / "metrics.jsonl")) {
        break;
      }
      ::usleep(20'000);
    }
    ASSERT_EQ(ranks.size(), expected);
    ::kill(-verify.pid(), SIGINT);  // what a terminal does
    const ProcessResult result = verify.Wait();
    for (const pid_t rank : ranks) {
      // Gone, or left to whoever reaps it.
      std::ifstream file("/proc/" + std::to_string(rank) + "/stat");
      std::string stat;
      std::getline(file, stat);
      EXPECT_TRUE(stat.empty() || stat.find(") Z ") != std::string::npos) << stat;
    }
    EXPECT_EQ(result.status, 75) << Everything(result);
    EXPECT_NE(result.err.find("nothing was compared to its end"), std::string::npos)
        << Everything(result);
    fs::remove_all(runs);
  }
}

TEST_F(RunEndTest, OneIsNotPlural) {
  const std::vector<std::string> one = {"--set", "cluster={replicas: 1, batch_per_replica: 4}",
                                        "--set", "train.max_steps=1"};
  std::string text;
  std::vector<std::string> train = one;
  text += Everything(Run(train));
  for (std::vector<std::string> command :
       {std::vector<std::string>{"check", run_file_.string()},
        std::vector<std::string>{"verify", run_file_.string(), "--processes", "1,1", "--steps",
                                 "1"}}) {
    command.insert(command.begin(), SyncbnProgram());
    command.insert(command.end(), one.begin(), one.end());
    text += Everything(RunProcess({.argv = command}));
  }
  text +=
      Everything(RunProcess({.argv = {SyncbnProgram(), "replay", out_.string(), "--step", "0"}}));
  for (size_t at = 0; (at = text.find(" 1 ", at)) != std::string::npos; ++at) {
    const size_t begin = at + 3, end = text.find_first_of(" ,.;:\n", begin);
    // "on 1, 1 processes" is a list.
    if (text[at - 1] == ',') continue;
    // "process" is singular.
    if (text.compare(end - 2, 2, "ss") == 0) continue;
    EXPECT_NE(text[end - 1], 's') << text.substr(at, end - at) << "\n" << text;
  }
}

}  // namespace
}  // namespace syncbn
