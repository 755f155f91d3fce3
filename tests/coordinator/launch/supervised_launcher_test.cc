// The launchers `local` and `hosts` with real supervisors and real mpirun, as a coordinator uses
// them, also after a death at every moment of a start.
#include "coordinator/launch/supervised_launcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "base/host.h"
#include "coordinator/job/classify.h"
#include "coordinator/launch/process.h"
#include "tests/coordinator/launch/launcher_fixture.h"

namespace syncbn::coordinator {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

TEST_F(SupervisedLauncherTest, AJobRunsToItsEndAndItsEndStays) {
  launcher().Start(request);
  const v1::ExitRecord exit = WaitForEnd();
  EXPECT_EQ(exit.exit_code(), 0) << exit.output_tail();
  EXPECT_THAT(exit.output_tail(), HasSubstr("1: rank 1 of 2 is up\n"));
  EXPECT_EQ(WaitForEnd().SerializeAsString(), exit.SerializeAsString());
  EXPECT_GT(exit.run_time().seconds() * 1'000'000'000 + exit.run_time().nanos(), 1'000'000);
  const auto mode = std::filesystem::status(request.attempt.folder).permissions();
  EXPECT_EQ(mode, std::filesystem::perms::owner_all) << "the token is in there";
}

TEST_F(SupervisedLauncherTest, VariablesReachTheWorkersAndTheCommandLineDoesNotShowThem) {
  request.request.processes = 1;
  request.placement = {{"localhost", 1}};
  request.program = {
      "/bin/sh", "-c",
      "echo token=$SYNCBN_TOKEN marker=$SYNCBN_ATTEMPT; tr '\\0' ' ' < /proc/$PPID/cmdline"};
  request.environment = {"SYNCBN_TOKEN=geheim"};
  launcher().Start(request);
  const std::string log = WaitForEnd().output_tail();
  EXPECT_THAT(log, HasSubstr("0: token=geheim marker=" + request.marker + "\n"));
  const size_t command = log.find("mpirun");
  ASSERT_NE(command, std::string::npos);
  EXPECT_EQ(log.find("geheim", command), std::string::npos);
}

TEST_F(SupervisedLauncherTest, WhatTheOperatorSetsForMpiReachesMpirunAndItsRanks) {
  request.request.processes = 1;
  request.placement = {{"localhost", 1}};
  request.program = {"/bin/sh", "-c",
                     "echo $UCX_LOG_LEVEL $OMPI_MCA_syncbn_test; tr '\\0' '\\n' < /proc/$PPID/environ"};
  ::setenv("UCX_LOG_LEVEL", "error", 1);
  ::setenv("OMPI_MCA_syncbn_test", "7", 1);
  launcher().Start(request);
  ::unsetenv("UCX_LOG_LEVEL");
  ::unsetenv("OMPI_MCA_syncbn_test");
  const v1::ExitRecord exit = WaitForEnd();
  const std::string log = ReadFile(request.attempt.folder / "output.log");
  EXPECT_THAT(log, HasSubstr("0: error 7\n"));
  EXPECT_THAT(log, HasSubstr("0: OMPI_MCA_syncbn_test=7\n")) << "of mpirun";
}

// Supervisors are children of the process that adopts orphans.
TEST(Strays, AreReapedAndCommandsKeepTheirOwnEnds) {
  AdoptOrphans();
  std::atomic<bool> stop = false;
  std::atomic<int> reaped = 0;
  std::thread reaper([&] {
    while (!stop) {
      reaped += ReapStrays();
      std::this_thread::sleep_for(milliseconds(1));
    }
  });
  for (int i = 0; i < 20; ++i) {
    const CommandResult result =
        RunCommand({"/bin/sh", "-c", "setsid sh -c 'exit 3' & exit 7"}, milliseconds(60'000));
    EXPECT_EQ(result.exit_code, 7);
    EXPECT_FALSE(result.timed_out);
  }
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (reaped < 20 && std::chrono::steady_clock::now() < end) std::this_thread::sleep_for(milliseconds(5));
  stop = true;
  reaper.join();
  EXPECT_EQ(reaped, 20);
  ::prctl(PR_SET_CHILD_SUBREAPER, 0);
}

TEST_F(SupervisedLauncherTest, ACoordinatorThatIsStartedAnewAdoptsTheAttemptAndCanStopIt) {
  request.program = {kWorker, "wait"};
  launcher().Start(request);
  launcher_.reset();
  EXPECT_EQ(launcher().Observe(request.attempt).kind, Observation::Kind::kAlive);
  WaitForLog("rank 1 of 2 is up");
  launcher().Stop(request.attempt, StopLevel::kGraceful, "cancelled by anna");
  const v1::ExitRecord exit = WaitForEnd();
  EXPECT_EQ(exit.cause(), v1::ExitRecord::STOPPED);
  EXPECT_EQ(Classify(exit, {}, 2, 1).outcome, AttemptOutcome::kStopped);
  EXPECT_THAT(exit.output_tail(), HasSubstr("0: rank 0 leaves\n"));
}

TEST_F(SupervisedLauncherTest, AnAttemptThatWasRecordedButNeverStartedIsFencedOff) {
  const Observation seen = launcher().Observe(request.attempt);
  ASSERT_EQ(seen.kind, Observation::Kind::kEnded);
  EXPECT_TRUE(Classify(*seen.exit, {}, 2, 1).never_ran);
  // The start that was on its way when the coordinator died comes too late.
  EXPECT_THROW(launcher().Start(request), Error);
  EXPECT_TRUE(FindMarked(request.marker).empty());
}

TEST_F(SupervisedLauncherTest, WhenTheSupervisorIsKilledTheAttemptIsClosedWithEverythingInIt) {
  request.program = {kWorker, "ignore"};
  launcher().Start(request);
  WaitForLog("rank 1 of 2 is up");
  ::kill(static_cast<pid_t>(SupervisorPid()), SIGKILL);
  const v1::ExitRecord exit = WaitForEnd();
  EXPECT_EQ(exit.cause(), v1::ExitRecord::SUPERVISOR_LOST);
  EXPECT_THAT(exit.message(), HasSubstr("its supervisor (process "));
  EXPECT_TRUE(FindMarked(request.marker).empty());
  EXPECT_EQ(Classify(exit, {}, 2, 1).failure->failure_class, FailureClass::kInfra);
  EXPECT_FALSE(std::filesystem::exists(ScratchOf(request.marker).disk));
  EXPECT_FALSE(std::filesystem::exists(ScratchOf(request.marker).memory));
}

TEST_F(SupervisedLauncherTest, AFrozenSupervisorIsEndedByForceWithAllItHolds) {
  request.program = {kWorker, "ignore"};
  launcher().Start(request);
  WaitForLog("rank 1 of 2 is up");
  ::kill(static_cast<pid_t>(SupervisorPid()), SIGSTOP);
  launcher().Stop(request.attempt, StopLevel::kKill, "test");
  EXPECT_EQ(launcher().Observe(request.attempt).kind, Observation::Kind::kAlive);
  const Observation seen = launcher().Force(request.attempt);
  EXPECT_EQ(seen.kind, Observation::Kind::kEnded);
  EXPECT_TRUE(FindMarked(request.marker).empty());
}

// TMPDIR of this process, and of the supervisors it starts, is a folder that is gone.
class GoneTemporaryFolder {
 public:
  explicit GoneTemporaryFolder(const std::filesystem::path& gone) {
    if (const char* value = std::getenv("TMPDIR")) before_ = value;
    ::setenv("TMPDIR", gone.c_str(), 1);
  }
  ~GoneTemporaryFolder() {
    if (before_) {
      ::setenv("TMPDIR", before_->c_str(), 1);
    } else {
      ::unsetenv("TMPDIR");
    }
  }

 private:
  std::optional<std::string> before_;
};

TEST_F(SupervisedLauncherTest, ATemporaryFolderThatIsGoneKeepsNoJobFromRunningAndIsWarnedOf) {
  const GoneTemporaryFolder gone(folder.path() / "gone");
  launcher().Start(request);
  const v1::ExitRecord exit = WaitForEnd();
  EXPECT_EQ(exit.exit_code(), 0) << exit.output_tail();
  EXPECT_THAT(exit.output_tail(),
              HasSubstr("syncbn: warning: TMPDIR of the coordinator is no folder"));
  EXPECT_FALSE(std::filesystem::exists(ScratchOf(request.marker).disk));
}

TEST_F(SupervisedLauncherTest, ATemporaryFolderThatIsGoneKeepsNoAttemptFromBeingClosed) {
  request.program = {kWorker, "ignore"};
  launcher().Start(request);
  WaitForLog("rank 1 of 2 is up");
  ::kill(static_cast<pid_t>(SupervisorPid()), SIGKILL);
  const ScratchFolders scratch = ScratchOf(request.marker);
  {
    const GoneTemporaryFolder gone(folder.path() / "gone");
    EXPECT_EQ(WaitForEnd().cause(), v1::ExitRecord::SUPERVISOR_LOST);
  }
  std::filesystem::remove_all(scratch.disk);
}

TEST_F(SupervisedLauncherTest, DamagedWordsInItsFolderKeepNoAttemptFromBeingClosed) {
  for (const char* file : {"exit.json", "attempt.json", "supervisor.json"}) {
    request.attempt.folder = folder.path() / file;
    launcher().Start(request);
    WaitForEnd();
    if (file != std::string("exit.json"))
      std::filesystem::remove(request.attempt.folder / "exit.json");
    WriteFileAtomically(request.attempt.folder / file, "{half a rec");
    const v1::ExitRecord exit = WaitForEnd();
    EXPECT_EQ(exit.cause(), v1::ExitRecord::SUPERVISOR_LOST) << file;
    EXPECT_EQ(exit.marker(), request.marker) << file;
    if (file != std::string("exit.json")) {
      EXPECT_THAT(exit.message(), HasSubstr("is damaged"));
    }
  }
}

TEST_F(SupervisedLauncherTest, RanksAreSeenToWorkAndSeenToBeFrozen) {
  request.program = {"/bin/sh", "-c", "while :; do :; done"};
  request.request.processes = 1;
  request.placement = {{"localhost", 1}};
  launcher().Start(request);
  const auto look = [&] { return launcher().LookAtRanks(request.attempt).value(); };
  const auto wait_for = [&](const std::function<bool()>& condition) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!condition() && std::chrono::steady_clock::now() < end)
      std::this_thread::sleep_for(milliseconds(10));
    return condition();
  };
  ASSERT_TRUE(wait_for([&] { return look().ranks == 1; }));
  const RankActivity first = look();
  EXPECT_TRUE(wait_for([&] { return look().processor_time > first.processor_time; }));
  for (const MarkedProcess& rank : RanksOf(FindMarked(request.marker)))
    SignalMarked(rank.pid, request.marker, SIGSTOP);
  std::this_thread::sleep_for(milliseconds(50));
  const RankActivity frozen = look();
  std::this_thread::sleep_for(milliseconds(200));
  EXPECT_EQ(look(), frozen);
  launcher().Stop(request.attempt, StopLevel::kKill, "test");
  WaitForEnd();
}

// Until no process has this folder in its command line.
void WaitUntilNoneNames(const std::filesystem::path& folder) {
  const auto there = [&] {
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
      try {
        if (ReadFile(entry.path() / "cmdline").find(folder.string()) != std::string::npos) return true;
      } catch (const Error&) {
        // Not a process, or it has just ended.
      }
    }
    return false;
  };
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(90);
  while (there()) {
    ASSERT_TRUE(std::chrono::steady_clock::now() < end) << "somebody is still busy with " << folder;
    std::this_thread::sleep_for(milliseconds(10));
  }
}

// A coordinator that dies at any moment of Start: its successor finds the attempt running or closes
// it, and it never runs twice or unseen.
TEST_F(SupervisedLauncherTest,
       ACoordinatorThatDiesAtAnyMomentOfAStartLeavesAnAttemptThatIsFoundOrNeverRuns) {
  const LaunchRequest base = request;
  int alive = 0, never = 0;
  for (int round = 0; round < 12; ++round) {
    request.attempt.folder = folder.path() / ("round" + std::to_string(round));
    request.marker = base.marker + "/" + std::to_string(round);
    request.program = {"/bin/sh", "-c",
                       "echo started >> " +
                           (folder.path() / ("ran" + std::to_string(round))).string() +
                           "; sleep 60"};
    request.request.processes = 1;
    request.placement = {{"localhost", 1}};
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      SupervisedLauncher starting(options);
      starting.Start(request);
      ::_exit(0);
    }
    std::this_thread::sleep_for(milliseconds(round * round * 3));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    const Observation seen = launcher().Observe(request.attempt);
    if (seen.kind == Observation::Kind::kAlive) {
      ++alive;
      launcher().Stop(request.attempt, StopLevel::kKill, "test");
      EXPECT_EQ(WaitForEnd().cause(), v1::ExitRecord::STOPPED);
    } else {
      ++never;
      ASSERT_EQ(seen.kind, Observation::Kind::kEnded);
      EXPECT_EQ(seen.exit->cause(), v1::ExitRecord::NEVER_RAN);
      // A supervisor that was just being started meets the closed attempt.
      WaitUntilNoneNames(request.attempt.folder);
      EXPECT_FALSE(std::filesystem::exists(folder.path() / ("ran" + std::to_string(round))));
    }
    EXPECT_TRUE(FindMarked(request.marker).empty());
  }
  std::printf("%d were found running, %d never ran\n", alive, never);
  request = base;
}

