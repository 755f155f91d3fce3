// The built program as its users run it: under mpirun, with signals, with what goes wrong.
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <functional>

#include "base/file.h"
#include "tests/support/process.h"
#include "tests/support/small_run.h"
#include "tests/support/temp_folder.h"
#include "train/checkpoint_store.h"
#include "train/metrics.h"

namespace syncbn {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;
using testing::Test;

class Train : public Test {
 protected:
  Train() {
    run_file_ = folder_.path() / "small.yaml";
    WriteFileAtomically(run_file_,
                        SmallRun(8, 4, "global",
                                 "probes: {noise_scale: 10, moments: 7, activations: 10,\n"
                                 "         running_error: {every_steps: 10, samples: 40},\n"
                                 "         landscape: {every_steps: 10, points: 2},\n"
                                 "         covariate_shift: 10, correlation: 10,\n"
                                 "         hessian: {every_steps: 10, iterations: 2}}\n"));
  }

  std::vector<std::string> Command(const std::string& out, std::vector<std::string> more = {}) const {
    std::vector<std::string> command = {SyncbnProgram(), "train", run_file_.string(), "--out",
                                        (folder_.path() / out).string(), "--no-evaluation"};
    command.insert(command.end(), more.begin(), more.end());
    return command;
  }
  ProcessResult Run(int processes, const std::string& out, std::vector<std::string> more = {}) const {
    return RunProcess(processes == 0 ? ProcessOptions{.argv = Command(out, more)}
                                     : UnderMpirun(processes, Command(out, more)));
  }
  std::vector<train::MetricRecord> Metrics(const std::string& out) const {
    return train::ReadMetrics(folder_.path() / out / "metrics.jsonl");
  }
  // Waits until it holds, with patience for a busy machine; whether it came to that.
  static bool Comes(const std::function<bool()>& holds) {
    const auto end = std::chrono::steady_clock::now() + seconds(50);
    while (!holds()) {
      if (std::chrono::steady_clock::now() > end) return false;
      ::usleep(10'000);
    }
    return true;
  }
  static bool HasLines(const fs::path& file) {
    std::error_code none;
    const auto size = fs::file_size(file, none);
    return !none && size > 0;
  }
  // The environment of a run that rests so long at every line of metrics.jsonl.
  std::map<std::string, std::string> Paced(int milliseconds) const {
    const fs::path file = folder_.path() / "pace";
    WriteFileAtomically(file, "0 " + std::to_string(milliseconds) + "\n");
    return {{"LD_PRELOAD", SYNCBN_PACE_LIBRARY}, {"SYNCBN_TEST_PACE", file.string()}};
  }
  static std::string Everything(const ProcessResult& result) {
    return "exit code " + std::to_string(result.status) + "\n" + result.out + result.err;
  }

  TempFolder folder_;
  fs::path run_file_;
};

// Digests of two runs, step by step.
void ExpectEqualSteps(const std::vector<train::MetricRecord>& a,
                      const std::vector<train::MetricRecord>& b) {
  ASSERT_FALSE(a.empty());
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].step, b[i].step);
    ASSERT_TRUE(a[i].digest.has_value());
    EXPECT_EQ(a[i].digest, b[i].digest) << "step " << a[i].step;
    EXPECT_EQ(a[i].loss, b[i].loss) << "step " << a[i].step;
    // As text, in which nulls are equal.
    EXPECT_EQ(train::MetricRecord{.figures = a[i].figures}.ToJson(),
              train::MetricRecord{.figures = b[i].figures}.ToJson())
        << "step " << a[i].step;
  }
}

