// The launcher `slurm` with a real Slurm on this machine, started and ended by the test; skipped
// where Slurm is not installed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "coordinator/job/classify.h"
#include "coordinator/launch/slurm_launcher.h"
#include "tests/coordinator/launch/rank_text.h"
#include "tests/coordinator/launch/slurm_cluster.h"

namespace syncbn::coordinator {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;

const std::string kTool = std::string(TEST_BIN) + "/coordinator_supervise_tool";
const std::string kWorker = std::string(TEST_BIN) + "/coordinator_mpi_worker";

// One attempt.
struct Attempt {
  explicit Attempt(const std::filesystem::path& folder, std::vector<std::string> program) {
    static int count = 0;
    request.attempt = {.id = {++count, 1}, .folder = folder / ("job " + std::to_string(count))};
    request.marker = "slurm" + std::to_string(::getpid()) + "/" + AttemptName(count, 1);
    request.request = {.job = count, .processes = 2};
    request.program = std::move(program);
    request.working_folder = folder;
    request.ladder = {.ask = milliseconds(300),
                      .checkpoint = seconds(3),
                      .terminate = seconds(30),
                      .launcher = seconds(5)};
  }
  AttemptFolder Folder() const { return AttemptFolder(request.attempt.folder); }
  std::string Logs() const {
    std::string text;
    for (const char* name : {"output.log", "supervisor.log", "slurm.log"}) {
      const auto file = request.attempt.folder / name;
      if (std::filesystem::exists(file)) text += std::string(name) + ":\n" + ReadFile(file);
    }
    return text;
  }

  LaunchRequest request;
};

class SlurmTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (SlurmCluster::Missing().empty()) cluster_ = std::make_unique<SlurmCluster>();
  }
  static void TearDownTestSuite() { cluster_.reset(); }
  void SetUp() override {
    if (!cluster_) GTEST_SKIP() << SlurmCluster::Missing();
    settings.supervise = {kTool, "supervise"};
    settings.program = kTool;
  }
  void TearDown() override {
    for (const std::string& marker : markers_) {
      EXPECT_TRUE(FindMarked(marker).empty()) << "processes were left";
      Sweep(marker, seconds(3));
    }
  }

  SlurmLauncher Launcher() {
    return SlurmLauncher(
        {.settings = settings, .record_time = seconds(1), .retry_time = milliseconds(500)});
  }
  Attempt Make(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), kWorker);
    Attempt attempt(folder.path(), std::move(arguments));
    markers_.push_back(attempt.request.marker);
    return attempt;
  }
  // A new launcher each time, as after a restart of the coordinator; but one for a whole wait, as it counts how long it
  // has waited for a record itself.
  Observation WaitFor(const Attempt& attempt, Observation::Kind kind) {
    SlurmLauncher launcher = Launcher();
    const auto end = std::chrono::steady_clock::now() + seconds(90);
    Observation seen;
    while (std::chrono::steady_clock::now() < end) {
      seen = launcher.Observe(attempt.request.attempt);
      if (seen.kind == kind) return seen;
      if (seen.kind == Observation::Kind::kEnded) break;
      std::this_thread::sleep_for(milliseconds(100));
    }
    ADD_FAILURE() << "was last seen as " << static_cast<int>(seen.kind) << " " << seen.detail
                  << (seen.exit ? seen.exit->DebugString() : "") << "\n"
                  << attempt.Logs() << cluster_->Ask({"squeue", "--states=all"});
    if (!seen.exit) seen.exit.emplace();
    return seen;
  }
  v1::ExitRecord WaitForEnd(const Attempt& attempt) {
    return *WaitFor(attempt, Observation::Kind::kEnded).exit;
  }
  void WaitForLog(const Attempt& attempt, const std::string& text) {
    const auto file = attempt.Folder().output_log();
    const auto end = std::chrono::steady_clock::now() + seconds(60);
    while (!std::filesystem::exists(file) || ReadFile(file).find(text) == std::string::npos) {
      ASSERT_TRUE(std::chrono::steady_clock::now() < end)
          << "the log never said: " << text << "\n" << attempt.Logs();
      std::this_thread::sleep_for(milliseconds(50));
    }
  }
  std::string Number(const Attempt& attempt) {
    std::string text = ReadFile(attempt.request.attempt.folder / "slurm_job");
    return text.substr(0, text.find('\n'));
  }

  static std::unique_ptr<SlurmCluster> cluster_;
  TempFolder folder;
  SlurmSettings settings;
  std::vector<std::string> markers_;
};

