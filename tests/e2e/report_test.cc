// `syncbn train` as a process of a job, with the coordinator played by this process.
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <thread>

#include "app/run/metric_points.h"
#include "base/file.h"
#include "report/reporter.h"
#include "report/spool_reader.h"
#include "tests/report/fake_coordinator.h"
#include "tests/support/in_process_run.h"
#include "tests/support/process.h"
#include "tests/support/small_run.h"
#include "tests/support/temp_folder.h"
#include "train/checkpoint_store.h"
#include "train/metrics.h"

namespace syncbn {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;

class Report : public testing::Test {
 protected:
  Report() {
    coordinator_.Start();
    run_file_ = folder_.path() / "small.yaml";
    WriteFileAtomically(run_file_, SmallRun(4, 8, "global"));
  }
  // 0 processes: without mpirun.
  ProcessOptions Command(int processes, std::vector<std::string> more = {}) const {
    std::vector<std::string> command = {SyncbnProgram(), "train", run_file_.string(), "--out",
                                        Out().string()};
    command.insert(command.end(), more.begin(), more.end());
    ProcessOptions options =
        processes == 0 ? ProcessOptions{.argv = command} : UnderMpirun(processes, command);
    options.environment["SYNCBN_ATTEMPT"] = "a1b2/jobs/17/attempts/2";
    options.environment["SYNCBN_COORDINATOR"] = coordinator_.address();
    options.environment["SYNCBN_TOKEN"] = "secret";
    options.environment["SYNCBN_SPOOL"] = Spool().string();
    options.timeout = seconds(100);
    return options;
  }
  // Options of a run that is still under way when a test has done what it wants.
  static std::vector<std::string> WithoutEnd(std::vector<std::string> more = {}) {
    more.insert(more.end(),
                {"--set", "train.max_steps=1000000", "--set", "train.epochs=1000000"});
    return more;
  }
  fs::path Out() const { return folder_.path() / "out"; }
  fs::path Spool() const { return folder_.path() / "attempt" / "spool"; }

  // The points of metrics.jsonl, in order.
  std::vector<HeardPoint> Expected() const {
    std::vector<HeardPoint> expected;
    for (const train::MetricRecord& record : train::ReadMetrics(Out() / "metrics.jsonl")) {
      for (const report::Point& point : app::PointsOf(record, "running", 0)) {
        expected.push_back({point.name, point.step, point.value});
      }
    }
    return expected;
  }
  std::vector<HeardPoint> Heard() const {
    std::vector<HeardPoint> heard;
    for (const auto& [sequence, point] : coordinator_.rank(0).points) heard.push_back(point);
    return heard;
  }
  std::vector<HeardPoint> Spooled() const {
    std::vector<HeardPoint> spooled;
    report::SpoolReader(Spool(), 0).ReadBatches([&](const v1::MetricBatch& batch) {
      for (int i = 0; i < batch.value_size(); ++i) {
        spooled.push_back({batch.names(batch.name_index(i)), batch.step(i), batch.value(i)});
      }
    });
    return spooled;
  }

  TempFolder folder_;
  FakeCoordinator coordinator_;
  fs::path run_file_;
};

TEST_F(Report, WithTooFewFilesForAConnectionARunEndsWithASentence) {
  ProcessOptions options = Command(0);
  options.argv.insert(options.argv.begin(), {"sh", "-c", "ulimit -n 20; exec \"$@\"", "sh"});
  const ProcessResult result = RunProcess(options);
  EXPECT_EQ(result.status, 2) << result.err;
  EXPECT_NE(result.err.find(
                "a process that reports to a coordinator may have 20 files open, and needs 32 at "
                "least: raise the limit where it is started"),
            std::string::npos)
      << result.err;
}

class ReportAt : public Report, public testing::WithParamInterface<int> {};

TEST_P(ReportAt, EveryFigureOfTheRunArrivesOnce) {
  const ProcessResult result = RunProcess(Command(GetParam()));
  ASSERT_EQ(result.status, 0) << result.out << result.err;
  const std::vector<HeardPoint> expected = Expected();
  // 30 steps of 9 figures, and at least one evaluation.
  ASSERT_GT(expected.size(), 30u * 9);
  EXPECT_EQ(Heard(), expected);
  EXPECT_EQ(coordinator_.rank(0).lost, 0);
  const int processes = std::max(1, GetParam());
  for (int i = 0; i < processes; ++i) {
    const FakeCoordinator::Rank rank = coordinator_.rank(i);
    EXPECT_EQ(rank.authorization, "Bearer secret");
    EXPECT_EQ(rank.registered.rank().attempt(), "jobs/17/attempts/2");
    EXPECT_EQ(rank.registered.processes(), processes);
    EXPECT_EQ(rank.registered.total_steps(), 30);
    ASSERT_EQ(rank.exits.size(), 1u) << "rank " << i;
    const v1::RankExit& exit = rank.exits[0];
    EXPECT_EQ(exit.outcome(), v1::ATTEMPT_OUTCOME_COMPLETED);
    EXPECT_EQ(exit.step(), 30);
    EXPECT_EQ(exit.digest(), coordinator_.rank(0).exits[0].digest());
    EXPECT_EQ(exit.digest().size(), 32u);
    // Signs of life never go back.
    for (size_t k = 1; k < rank.beats.size(); ++k) {
      EXPECT_GE(rank.beats[k].progress(), rank.beats[k - 1].progress());
      EXPECT_GE(rank.beats[k].reduction(), rank.beats[k - 1].reduction());
    }
  }
  EXPECT_EQ(coordinator_.rank(0).exits[0].checkpoint_step(), 30);
  EXPECT_FALSE(fs::exists(Spool())) << "everything was delivered";
  // The attempt that the coordinator named is in the manifest.
  const train::CheckpointStore store({.out = Out()});
  EXPECT_EQ(store.Latest()->manifest.attempt, 2);
}
INSTANTIATE_TEST_SUITE_P(Processes, ReportAt, testing::Values(0, 1, 2));

// metrics.jsonl and the coordinator, as the train command writes them.
class BothSinks : public train::MetricSink {
 public:
  BothSinks(const fs::path& file, report::Reporter& reporter)
      : file_({.path = file}), reporter_(reporter) {}
  void Write(const train::MetricRecord& record) override {
    file_.Write(record);
    reporter_.Add(app::PointsOf(record, "running", 0));
  }
  void Flush() override { file_.Flush(); }