TEST_F(Train, SaysWhereTheTimeOfItsStepsGoes) {
  const ProcessResult result =
      Run(2, "out", {"--profile", "--profile-after", "2", "--profile-steps", "5"});
  ASSERT_EQ(result.status, 0) << Everything(result);
  EXPECT_NE(result.out.find("profile of 5 steps from step 2 on (8 replicas on 2 processes): "),
            std::string::npos)
      << result.out;
  for (const char* text : {"LAYER ", "BACKWARD", "all norms", "total", "gradients", "trace.json"}) {
    EXPECT_NE(result.out.find(text), std::string::npos) << text << "\n" << result.out;
  }
  const fs::path profile = folder_.path() / "out" / "profile";
  const std::string csv = ReadFile(profile / "layers.csv");
  EXPECT_EQ(csv.find("layer,norm,forward_ms,"), 0u);
  EXPECT_NE(csv.find("\n1,1,"), std::string::npos) << csv;  // the first norm
  const std::string trace = ReadFile(profile / "trace.json");
  for (const char* text : {"\"replica 0\"", "\"replica 7\"", "\"rank 1 on ", "\"step 6\"",
                           "\"between processes\"", "\"wait: "}) {
    EXPECT_NE(trace.find(text), std::string::npos) << text;
  }
  EXPECT_EQ(trace.find("\"step 7\""), std::string::npos);
  // A run that ends before says so, and ends well.
  const ProcessResult none = Run(2, "none", {"--profile", "--profile-after", "30"});
  EXPECT_EQ(none.status, 0) << Everything(none);
  EXPECT_NE(none.err.find("no step was profiled: the run has ended within the first 30 steps"),
            std::string::npos)
      << none.err;
  EXPECT_FALSE(fs::exists(folder_.path() / "none" / "profile"));
  // Another run's profile goes with it.
  EXPECT_EQ(Run(0, "out", {"--overwrite"}).status, 0);
  EXPECT_FALSE(fs::exists(profile));
}

TEST_F(Train, GivesTheSameBitsWithAndWithoutMpirunOn1To4Processes) {
  const ProcessResult alone = Run(0, "alone");
  ASSERT_EQ(alone.status, 0) << Everything(alone);
  ASSERT_EQ(Metrics("alone").size(), 30u);
  for (const char* figure :
       {"noise_scale.variance", "activations.4.saturated", "running_error.1.mean",
        "landscape.relative.beta", "covariate_shift.3.body.0.cosine", "correlation.3.off_diagonal",
        "hessian.top_eigenvalue"}) {
    EXPECT_EQ(Metrics("alone")[9].figures.count(figure), 1u) << figure;
  }
  EXPECT_EQ(Metrics("alone")[27].figures.count("moments.1.condition"), 1u);
  EXPECT_EQ(Metrics("alone")[28].figures.size(), 0u);
  for (int processes : {1, 2, 3, 4}) {
    const std::string out = "p" + std::to_string(processes);
    const ProcessResult result = Run(processes, out);
    ASSERT_EQ(result.status, 0) << Everything(result);
    ExpectEqualSteps(Metrics("alone"), Metrics(out));
  }
  for (const char* name : {"run.yaml", "metrics.jsonl", "summary.json"}) {
    EXPECT_TRUE(fs::exists(folder_.path() / "alone" / name)) << name;
  }
}

TEST_F(Train, ResumesOnAnotherNumberOfProcessesWithEachStepOnce) {
  // A run that is made longer keeps the figures that its probes gave at its first end.
  const auto run = [&](int processes, const char* out, std::vector<std::string> more) {
    for (const char* probe : {"noise_scale", "moments", "activations", "running_error",
                              "landscape", "covariate_shift", "correlation", "hessian"}) {
      more.insert(more.end(), {"--set", std::string("probes.") + probe + "=0"});
    }
    return Run(processes, out, more);
  };
  ASSERT_EQ(run(2, "whole", {}).status, 0);
  ASSERT_EQ(run(3, "parts", {"--set", "train.max_steps=13"}).status, 0);
  const ProcessResult rest = run(2, "parts", {"--resume"});
  ASSERT_EQ(rest.status, 0) << Everything(rest);
  EXPECT_NE(rest.out.find("resumed after step 13"), std::string::npos) << rest.out;
  ExpectEqualSteps(Metrics("whole"), Metrics("parts"));
}

TEST_F(Train, RefusesToResumeUnderARunFileThatComputesSomethingElse) {
  ASSERT_EQ(Run(0, "out", {"--set", "train.max_steps=3"}).status, 0);
  const ProcessResult result =
      Run(2, "out", {"--resume", "--set", "train.optimizer.momentum=0.5"});
  EXPECT_EQ(result.status, 2) << Everything(result);
  EXPECT_NE(result.err.find("train.optimizer.momentum: 0.5, the checkpoint has 0.9"),
            std::string::npos)
      << result.err;
}