std::unique_ptr<SlurmCluster> SlurmTest::cluster_;

TEST_F(SlurmTest, AJobRunsToItsEnd) {
  const Attempt attempt = Make({"ok"});
  Launcher().Start(attempt.request);
  const v1::ExitRecord exit = WaitForEnd(attempt);
  EXPECT_EQ(exit.cause(), v1::ExitRecord::ENDED);
  EXPECT_EQ(exit.exit_code(), 0) << attempt.Logs();
  EXPECT_THAT(exit.output_tail(), HasSubstr("1: rank 1 of 2 is up\n"));
  EXPECT_EQ(Classify(exit, {}, 2, 1).outcome, AttemptOutcome::kCompleted);
  EXPECT_EQ(exit.swept_size(), 0) << exit.DebugString();
}

TEST_F(SlurmTest, MpirunSpansTheNodesOfTheAllocation) {
  settings.use_mpirun = true;
  settings.mca = {"btl tcp,self"};  // the two nodes are one machine
  Attempt attempt = Make({"ok"});
  attempt.request.request.max_per_host = 1;
  Launcher().Start(attempt.request);
  const v1::ExitRecord exit = WaitForEnd(attempt);
  EXPECT_EQ(exit.exit_code(), 0) << attempt.Logs();
  EXPECT_THAT(exit.output_tail(), HasSubstr("1: rank 1 of 2 is up\n"));
  EXPECT_EQ(cluster_->Ask({"squeue", "--noheader", "--states=all", "--format=%N",
                           "--jobs=" + Number(attempt)}),
            "n[1-2]\n");
}

TEST_F(SlurmTest, AKilledRankEndsTheAttemptAndIsNamed) {
  const Attempt attempt = Make({"kill"});
  Launcher().Start(attempt.request);
  const Verdict verdict = Classify(WaitForEnd(attempt), {}, 2, 1);
  ASSERT_TRUE(verdict.failure.has_value()) << attempt.Logs();
  EXPECT_EQ(verdict.failure->failure_class, FailureClass::kInfra) << attempt.Logs();
  EXPECT_EQ(verdict.failure->rank, 1);
  EXPECT_EQ(verdict.failure->signal, SIGKILL);
}

TEST_F(SlurmTest, ARankThatFailsIsTheUsersAffairAndAMissingProgramTheConfigurations) {
  const Attempt attempt = Make({"exit", "3"});
  Launcher().Start(attempt.request);
  Attempt missing = Make({});
  missing.request.program = {"/no/such/syncbn"};
  Launcher().Start(missing.request);
  const Verdict verdict = Classify(WaitForEnd(attempt), {}, 2, 1);
  ASSERT_TRUE(verdict.failure.has_value()) << attempt.Logs();
  EXPECT_EQ(verdict.failure->message, "rank 1 on n1 left with exit code 3");
  EXPECT_EQ(verdict.failure->failure_class, FailureClass::kUser);
  const Verdict nothing = Classify(WaitForEnd(missing), {}, 2, 1);
  ASSERT_TRUE(nothing.failure.has_value()) << missing.Logs();
  EXPECT_EQ(nothing.failure->failure_class, FailureClass::kConfig) << missing.Logs();
}