 private:
  train::JsonlSink file_;
  report::Reporter& reporter_;
};

TEST_F(Report, AFigureOfANewNameIsInMetricsJsonlAndASeriesOfTheJob) {
  report::Reporter reporter({.settings = {.coordinator = coordinator_.address(),
                                          .attempt = "jobs/17/attempts/2",
                                          .spool = Spool()}});
  fs::create_directories(Out());
  BothSinks sink(Out() / "metrics.jsonl", reporter);
  v1::RunSpec spec = RunSpecFromYaml(SmallRun(4, 8, "global"));
  spec.mutable_train()->set_max_steps(3);
  RunInProcess(spec, {.processes = 2, .adjust = [&](int process, train::TrainerOptions& options) {
                        options.evaluate = true;
                        if (process > 0) return;
                        options.metrics = &sink;
                        options.more_figures = [](const train::MetricRecord& record) {
                          const double value =
                              record.split == "test" ? -1 : 0.5 + 2 * static_cast<double>(record.step);
                          return train::NamedFigures{{"noise_scale", value}};
                        };
                      }});
  v1::RankExit exit;
  exit.set_outcome(v1::ATTEMPT_OUTCOME_COMPLETED);
  ASSERT_TRUE(reporter.Finish(exit, seconds(60)).exit_delivered);

  EXPECT_EQ(Heard(), Expected());
  std::map<std::string, std::map<int64_t, double>> series;
  for (const HeardPoint& point : Heard()) series[point.name][point.step] = point.value;
  EXPECT_EQ(series["train/noise_scale"], (std::map<int64_t, double>{{0, 0.5}, {1, 2.5}, {2, 4.5}}));
  EXPECT_EQ(series["test/noise_scale"], (std::map<int64_t, double>{{2, -1}}));
  EXPECT_NE(ReadFile(Out() / "metrics.jsonl").find(R"("figures":{"noise_scale":2.5})"),
            std::string::npos);
}

TEST_F(Report, WithoutACoordinatorTheRunEndsAsEverAndTheSpoolHoldsEverything) {
  coordinator_.Kill();
  const ProcessResult result = RunProcess(Command(2));
  ASSERT_EQ(result.status, 0) << result.out << result.err;
  EXPECT_NE(result.err.find("could not tell the coordinator"), std::string::npos) << result.err;
  EXPECT_EQ(Spooled(), Expected());
  EXPECT_EQ(report::SpooledRanks(Spool()), (std::vector<int>{0, 1}));
  for (const int rank : {0, 1}) {
    const auto exit = report::SpoolReader(Spool(), rank).ReadExit();
    ASSERT_TRUE(exit);
    EXPECT_EQ(exit->outcome(), v1::ATTEMPT_OUTCOME_COMPLETED);
  }
}

TEST_F(Report, ACoordinatorThatComesBackInTheMiddleHearsEverythingOnce) {
  coordinator_.Kill();
  Process process(Command(2, {"--set", "train.max_steps=400"}));
  const auto metrics = Out() / "metrics.jsonl";
  const auto end = std::chrono::steady_clock::now() + seconds(60);
  while (!fs::exists(metrics) || fs::file_size(metrics) < 2000) {
    ASSERT_LT(std::chrono::steady_clock::now(), end);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  coordinator_.Start();
  const ProcessResult result = process.Wait();
  ASSERT_EQ(result.status, 0) << result.out << result.err;
  EXPECT_EQ(Heard(), Expected());
  EXPECT_EQ(coordinator_.rank(1).exits.size(), 1u);
}

TEST_F(Report, AskedToPauseAllRanksLeaveAtOneStepWithACheckpoint) {
  coordinator_.desired = v1::Job::PAUSE;
  const ProcessResult result = RunProcess(Command(2, WithoutEnd()));
  EXPECT_EQ(result.status, 75) << result.out << result.err;
  const v1::RankExit exit = coordinator_.rank(0).exits.at(0);
  EXPECT_EQ(exit.outcome(), v1::ATTEMPT_OUTCOME_STOPPED);
  EXPECT_EQ(exit.checkpoint_step(), exit.step());
  EXPECT_EQ(coordinator_.rank(1).exits.at(0).step(), exit.step());
  EXPECT_EQ(coordinator_.rank(1).exits.at(0).digest(), exit.digest());
  EXPECT_TRUE(fs::exists(train::CheckpointStore({.out = Out()}).FolderOf(exit.step())));
}

TEST_F(Report, SupersededOrKilledItLeavesAtOnceWithoutACheckpoint) {
  for (const bool killed : {false, true}) {
    Process process(Command(
        0, WithoutEnd({"--overwrite", "--set", "train.checkpoint={every_epochs: 0}"})));
    ASSERT_TRUE(coordinator_.WaitFor(0, [](const auto& rank) {
      return rank.acknowledged > 0 && rank.beats.size() > 0 && rank.beats.back().step() > 0;
    })) << process.Err();
    if (killed) {
      coordinator_.superseded = false;
      coordinator_.desired = v1::Job::KILL;
    } else {
      coordinator_.superseded = true;
    }
    const ProcessResult result = process.Wait();
    EXPECT_EQ(result.status, 76) << result.out << result.err;
    EXPECT_NE(result.err.find("leaving at once"), std::string::npos) << result.err;
    EXPECT_TRUE(train::CheckpointStore({.out = Out()}).Steps().empty());
    coordinator_.superseded = false;
    coordinator_.Restore(0, 0);
  }
}

TEST_F(Report, AFailingRankSaysWhyAndItsPeerThatItWasNotTheFirst) {
  const ProcessResult result = RunProcess(Command(2, {"--fault", "throw@step=5,replica=3"}));
  EXPECT_NE(result.status, 0);
  // Either was delivered, or is in the spool where mpirun was faster.
  auto exit_of = [&](int rank) {
    const auto exits = coordinator_.rank(rank).exits;
    if (!exits.empty()) return exits[0];
    return report::SpoolReader(Spool(), rank).ReadExit().value_or(v1::RankExit());
  };
  const v1::RankExit failed = exit_of(1), peer = exit_of(0);
  EXPECT_EQ(failed.outcome(), v1::ATTEMPT_OUTCOME_FAILED) << result.err;
  EXPECT_FALSE(failed.caused_by_peer());
  EXPECT_FALSE(failed.error_code().empty());
  EXPECT_FALSE(failed.message().empty());
  EXPECT_GT(failed.frames_size(), 0);
  EXPECT_EQ(failed.step(), 5);
  EXPECT_EQ(peer.outcome(), v1::ATTEMPT_OUTCOME_FAILED) << result.err;
  EXPECT_TRUE(peer.caused_by_peer()) << peer.message();
}

TEST_F(Report, AStalledRankIsNamedByTheOneThatWaitsForIt) {
  Process process(Command(2, {"--fault", "stall@step=5,replica=3", "--set",
                              "cluster.stall_timeout=3"}));
  ASSERT_TRUE(coordinator_.WaitFor(0, [](const auto& rank) {
    return !rank.beats.empty() && rank.beats.back().step() == 5 &&
           !rank.beats.back().reduction_name().empty();
  })) << process.Err();
  const v1::HeartbeatRequest waiting = coordinator_.rank(0).beats.back();
  EXPECT_EQ(waiting.phase(), "train");
  EXPECT_GT(waiting.reduction(), 0);
  EXPECT_FALSE(waiting.reduction_name().empty());
  EXPECT_GT(waiting.epoch(), 0);
  ASSERT_TRUE(coordinator_.WaitFor(1, [](const auto& rank) { return !rank.beats.empty(); }));
  EXPECT_NE(process.Wait().status, 0);
  // The stalled one is behind, also in what was heard last.
  EXPECT_LT(coordinator_.rank(1).beats.back().reduction(),
            coordinator_.rank(0).beats.back().reduction());
  const auto exits = coordinator_.rank(0).exits;
  const v1::RankExit exit = exits.empty()
                                ? report::SpoolReader(Spool(), 0).ReadExit().value()
                                : exits[0];
  EXPECT_EQ(exit.error_code(), "DEADLINE_EXCEEDED");
  ASSERT_EQ(exit.missing_ranks_size(), 1) << exit.message();
  EXPECT_EQ(exit.missing_ranks(0), 1);
  EXPECT_NE(exit.operation(), "");
  EXPECT_NE(exit.activity(), "");
}

TEST_F(Report, AnAttemptThatALaterOneHasTakenOverWritesNoCheckpointAndLeaves) {
  Process process(Command(0, WithoutEnd({"--set", "train.checkpoint={every_epochs: 0}"})));
  ASSERT_TRUE(coordinator_.WaitFor(0, [](const auto& rank) {
    return !rank.beats.empty() && rank.beats.back().step() > 0;
  })) << process.Err();
  train::CheckpointStore({.out = Out()}).Claim(3);
  process.Signal(SIGUSR1);
  const ProcessResult result = process.Wait();
  EXPECT_EQ(result.status, 76) << result.err;
  EXPECT_NE(result.err.find("attempt 3 of this run has taken over"), std::string::npos)
      << result.err;
  EXPECT_TRUE(train::CheckpointStore({.out = Out()}).Steps().empty());
  EXPECT_FALSE(coordinator_.rank(0).exits.at(0).caused_by_peer());
}

TEST_F(Report, AWrongRunFileIsReportedAsThat) {
  const ProcessResult result = RunProcess(Command(0, {"--set", "train.epochs=-1"}));
  EXPECT_EQ(result.status, 2);
  const v1::RankExit exit = coordinator_.rank(0).exits.at(0);
  EXPECT_EQ(exit.outcome(), v1::ATTEMPT_OUTCOME_FAILED);
  EXPECT_EQ(exit.error_code(), "INVALID_ARGUMENT");
  EXPECT_NE(exit.message().find("train.epochs"), std::string::npos) << exit.message();
}

TEST_F(Report, WhatAKilledRankHadMeasuredIsNotLost) {
  // With a checkpoint after every step: what came before one is on disk.
  RunProcess(Command(1, {"--fault", "kill@step=20,replica=3", "--set",
                         "train.checkpoint.every_steps=1"}));
  std::vector<HeardPoint> got = Heard();
  const auto acknowledged = static_cast<int64_t>(got.size());
  int64_t last = 0;
  report::SpoolReader(Spool(), 0).ReadBatches([&](const v1::MetricBatch& batch) {
    for (int i = 0; i < batch.value_size(); ++i) {
      if (last = batch.first_sequence() + i; last <= acknowledged) continue;
      got.push_back({batch.names(batch.name_index(i)), batch.step(i), batch.value(i)});
    }
  });
  const std::vector<HeardPoint> expected = Expected();
  EXPECT_GT(expected.size(), 20u * 9);
  EXPECT_EQ(got, expected);
}

TEST_F(Report, AWorkerDiesWithTheProcessThatStartedIt) {
  ProcessOptions options = Command(0, {"--fault", "stall@step=3,replica=0"});
  std::string line;
  for (const std::string& argument : options.argv) line += "'" + argument + "' ";
  options.argv = {"/bin/sh", "-c", line + "& echo pid $! end; wait"};
  Process launcher(options);
  ASSERT_TRUE(launcher.WaitForText(" end", seconds(60)));
  ASSERT_TRUE(coordinator_.WaitFor(0, [](const auto& rank) {
    return !rank.beats.empty() && rank.beats.back().step() == 3;
  })) << launcher.Err();
  const std::string out = launcher.Out();
  const int worker = std::atoi(out.c_str() + out.find("pid ") + 4);
  ASSERT_GT(worker, 1) << out;
  launcher.Signal(SIGKILL);
  const auto end = std::chrono::steady_clock::now() + seconds(60);
  auto gone = [&] {
    try {
      const std::string stat = ReadFile("/proc/" + std::to_string(worker) + "/stat");
      return stat.find(") Z") != std::string::npos;
    } catch (const Error&) {
      return true;
    }
  };
  while (!gone() && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_TRUE(gone());
  launcher.Wait();
}

TEST_F(Report, ACoordinatorWithoutAJobIsRefused) {
  const ProcessResult result = RunProcess({.argv = {SyncbnProgram(), "train", run_file_.string(),
                                                    "--coordinator", coordinator_.address()}});
  EXPECT_EQ(result.status, 2);
  EXPECT_NE(result.err.find("submit it with 'syncbn submit RUN.yaml'"), std::string::npos)
      << result.err;
}

}  // namespace
}  // namespace syncbn