TEST_F(Train, ResumingAFinishedRunChangesNothing) {
  ASSERT_EQ(Run(0, "out", {"--set", "train.max_steps=3"}).status, 0);
  const std::string before = ReadFile(folder_.path() / "out/summary.json");
  const ProcessResult result = Run(2, "out", {"--resume", "--set", "train.max_steps=3"});
  EXPECT_EQ(result.status, 0) << Everything(result);
  EXPECT_NE(result.out.find("already finished: the run has done 3 steps"), std::string::npos)
      << Everything(result);
  EXPECT_EQ(ReadFile(folder_.path() / "out/summary.json"), before);
}

TEST_F(Train, ReplayRefusesAStepThatTheRunDoesNotHave) {
  ASSERT_EQ(Run(0, "out", {"--set", "train.max_steps=3"}).status, 0);
  for (const char* step : {"3", "999999999999"}) {
    const ProcessResult result = RunProcess({.argv = {SyncbnProgram(), "replay",
                                                      (folder_.path() / "out").string(), "--step", step}});
    EXPECT_EQ(result.status, 2) << Everything(result);
    EXPECT_EQ(result.err, "syncbn: --step " + std::string(step) + ": the run has 3 steps, 0 to 2\n");
  }
}

TEST_F(Train, RefusesToWriteOverAnotherRun) {
  ASSERT_EQ(Run(0, "out", {"--set", "train.max_steps=1"}).status, 0);
  const ProcessResult result = Run(0, "out");
  EXPECT_EQ(result.status, 2);
  EXPECT_NE(result.err.find("holds a run already; continue it with --resume, replace it with "
                            "--overwrite, or choose another folder with --out"),
            std::string::npos)
      << result.err;
  EXPECT_EQ(Run(0, "out", {"--overwrite", "--set", "train.max_steps=2"}).status, 0);
  EXPECT_EQ(Metrics("out").size(), 2u);
}

TEST_F(Train, AKilledRankEndsTheJobSoonAndIsNamed) {
  const ProcessResult result = Run(3, "out", {"--fault", "kill@step=4,replica=4"});
  EXPECT_FALSE(result.timed_out);
  EXPECT_LT(result.seconds, 45);
  EXPECT_NE(result.status, 0);
  // Replicas 3..5 live on rank 1.
  EXPECT_NE((result.out + result.err).find("rank 1"), std::string::npos) << Everything(result);
  EXPECT_NE((result.out + result.err).find("signal 9"), std::string::npos) << Everything(result);
}

TEST_F(Train, AStalledRankIsNamedWithStepLayerAndPhase) {
  const ProcessResult result =
      Run(3, "out", {"--fault", "stall@step=4,replica=4,layer=3.body.0", "--set", "cluster.stall_timeout=3"});
  EXPECT_FALSE(result.timed_out);
  EXPECT_EQ(result.status, 5) << Everything(result);
  for (const char* text : {"rank 1", "replica 4", "step 4", "forward", "3.body.0"}) {
    EXPECT_NE(result.err.find(text), std::string::npos) << text << "\n" << Everything(result);
  }
}

TEST_F(Train, WithoutMpirunAReplicaThatKeepsTheOthersFromTheirTurnIsNamedAndTheProcessLeaves) {
  const ProcessResult result =
      Run(0, "out", {"--fault", "stall@step=1,replica=0,layer=0", "--threads", "1", "--set",
                     "model.norm.batch=replica", "--set", "cluster.stall_timeout=3"});
  EXPECT_FALSE(result.timed_out);
  EXPECT_EQ(result.status, 5) << Everything(result);
  for (const char* text : {"replica 0 (rank 0", "step 1, forward, 0, no progress"}) {
    EXPECT_NE(result.err.find(text), std::string::npos) << text << "\n" << Everything(result);
  }
}

TEST_F(Train, AFailingReplicaEndsTheJobWithItsCause) {
  const ProcessResult result = Run(2, "out", {"--fault", "throw@step=2,replica=6"});
  EXPECT_FALSE(result.timed_out);
  EXPECT_EQ(result.status, 1) << Everything(result);
  EXPECT_NE(result.err.find("a fault was asked for"), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("replica 6"), std::string::npos) << result.err;
}