TEST_F(SlurmTest, ANewCoordinatorAdoptsARunningJobAndAWaitingOneAndEndsBoth) {
  Attempt running = Make({"wait"});
  running.request.request.hosts = {"n1"};  // both of its CPUs
  Launcher().Start(running.request);
  // The coordinator died before it could write the number down: the job is found by its name.
  std::filesystem::remove(running.request.attempt.folder / "slurm_job");
  WaitForLog(running, "rank 1 of 2 is up");
  EXPECT_EQ(Launcher().Observe(running.request.attempt).kind, Observation::Kind::kAlive);

  Attempt waiting = Make({"ok"});
  waiting.request.request.hosts = {"n1"};
  Launcher().Start(waiting.request);
  const Observation seen = WaitFor(waiting, Observation::Kind::kWaiting);
  EXPECT_THAT(seen.detail, HasSubstr("Slurm: PENDING ("));
  Launcher().Stop(waiting.request.attempt, StopLevel::kGraceful, "cancelled by anna");
  const v1::ExitRecord cancelled = WaitForEnd(waiting);
  EXPECT_EQ(cancelled.cause(), v1::ExitRecord::STOPPED);
  EXPECT_EQ(Classify(cancelled, {}, 2, 1).outcome, AttemptOutcome::kStopped);

  Launcher().Stop(running.request.attempt, StopLevel::kGraceful, "cancelled by anna");
  const v1::ExitRecord exit = WaitForEnd(running);
  EXPECT_EQ(exit.cause(), v1::ExitRecord::STOPPED);
  EXPECT_EQ(exit.rung(), "terminate") << running.Logs();
  EXPECT_THAT(ReadFile(running.Folder().output_log()), HasSubstr("0: rank 0 writes a checkpoint\n"))
      << "srun passes SIGUSR1 on";
  EXPECT_THAT(exit.output_tail(), HasSubstr("0: rank 0 leaves\n")) << running.Logs();
  EXPECT_EQ(cluster_->Ask({"squeue", "--noheader"}), "");
}

TEST_F(SlurmTest, AFrozenSupervisorIsEndedByForceWithAllItHolds) {
  const Attempt attempt = Make({"ignore"});
  Launcher().Start(attempt.request);
  WaitForLog(attempt, "rank 1 of 2 is up");
  ::kill(static_cast<pid_t>(attempt.Folder().Supervisor()->pid()), SIGSTOP);
  Launcher().Force(attempt.request.attempt);
  const v1::ExitRecord exit = WaitForEnd(attempt);
  EXPECT_EQ(exit.cause(), v1::ExitRecord::SUPERVISOR_LOST);
  EXPECT_EQ(cluster_->Ask({"squeue", "--noheader"}), "");
}

TEST_F(SlurmTest, RanksAreSeenOnTheNodesTheyAreOn) {
  const Attempt attempt = Make({"wait"});
  Launcher().Start(attempt.request);
  WaitForLog(attempt, "rank 1 of 2 is up");
  const auto seen = Launcher().LookAtRanks(attempt.request.attempt);
  ASSERT_TRUE(seen.has_value());
  EXPECT_FALSE(seen->written.has_value()) << "Slurm lets a step in beside theirs";
  EXPECT_EQ(seen->ranks, 2);
  EXPECT_GT(seen->processor_time.count(), 0);
  Launcher().Stop(attempt.request.attempt, StopLevel::kKill, "seen enough");
  WaitForEnd(attempt);
}

TEST_F(SlurmTest, AJobThatSomebodyTakesOutOfSlurmIsNotStartedAgain) {
  const Attempt attempt = Make({"wait"});
  Launcher().Start(attempt.request);
  WaitForLog(attempt, "rank 1 of 2 is up");
  EXPECT_EQ(cluster_->Ask({"scancel", Number(attempt)}), "");
  const v1::ExitRecord exit = WaitForEnd(attempt);
  EXPECT_EQ(exit.batch_state(), "CANCELLED") << exit.DebugString();
  const Verdict verdict = Classify(exit, {}, 2, 1);
  ASSERT_TRUE(verdict.failure.has_value());
  EXPECT_EQ(verdict.failure->failure_class, FailureClass::kCancelled) << verdict.failure->message;
}

TEST_F(SlurmTest, TheWarningBeforeSlurmsTimeLimitLeavesTimeForACheckpoint) {
  const Attempt attempt = Make({"wait"});
  Launcher().Start(attempt.request);
  WaitForLog(attempt, "rank 1 of 2 is up");
  // What Slurm does by itself a minute before the end (sbatch --signal=B:TERM@60).
  EXPECT_EQ(cluster_->Ask({"scancel", "--batch", "--signal=TERM", Number(attempt)}), "");
  const v1::ExitRecord exit = WaitForEnd(attempt);
  EXPECT_EQ(exit.cause(), v1::ExitRecord::HOST_SHUTDOWN);
  EXPECT_THAT(exit.output_tail(), HasSubstr("0: rank 0 leaves\n")) << attempt.Logs();
  EXPECT_EQ(Classify(exit, {}, 2, 1).outcome, AttemptOutcome::kStopped);
}