TEST_F(SupervisedLauncherTest, AMissingMpirunFailsAtOnceAndInItsClass) {
  options.mpirun.mpirun = "no-such-mpirun";
  launcher().Start(request);
  const Verdict verdict = Classify(WaitForEnd(), {}, 2, 1);
  EXPECT_EQ(verdict.failure->failure_class, FailureClass::kConfig);
  EXPECT_THAT(verdict.failure->message, HasSubstr("cannot run no-such-mpirun in "));
}

TEST_F(SupervisedLauncherTest, AMissingProgramFailsInItsClass) {
  request.program = {"/no/such/syncbn"};
  launcher().Start(request);
  const Verdict verdict = Classify(WaitForEnd(), {}, 2, 1);
  EXPECT_EQ(verdict.failure->failure_class, FailureClass::kConfig) << verdict.failure->message;
}

TEST_F(SupervisedLauncherTest, AKilledRankEndsTheAttemptAndIsNamed) {
  request.program = {kWorker, "kill"};
  launcher().Start(request);
  const Verdict verdict = Classify(WaitForEnd(), {}, 2, 1);
  EXPECT_EQ(verdict.failure->failure_class, FailureClass::kInfra);
  EXPECT_EQ(verdict.failure->rank, 1);
  EXPECT_EQ(verdict.failure->signal, SIGKILL);
}