TEST_F(Train, ANonFiniteStepIsSkippedCountedAndShown) {
  const ProcessResult result = Run(2, "out", {"--fault", "nan@step=2,replica=6"});
  EXPECT_EQ(result.status, 0) << Everything(result);
  EXPECT_TRUE(Metrics("out").at(2).skipped);
  EXPECT_EQ(Metrics("out").at(2).digest, Metrics("out").at(1).digest);
  EXPECT_NE(result.out.find("1 (not finite)"), std::string::npos) << result.out;
}

TEST_F(Train, MoreProcessesThanReplicasAreRefused) {
  const ProcessResult result = Run(4, "out", {"--set", "cluster.replicas=2"});
  EXPECT_EQ(result.status, 2) << Everything(result);
  EXPECT_NE(result.err.find("2 replicas"), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("4 processes"), std::string::npos) << result.err;
}

TEST_F(Train, AWrongRunFileIsReportedOnceForAllRanks) {
  const ProcessResult result = Run(3, "out", {"--set", "train.optimiser.momentum=0.9"});
  EXPECT_EQ(result.status, 2) << Everything(result);
  const size_t first = result.err.find("optimiser");
  ASSERT_NE(first, std::string::npos) << result.err;
  EXPECT_NE(result.err.find("did you mean"), std::string::npos) << result.err;
  size_t count = 0;
  for (size_t at = 0; (at = result.err.find("did you mean", at)) != std::string::npos; ++at) ++count;
  EXPECT_EQ(count, 1u) << result.err;
}

TEST_F(Train, MissingFilesAreNamed) {
  const ProcessResult no_file = RunProcess({.argv = {SyncbnProgram(), "train", "/no/such.yaml"}});
  EXPECT_EQ(no_file.status, 2);
  EXPECT_EQ(no_file.err, "syncbn: cannot open /no/such.yaml: No such file or directory\n");
  const ProcessResult no_data =
      Run(0, "out", {"--set", "data.dataset=mnist", "--set", "data.path=/no/such/folder"});
  EXPECT_EQ(no_data.status, 2);
  EXPECT_NE(no_data.err.find("/no/such/folder"), std::string::npos) << no_data.err;
}

TEST_F(Train, Sigusr1UnderMpirunWritesACheckpoint) {
  Process process(UnderMpirun(
      2, Command("out", {"--set", "train.max_steps=100000", "--set", "train.epochs=100000", "--set",
                         "train.checkpoint.every_epochs=0"})));
  const fs::path metrics = folder_.path() / "out" / "metrics.jsonl";
  ASSERT_TRUE(Comes([&] { return HasLines(metrics); }));
  process.Signal(SIGUSR1);
  const train::CheckpointStore store({.out = folder_.path() / "out"});
  Comes([&] { return !store.Steps().empty(); });
  // mpirun forwards the signal to each rank, maybe in different steps: one checkpoint or more.
  EXPECT_FALSE(store.Steps().empty());
  process.Signal(SIGTERM);
  EXPECT_FALSE(process.Wait().timed_out);
}

TEST_F(Train, SigtermWritesACheckpointAndAResumedRunEndsInTheSameBits) {
  ASSERT_EQ(Run(0, "whole", {"--set", "train.max_steps=200"}).status, 0);
  // Slow enough for it to be under way still when it is told.
  Process process({.argv = Command("out", {"--set", "train.max_steps=200"}), .environment = Paced(50)});
  const fs::path metrics = folder_.path() / "out" / "metrics.jsonl";
  ASSERT_TRUE(Comes([&] { return HasLines(metrics); }));
  process.Signal(SIGTERM);
  const ProcessResult stopped = process.Wait();
  ASSERT_EQ(stopped.status, 75) << Everything(stopped);
  EXPECT_NE(stopped.err.find("asked to stop: a checkpoint after this step"), std::string::npos)
      << stopped.err;
  EXPECT_NE(stopped.err.find("go on with --resume"), std::string::npos) << stopped.err;
  EXPECT_LT(Metrics("out").size(), 200u);
  ASSERT_EQ(Run(2, "out", {"--resume", "--set", "train.max_steps=200"}).status, 0);
  ExpectEqualSteps(Metrics("whole"), Metrics("out"));
}