TEST_F(SlurmTest, EveryByteThatRanksPrintArrivesUnderItsRank) {
  const auto file = folder.path() / "text";
  WriteFileAtomically(file, HardText());
  Attempt attempt = Make({});
  attempt.request.program = {kTool, "print", file};
  Launcher().Start(attempt.request);
  EXPECT_EQ(WaitForEnd(attempt).exit_code(), 0) << attempt.Logs().substr(0, 2000);
  const std::string log = ReadFile(attempt.Folder().output_log());
  for (int rank = 0; rank < 2; ++rank)
    EXPECT_TRUE(PrintedBy(rank, log, {"begins\n"}) == HardText()) << "rank " << rank;
}

TEST_F(SlurmTest, AJobThatSlurmDoesNotTakeNowIsTakenWhenItDoes) {
  EXPECT_EQ(cluster_->Ask({"scontrol", "update", "PartitionName=main", "State=INACTIVE"}), "");
  const Attempt attempt = Make({"ok"});
  Launcher().Start(attempt.request);
  const Observation seen = WaitFor(attempt, Observation::Kind::kWaiting);
  EXPECT_THAT(seen.detail, HasSubstr("Slurm does not take the job now: sbatch: error: "));
  EXPECT_EQ(cluster_->Ask({"scontrol", "update", "PartitionName=main", "State=UP"}), "");
  EXPECT_EQ(WaitForEnd(attempt).exit_code(), 0) << attempt.Logs();
}

// launch/syncbn.sbatch, which needs no coordinator.
TEST_F(SlurmTest, TheBatchScriptTrainsAndGoesBackIntoTheQueueWhenItsTimeIsUp) {
  const auto run_file = folder.path() / "run.yaml", out = folder.path() / "out";
  WriteFileAtomically(run_file,
                      "name: tiny\n"
                      "data: {dataset: shapes, shapes: {train_samples: 32, test_samples: 8}}\n"
                      "model: {architecture: mlp}\n"
                      "cluster: {replicas: 2, batch_per_replica: 8}\n"
                      "train: {epochs: 100000}\n");
  const auto log = folder.path() / "log";
  auto submit = [&](const std::string& more) {
    const std::string number = cluster_->Ask(
        {"sbatch", "--parsable", "--nodelist=n1", "--output=" + log.string(),
         "--export=ALL,SYNCBN=" + SyncbnProgram(), SBATCH_SCRIPT, run_file, "--out", out, more});
    return number.substr(0, number.find('\n'));
  };
  auto wait_for = [&](const std::string& text) {
    const auto end = std::chrono::steady_clock::now() + seconds(60);
    while (!std::filesystem::exists(log) || ReadFile(log).find(text) == std::string::npos) {
      if (std::chrono::steady_clock::now() > end) return false;
      std::this_thread::sleep_for(milliseconds(50));
    }
    return true;
  };
  std::string job = submit("--quiet=false");
  ASSERT_TRUE(wait_for("2 replicas on 2 processes")) << job << ReadFile(log);
  ASSERT_TRUE(wait_for("epoch 1 ")) << ReadFile(log);
  EXPECT_EQ(cluster_->Ask({"scancel", "--batch", "--signal=TERM", job}), "");
  EXPECT_TRUE(wait_for("goes back into the queue")) << ReadFile(log);
  EXPECT_FALSE(std::filesystem::is_empty(out / "checkpoints"));
  EXPECT_EQ(cluster_->Ask({"scancel", job}), "") << "it is in the queue";

  // Slurm would start it again after two minutes.
  std::filesystem::remove(log);
  job = submit("--set=train.max_steps=40");
  EXPECT_TRUE(wait_for("digest ")) << ReadFile(log);
}

TEST_F(SlurmTest, AJobThatSlurmDoesNotWantIsRefusedWithItsReason) {
  const Attempt attempt = Make({"ok"});
  settings.partition = "nope";
  try {
    Launcher().Start(attempt.request);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    EXPECT_THAT(error.message(),
                HasSubstr("Slurm refused the job: sbatch: error: invalid partition specified: nope; "
                          "sbatch: error: Batch job submission failed: "));
  }
  EXPECT_EQ(Launcher().Observe(attempt.request.attempt).exit->cause(), v1::ExitRecord::NEVER_RAN);
}

}  // namespace
}  // namespace syncbn::coordinator