TEST_F(SupervisedLauncherTest, EveryOtherEndOfARankIsReadRightFromRealMpirun) {
  const LaunchRequest base = request;
  const std::vector<std::tuple<std::vector<std::string>, FailureClass, std::string>> cases = {
      {{"segv"}, FailureClass::kUser, "rank 1 on " + HostName() + " was ended by SIGSEGV"},
      {{"exit", "3"}, FailureClass::kUser, "rank 1 left with exit code 3"},
      {{"abort", "42"}, FailureClass::kUser, "rank 1 called MPI_Abort with code 42"},
      {{"leave"}, FailureClass::kUser, "rank 1 on " + HostName() + " left without MPI_Finalize"},
  };
  for (const auto& [arguments, failure_class, message] : cases) {
    request.attempt.folder = folder.path() / arguments[0];
    request.program = {kWorker};
    request.program.insert(request.program.end(), arguments.begin(), arguments.end());
    launcher().Start(request);
    const v1::ExitRecord exit = WaitForEnd();
    const Verdict verdict = Classify(exit, {}, 2, 1);
    ASSERT_TRUE(verdict.failure.has_value()) << arguments[0];
    EXPECT_EQ(verdict.failure->failure_class, failure_class)
        << arguments[0] << ": " << exit.output_tail();
    // mpirun loses its own message about an MPI_Abort now and then; the class is the same.
    if (arguments[0] != "abort" || exit.launcher_text().find("MPI_ABORT") != std::string::npos) {
      EXPECT_EQ(verdict.failure->message, message);
    }
  }
  request = base;
}

}  // namespace
}  // namespace syncbn::coordinator