TEST_F(Train, AFullDiskLeavesThePreviousCheckpointAndTrainingGoesOn) {
  const fs::path small = folder_.path() / "small-disk";
  fs::create_directory(small);
  if (::mount("none", small.c_str(), "tmpfs", 0, "size=256k") != 0) {
    GTEST_SKIP() << "mounting a small file system is not permitted here";
  }
  // The first checkpoint fits; then the disk is filled, also with what an old one leaves free.
  Process process({.argv = Command("small-disk/out",
                                   {"--set", "train.max_steps=1000000", "--set", "train.epochs=1000000",
                                    "--set", "train.checkpoint.keep=1", "--set",
                                    "output.every_steps=1000000"})});
  const train::CheckpointStore store({.out = small / "out"});
  ASSERT_TRUE(Comes([&] { return !store.Steps().empty(); })) << process.Err();
  const std::string block(4096, 'x');
  EXPECT_TRUE(Comes([&] {
    std::ofstream filler(small / "filler", std::ios::app);
    while (filler.write(block.data(), static_cast<std::streamsize>(block.size())).flush()) {
    }
    return process.Err().find("was not written") != std::string::npos;
  })) << process.Err();
  const auto epochs = [&] {
    const std::string out = process.Out();
    size_t count = 0;
    for (size_t at = 0; (at = out.find("train loss", at)) != std::string::npos; ++at) ++count;
    return count;
  };
  const size_t before = epochs();
  EXPECT_TRUE(Comes([&] { return epochs() >= before + 5; })) << "training stopped";
  process.Signal(SIGTERM);
  const ProcessResult result = process.Wait();
  EXPECT_EQ(result.status, 13) << Everything(result);
  const auto latest = store.Latest();
  EXPECT_TRUE(latest.has_value());
  EXPECT_NE(result.err.find("was not written; earlier ones are untouched and training goes on"),
            std::string::npos)
      << Everything(result);
  EXPECT_NE(result.err.find("No space left on device"), std::string::npos) << Everything(result);
  ::umount2(small.c_str(), MNT_DETACH);
}

TEST_F(Train, ADiskThatIsFullAtTheStartIsToldAsThat) {
  const fs::path small = folder_.path() / "full-disk";
  fs::create_directory(small);
  if (::mount("none", small.c_str(), "tmpfs", 0, "size=64k") != 0) {
    GTEST_SKIP() << "mounting a small file system is not permitted here";
  }
  {
    std::ofstream filler(small / "filler");
    while (filler.write(std::string(4096, 'x').data(), 4096).flush()) {
    }
  }
  const ProcessResult result = Run(0, "full-disk/out");
  EXPECT_EQ(result.status, 13) << Everything(result);
  EXPECT_NE(result.err.find("the output folder cannot be written: "), std::string::npos)
      << Everything(result);
  EXPECT_NE(result.err.find(": No space left on device\n"), std::string::npos) << Everything(result);
  ::umount2(small.c_str(), MNT_DETACH);
}

TEST_F(Train, AModelLargerThanTheMemoryIsToldAsThat) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "the address sanitizer needs more address space than this test leaves";
#endif
  const std::string too_large = "model={architecture: mlp, hidden: [65536, 65536]}";
  for (const int processes : {0, 2}) {
    std::vector<std::string> command = {"/usr/bin/prlimit", "--as=12000000000"};
    for (const std::string& word : Command("large", {"--overwrite", "--set", too_large})) {
      command.push_back(word);
    }
    const ProcessOptions options =
        processes == 0 ? ProcessOptions{.argv = command} : UnderMpirun(processes, command);
    const ProcessResult result = RunProcess(options);
    EXPECT_EQ(result.status, 4) << Everything(result);
    EXPECT_NE(result.err.find("out of memory: the model, its gradients and the optimizer's state do "
                              "not fit"),
              std::string::npos)
        << Everything(result);
  }
}

TEST_F(Train, VerifyComparesNumbersOfProcesses) {
  const ProcessResult result = RunProcess(
      {.argv = {SyncbnProgram(), "verify", run_file_.string(), "--processes", "1,2,3", "--steps", "6"},
       .timeout = seconds(120)});
  EXPECT_EQ(result.status, 0) << Everything(result);
  EXPECT_NE(result.out.find("identical: every parameter and running statistic after each of 6 steps, on "
                            "1, 2, 3 processes"),
            std::string::npos)
      << Everything(result);
}

TEST_F(Train, ReplayPlaysAStepAgainFromTheNearestCheckpoint) {
  ASSERT_EQ(Run(3, "out", {"--set", "train.checkpoint.every_steps=7", "--set",
                            "train.checkpoint.keep=100"}).status, 0);
  const ProcessResult result = RunProcess(
      {.argv = {SyncbnProgram(), "replay", (folder_.path() / "out").string(), "--step", "23"}});
  EXPECT_EQ(result.status, 0) << Everything(result);
  EXPECT_NE(result.out.find("identical to the digest that the run recorded"), std::string::npos)
      << Everything(result);
  EXPECT_NE(result.out.find("from the checkpoint after 21 steps"), std::string::npos) << result.out;
  EXPECT_TRUE(fs::exists(folder_.path() / "out/replay/steps/000023.safetensors"));
  // Little by default, all of it when asked.
  const auto lines = [](const std::string& text) { return std::ranges::count(text, '\n'); };
  EXPECT_LE(lines(result.out), 14) << result.out;
  EXPECT_NE(result.out.find("largest gradient: "), std::string::npos) << result.out;
  const ProcessResult layers =
      RunProcess({.argv = {SyncbnProgram(), "replay", (folder_.path() / "out").string(), "--step",
                           "23", "--layers"}});
  EXPECT_EQ(layers.status, 0) << Everything(layers);
  EXPECT_GT(lines(layers.out), 20) << layers.out;
  EXPECT_NE(layers.out.find("3.body.4      sum with the shortcut, behind ReLU"), std::string::npos)
      << layers.out;
}

TEST_F(Train, ReplayNamesTheFirstValueThatIsNotFinite) {
  // A rate at which a net without normalization diverges within a few steps.
  const ProcessResult run =
      Run(2, "out", {"--set", "model.norm.kind=none", "--set", "train.learning_rate.base=1000", "--set",
                     "train.learning_rate.warmup_epochs=0", "--set", "train.clip_norm=0"});
  ASSERT_EQ(run.status, 12) << Everything(run);
  int64_t bad = -1;
  for (const train::MetricRecord& record : Metrics("out")) {
    if (record.skipped && bad < 0) bad = record.step;
  }
  ASSERT_GE(bad, 1) << "the run did not diverge";
  const ProcessResult result = RunProcess(
      {.argv = {SyncbnProgram(), "replay", (folder_.path() / "out").string(), "--step", std::to_string(bad)}});
  EXPECT_EQ(result.status, 0) << Everything(result);
  EXPECT_NE(result.out.find("first value that is not finite: replica "), std::string::npos)
      << Everything(result);
}

TEST(RealData, TheLenetFileReaches99PercentOnMnistInHalfItsEpochs) {
  const char* data = std::getenv("SYNCBN_TEST_DATA");
  if (data == nullptr) GTEST_SKIP() << "SYNCBN_TEST_DATA is not set";
  TempFolder folder;
  ProcessOptions options = UnderMpirun(
      2, {SyncbnProgram(), "train", SYNCBN_CONFIGS "/lenet-mnist.yaml", "--set",
          "data.path=" + std::string(data) + "/mnist", "--set", "train.epochs=2", "--out",
          (folder.path() / "out").string()});
  options.timeout = seconds(800);  // 40 on two cores to itself
  const ProcessResult result = RunProcess(options);
  ASSERT_EQ(result.status, 0) << result.out << result.err;
  double accuracy = 0;
  for (const train::MetricRecord& record : train::ReadMetrics(folder.path() / "out/metrics.jsonl")) {
    if (record.split == "test") accuracy = record.accuracy.value_or(0);
  }
  EXPECT_GE(accuracy, 0.99);
}

TEST_F(Train, WithoutMpirunNoMpiIsStarted) {
  // A process that calls MPI_Init leaves a session folder of Open MPI behind while it runs; the simplest
  // sign is that it works where MPI cannot start at all.
  ProcessOptions options{.argv = Command("out", {"--set", "train.max_steps=1"})};
  options.environment["OMPI_MCA_btl"] = "no-such-transport";
  options.environment["OMPI_MCA_pml"] = "no-such-transport";
  const ProcessResult result = RunProcess(options);
  EXPECT_EQ(result.status, 0) << Everything(result);
}

}  // namespace
}  // namespace syncbn
