// The exact command lines of Slurm, what Slurm answers, and what the launcher makes of it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "coordinator/job/classify.h"
#include "coordinator/launch/attempt_folder.h"
#include "coordinator/launch/slurm_answers.h"
#include "coordinator/launch/slurm_launcher.h"
#include "tests/coordinator/launch/command_fixture.h"
#include "tests/support/temp_folder.h"

namespace syncbn::coordinator {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

TEST(SlurmCommands, SbatchSaysEverythingTheJobAskedFor) {
  SlurmSettings settings{
      .partition = "long", .extra = {"--account=a b"}, .supervise = {"/opt/syncbn", "supervise"}};
  LaunchRequest request = MakeRequest({}, 4);
  request.request.processes = 3;
  request.request.memory_mib = 1001;
  request.request.tags = {"avx512", "fast"};
  request.request.hosts = {"n1", "n2"};
  request.request.excluded_hosts = {"n3"};
  request.request.max_per_host = 2;
  request.time_limit = std::chrono::seconds(90);
  EXPECT_EQ(SbatchCommand(settings, request, "/d/batch.sh"),
            Words("sbatch --parsable --no-requeue --export=NONE --job-name=syncbn-01234567-17.2 "
                  "--ntasks=3 --cpus-per-task=4 "
                  "--mem-per-cpu=251M --ntasks-per-node=2 --nodelist=n1,n2 --exclude=n3 "
                  "--constraint=avx512&fast --time=7 "
                  "--signal=B:TERM@60 --partition=long --output=/d/jobs/17/attempts/2/slurm.log "
                  "--account=a~b /d/batch.sh"));
  EXPECT_EQ(SlurmScript(settings, "/d/it's here"),
            "#!/bin/sh\nexec '/opt/syncbn' 'supervise' --foreground --folder '/d/it'\\''s here'\n");
  request.program = {"/p", "x"};
  EXPECT_EQ(SrunCommand(settings, request),
            Words("srun --kill-on-bad-exit=1 --mpi=pmix --label --export=ALL --cpu-bind=none "
                  "--ntasks=3 --cpus-per-task=4 /p x"));
  settings.use_mpirun = true;
  EXPECT_EQ(SrunCommand(settings, request),
            Words("mpirun --tag-output --bind-to none --map-by slot --mca rtc_hwloc_vmhole none "
                  "-np 3 -x SYNCBN_ATTEMPT -x "
                  "SYNCBN_TOKEN -x OMP_NUM_THREADS /p x"));
}

TEST(SlurmCommands, AnswersAreReadAndNonsenseIsNot) {
  EXPECT_EQ(ParseSbatch("1234\n"), 1234);
  EXPECT_EQ(ParseSbatch("1234;cluster\n"), 1234);
  EXPECT_FALSE(ParseSbatch("Submitted batch job 5").has_value());
  EXPECT_FALSE(ParseSbatch("").has_value());
  EXPECT_FALSE(ParseSbatch("12x").has_value());
  const auto jobs =
      ParseSqueue("7|PENDING|Resources|\n8|RUNNING|None|n[1-2]\n9|OUT_OF_MEMORY|None|n1\n");
  ASSERT_EQ(jobs.size(), 3u);
  EXPECT_EQ(jobs[0].phase, SlurmPhase::kWaiting);
  EXPECT_EQ(jobs[0].reason, "Resources");
  EXPECT_EQ(jobs[1].phase, SlurmPhase::kRunning);
  EXPECT_EQ(jobs[1].nodes, "n[1-2]");
  EXPECT_EQ(jobs[2].phase, SlurmPhase::kEnded);
  EXPECT_TRUE(ParseSqueue("").empty());
  EXPECT_THROW(ParseSqueue("slurm_load_jobs error"), Error);
}

// A Slurm whose answers are written down.
class SlurmLauncherTest : public ::testing::Test {
 protected:
  SlurmLauncher MakeLauncher() {
    return SlurmLauncher({.settings = {.supervise = {"/opt/syncbn", "supervise"}},
                          .record_time = milliseconds(300),
                          .retry_time = retry_time,
                          .run = [this](const std::vector<std::string>& command, milliseconds) {
                            commands.push_back(command);
                            if (missing)
                              throw Error(ErrorCode::kNotFound, "cannot run " + command[0]);
                            if (command[0] == "srun") return look;
                            if (command.size() > 2 && command[2] == "--format=%D")
                              return CommandResult{.output = "2\n"};
                            return command[0] == "squeue" ? queue : answer;
                          }});
  }
  // Until its record has been waited for.
  static Observation ObserveEnd(SlurmLauncher& launcher, const AttemptRef& attempt) {
    Observation seen = launcher.Observe(attempt);
    for (int i = 0; i < 500 && seen.kind == Observation::Kind::kAlive; ++i) {
      std::this_thread::sleep_for(milliseconds(10));
      seen = launcher.Observe(attempt);
    }
    return seen;
  }
  LaunchRequest Request() {
    LaunchRequest request = MakeRequest({});
    request.request.processes = 2;
    request.attempt.folder = folder.path() / "2";
    return request;
  }
  AttemptRef Attempt() { return {.id = {17, 2}, .folder = folder.path() / "2"}; }

  int Calls(const std::string& tool) const {
    return static_cast<int>(std::ranges::count_if(
        commands, [&](const std::vector<std::string>& command) { return command[0] == tool; }));
  }

  TempFolder folder;
  milliseconds retry_time{0};
  bool missing = false;
  CommandResult answer{.output = "55\n"};
  CommandResult look{.output = "activity 1 1000\nactivity 1 2500\n"};
  CommandResult queue{.output = "55|RUNNING|None|n1\n"};
  std::vector<std::vector<std::string>> commands;
};

TEST_F(SlurmLauncherTest, TheLifeOfABatchJobIsFollowed) {
  SlurmLauncher launcher = MakeLauncher();
  launcher.Start(Request());
  EXPECT_EQ(ReadFile(folder.path() / "2" / "slurm_job"), "55\n");
  queue.output = "55|PENDING|Resources|\n";
  Observation seen = launcher.Observe(Attempt());
  EXPECT_EQ(seen.kind, Observation::Kind::kWaiting);
  EXPECT_EQ(seen.detail, "Slurm: PENDING (Resources)");
  EXPECT_EQ(commands.back(),
            Words("squeue --noheader --states=all --format=%i|%T|%r|%N --jobs=55"));
  queue.output = "55|RUNNING|None|n1\n";
  EXPECT_EQ(launcher.Observe(Attempt()).kind, Observation::Kind::kAlive);
  v1::ExitRecord exit;
  exit.set_cause(v1::ExitRecord::ENDED);
  AttemptFolder(folder.path() / "2").WriteExit(exit);
  seen = launcher.Observe(Attempt());
  EXPECT_EQ(seen.kind, Observation::Kind::kEnded);
  EXPECT_EQ(seen.exit->cause(), v1::ExitRecord::ENDED);
}

TEST_F(SlurmLauncherTest, RanksAreLookedAtOnAllTheirNodesAndElseByWhatTheyLeaveOnDisk) {
  SlurmLauncher launcher = MakeLauncher();
  launcher.Start(Request());
  EXPECT_EQ(launcher.LookAtRanks(Attempt()),
            (RankActivity{.ranks = 2, .processor_time = std::chrono::microseconds(3500)}));
  EXPECT_EQ(
      commands.back(),
      Words("srun --jobid=55 --overlap --nodes=2 --ntasks=2 --ntasks-per-node=1 "
            "--cpus-per-task=1 --mem=0 --mpi=none --export=NONE --chdir=/ --quiet "
            "--immediate=10 syncbn sweep --marker 0123456789abcdef/jobs/17/attempts/2 --look"));
  // Not all nodes answer, or none, or Slurm does not: then nothing is known of the processes.
  WriteFileAtomically(folder.path() / "2" / "output.log", "1234567");
  const RankActivity by_disk{.written = 7};
  look.output = "activity 1 1000\n";
  EXPECT_EQ(launcher.LookAtRanks(Attempt()), by_disk);
  look = {.exit_code = 1, .error_output = "srun: error: Unable to create step"};
  EXPECT_EQ(launcher.LookAtRanks(Attempt()), by_disk);
  look = {.timed_out = true};
  EXPECT_EQ(launcher.LookAtRanks(Attempt()), by_disk);
  queue.output = "55|COMPLETING|None|n1\n";
  EXPECT_EQ(launcher.LookAtRanks(Attempt()), by_disk);
  // One that Slurm holds can do nothing, and one that Slurm does not know is another look's affair.
  queue.output = "55|SUSPENDED|None|n1\n";
  EXPECT_EQ(launcher.LookAtRanks(Attempt()), std::nullopt);
  queue.output = "";
  EXPECT_EQ(launcher.LookAtRanks(Attempt()), std::nullopt);
}

TEST_F(SlurmLauncherTest, AJobWhoseNumberWasNeverWrittenDownIsFoundByItsName) {
  SlurmLauncher launcher = MakeLauncher();
  launcher.Start(Request());
  std::filesystem::remove(folder.path() / "2" / "slurm_job");
  queue.output = "77|RUNNING|None|n1\n";
  EXPECT_EQ(launcher.Observe(Attempt()).kind, Observation::Kind::kAlive);
  EXPECT_EQ(
      commands.back(),
      Words("squeue --noheader --states=all --format=%i|%T|%r|%N --name=syncbn-01234567-17.2"));
  EXPECT_EQ(ReadFile(folder.path() / "2" / "slurm_job"), "77\n");
}

TEST_F(SlurmLauncherTest, AJobThatSlurmEndedIsClosedWithSlurmsWord) {
  SlurmLauncher launcher = MakeLauncher();
  launcher.Start(Request());
  AttemptFolder(folder.path() / "2").WriteSupervisor({});
  queue.output = "55|OUT_OF_MEMORY|None|n1\n";
  EXPECT_EQ(launcher.Observe(Attempt()).detail,
            "has ended in Slurm; its exit record is waited for");
  Observation seen = ObserveEnd(launcher, Attempt());
  ASSERT_EQ(seen.kind, Observation::Kind::kEnded);
  EXPECT_EQ(seen.exit->cause(), v1::ExitRecord::SUPERVISOR_LOST);
  EXPECT_EQ(seen.exit->batch_state(), "OUT_OF_MEMORY");
  EXPECT_EQ(launcher.Observe(Attempt()).exit->message(),
            "Slurm ended the job: OUT_OF_MEMORY (None)");
}

TEST_F(SlurmLauncherTest, ARecordThatIsSeenLateIsWaitedForAsLongAsANetworkMayHideIt) {
  EXPECT_GE(SlurmLauncher::Options().record_time, std::chrono::seconds(90));
  SlurmLauncher launcher = MakeLauncher();
  launcher.Start(Request());
  AttemptFolder(folder.path() / "2").WriteSupervisor({});
  queue.output = "55|COMPLETED|None|n1\n";
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(launcher.Observe(Attempt()).kind, Observation::Kind::kAlive);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, milliseconds(250)) << "without blocking";
  v1::ExitRecord exit;
  exit.set_cause(v1::ExitRecord::ENDED);
  exit.set_exit_code(0);
  AttemptFolder(folder.path() / "2").WriteExit(exit);
  EXPECT_EQ(launcher.Observe(Attempt()).exit->cause(), v1::ExitRecord::ENDED);
}

TEST_F(SlurmLauncherTest, AJobThatSlurmHasForgottenOrNeverGotNeverRan) {
  SlurmLauncher launcher = MakeLauncher();
  launcher.Start(Request());
  queue = {.exit_code = 1, .error_output = "slurm_load_jobs error: Invalid job id specified\n"};
  EXPECT_EQ(launcher.Observe(Attempt()).exit->cause(), v1::ExitRecord::NEVER_RAN);
  const AttemptRef other{.id = {18, 1}, .folder = folder.path() / "other"};
  EXPECT_EQ(launcher.Observe(other).exit->cause(), v1::ExitRecord::NEVER_RAN);
}

TEST_F(SlurmLauncherTest, AJobWithDamagedFilesThatSlurmHasEndedIsLost) {
  for (const char* file : {"exit.json", "supervisor.json", "attempt.json", "stop.json"}) {
    SlurmLauncher launcher = MakeLauncher();
    launcher.Start(Request());
    AttemptFolder(folder.path() / "2").WriteSupervisor({});
    WriteFileAtomically(folder.path() / "2" / file, "{");
    queue = {.exit_code = 1, .error_output = "slurm_load_jobs error: Invalid job id specified\n"};
    const Observation seen = ObserveEnd(launcher, Attempt());
    ASSERT_EQ(seen.kind, Observation::Kind::kEnded) << file;
    EXPECT_EQ(seen.exit->cause(), v1::ExitRecord::SUPERVISOR_LOST) << file;
    std::filesystem::remove_all(folder.path() / "2");
  }
}

TEST_F(SlurmLauncherTest, WhenSlurmDoesNotAnswerNothingIsConcluded) {
  SlurmLauncher launcher = MakeLauncher();
  launcher.Start(Request());
  queue = {.exit_code = 1,
           .error_output = "slurm_load_jobs error: Unable to contact slurm controller\n"};
  EXPECT_EQ(launcher.Observe(Attempt()).kind, Observation::Kind::kUnknown);
  queue = {.timed_out = true};
  const Observation seen = launcher.Observe(Attempt());
  EXPECT_EQ(seen.kind, Observation::Kind::kUnknown);
  EXPECT_EQ(seen.detail, "squeue did not answer within 30 s");
}

TEST_F(SlurmLauncherTest, AWaitingJobIsTakenOutOfTheQueueAndARunningOneIsLeftToItsSupervisor) {
  SlurmLauncher launcher = MakeLauncher();
  launcher.Start(Request());
  launcher.Stop(Attempt(), StopLevel::kGraceful, "cancel");
  EXPECT_EQ(commands.back()[0], "squeue");
  EXPECT_EQ(AttemptFolder(folder.path() / "2").Stop()->reason(), "cancel");
  queue.output = "55|PENDING|Priority|\n";
  launcher.Stop(Attempt(), StopLevel::kGraceful, "cancel");
  EXPECT_EQ(commands.back(), Words("scancel 55"));
  queue.output = "55|RUNNING|None|n1\n";
  launcher.Force(Attempt());
  EXPECT_THAT(commands, ::testing::Contains(Words("scancel --signal=KILL 55.0")));
  EXPECT_THAT(commands, ::testing::Contains(Words("scancel --signal=KILL --batch 55")));
}

TEST_F(SlurmLauncherTest, ARefusalOfSlurmIsPassedOnWithAllItsWordsAndIsFinal) {
  SlurmLauncher launcher = MakeLauncher();
  answer = {.exit_code = 1,
            .error_output = "sbatch: error: invalid partition specified: nope\nsbatch: error: x\n"};
  try {
    launcher.Start(Request());
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    EXPECT_EQ(error.message(),
              "Slurm refused the job: sbatch: error: invalid partition specified: nope; sbatch: "
              "error: x");
  }
  EXPECT_EQ(launcher.Observe(Attempt()).exit->cause(), v1::ExitRecord::NEVER_RAN);
  EXPECT_EQ(commands.size(), 1u) << "nobody is asked about it any more";
}

constexpr const char* kTooMany =
    "sbatch: error: AssocMaxSubmitJobLimit\nsbatch: error: Batch job submission failed: Job "
    "violates "
    "accounting/QOS policy (job submit limit, user's size and/or time limits)\n";
constexpr const char* kTooManyLine =
    "Slurm does not take the job now: sbatch: error: AssocMaxSubmitJobLimit; sbatch: error: Batch "
    "job "
    "submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or "
    "time "
    "limits)";

TEST_F(SlurmLauncherTest, ALimitOnJobsInTheQueueIsWaitedForWithAllOfSlurmsWords) {
  answer = {.exit_code = 1, .error_output = kTooMany};
  MakeLauncher().Start(Request());
  for (int i = 2; i < 4; ++i) {
    const Observation seen = MakeLauncher().Observe(Attempt());
    EXPECT_EQ(seen.kind, Observation::Kind::kWaiting);
    EXPECT_EQ(seen.detail, kTooManyLine);
    EXPECT_EQ(Calls("sbatch"), i) << "tried again, by a later coordinator, too";
    EXPECT_EQ(commands.back(), commands.front()) << "as it was";
  }
  retry_time = std::chrono::hours(1);
  EXPECT_EQ(MakeLauncher().Observe(Attempt()).detail, kTooManyLine);
  EXPECT_EQ(Calls("sbatch"), 3) << "after a while only";
  retry_time = milliseconds(0);
  answer = {.output = "55\n"};
  EXPECT_EQ(MakeLauncher().Observe(Attempt()).kind, Observation::Kind::kWaiting);
  EXPECT_EQ(MakeLauncher().Observe(Attempt()).kind, Observation::Kind::kAlive);
  EXPECT_EQ(commands.back().back(), "--jobs=55");
}

TEST_F(SlurmLauncherTest, AJobThatIsRefusedForGoodWhileItWaitsIsAFaultOfItsConfiguration) {
  answer = {.exit_code = 1, .error_output = kTooMany};
  MakeLauncher().Start(Request());
  answer.error_output =
      "sbatch: error: Batch job submission failed: Requested node configuration is not available\n";
  const Observation seen = MakeLauncher().Observe(Attempt());
  ASSERT_EQ(seen.kind, Observation::Kind::kEnded);
  const Verdict verdict = Classify(*seen.exit, {}, 2, 2);
  ASSERT_TRUE(verdict.failure.has_value());
  EXPECT_EQ(verdict.failure->failure_class, FailureClass::kConfig);
  EXPECT_EQ(verdict.failure->message,
            "Slurm refused the job: sbatch: error: Batch job submission failed: Requested node "
            "configuration is not available");
}

TEST_F(SlurmLauncherTest, AJobThatWaitsToBeTakenEndsAtOnceWhenItIsNotWantedAnyMore) {
  for (const bool tools_are_gone : {false, true}) {
    std::filesystem::remove_all(folder.path() / "2");
    commands.clear();
    missing = tools_are_gone;
    answer = {.exit_code = 1, .error_output = kTooMany};
    MakeLauncher().Start(Request());
    MakeLauncher().Stop(Attempt(), StopLevel::kKill, "cancelled by anna");
    const Observation seen = MakeLauncher().Observe(Attempt());
    ASSERT_EQ(seen.kind, Observation::Kind::kEnded) << seen.detail;
    EXPECT_TRUE(Classify(*seen.exit, {}, 2, 2).never_ran);
    EXPECT_EQ(Calls("squeue") + Calls("scancel"), 0);
    EXPECT_EQ(Calls("sbatch"), 1);
  }
}

TEST_F(SlurmLauncherTest, AToolThatCannotBeRunIsSaidAndWaitedFor) {
  missing = true;
  MakeLauncher().Start(Request());
  const Observation seen = MakeLauncher().Observe(Attempt());
  EXPECT_EQ(seen.kind, Observation::Kind::kWaiting);
  EXPECT_EQ(seen.detail, "Slurm does not take the job now: cannot run sbatch");
  EXPECT_THAT(MakeLauncher().Tools(), ::testing::ElementsAre("sbatch", "squeue", "scancel"));
}

TEST_F(SlurmLauncherTest, AJobThatSlurmMayHaveTakenIsLookedForBeforeItIsHandedInAgain) {
  answer = {.exit_code = 1,
            .error_output =
                "sbatch: error: Batch job submission failed: Socket timed out on send/recv "
                "operation\n"};
  MakeLauncher().Start(Request());
  queue = {.exit_code = 1,
           .error_output = "slurm_load_jobs error: Unable to contact slurm controller\n"};
  Observation seen = MakeLauncher().Observe(Attempt());
  EXPECT_EQ(seen.kind, Observation::Kind::kWaiting);
  EXPECT_THAT(seen.detail, HasSubstr("Socket timed out"));
  EXPECT_EQ(Calls("sbatch"), 1) << "not while it is in doubt";
  queue = {.output = "77|PENDING|Priority|\n"};
  seen = MakeLauncher().Observe(Attempt());
  EXPECT_EQ(seen.detail, "Slurm: PENDING (Priority)");
  EXPECT_EQ(Calls("sbatch"), 1);
  EXPECT_EQ(ReadFile(folder.path() / "2" / "slurm_job"), "77\n");

  // It had not been taken.
  std::filesystem::remove_all(folder.path() / "2");
  MakeLauncher().Start(Request());
  queue = {};
  MakeLauncher().Observe(Attempt());
  EXPECT_EQ(Calls("sbatch"), 3);
}

TEST_F(SlurmLauncherTest, AJobThatSlurmWillNotTakeOutOfItsQueueIsSaid) {
  SlurmLauncher launcher = MakeLauncher();
  launcher.Start(Request());
  queue.output = "55|PENDING|Priority|\n";
  answer = {.exit_code = 1,
            .error_output = "scancel: error: Kill job error on job id 55: Access denied\n"};
  try {
    launcher.Stop(Attempt(), StopLevel::kGraceful, "cancel");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.message(),
              "scancel: scancel: error: Kill job error on job id 55: Access denied");
  }
  EXPECT_EQ(launcher.Force(Attempt()).kind, Observation::Kind::kUnknown);
}

TEST(SlurmAnswers, WhatPassesIsToldFromWhatIsFinal) {
  const std::string failed = "sbatch: error: Batch job submission failed: ";
  const std::string policy =
      "\n" + failed +
      "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)";
  for (const std::string& words : std::vector<std::string>{
           "sbatch: error: AssocMaxSubmitJobLimit" + policy,
           "sbatch: error: QOSMaxSubmitJobPerUserLimit" + policy,
           "sbatch: error: QOSGrpSubmitJobsLimit" + policy,
           "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying\n" +
               failed + "Resource temporarily unavailable",
           failed + "Required partition not available (inactive or drain)",
           failed + "Required node not available (down, drained or reserved)",
           failed + "Unable to contact slurm controller (connect failure)",
       }) {
    EXPECT_EQ(MeaningOf(words), SlurmRefusal::kPassing) << words;
  }
  for (const std::string& words : std::vector<std::string>{
           "sbatch: error: AssocMaxWallDurationPerJobLimit" + policy,
           "sbatch: error: QOSMaxCpuPerJobLimit" + policy,
           failed + "Requested node configuration is not available",
           failed + "Invalid partition name specified",
           failed + "Invalid account or account/partition combination specified",
           failed + "Requested time limit is invalid (missing or exceeds some limit)",
           failed + "Invalid feature specification",
       }) {
    EXPECT_EQ(MeaningOf(words), SlurmRefusal::kFinal) << words;
  }
  for (const char* words :
       {"Socket timed out on send/recv operation", "Zero Bytes were transmitted or received",
        "Unable to contact slurm controller (receive failure)"}) {
    EXPECT_EQ(MeaningOf(failed + words), SlurmRefusal::kInDoubt) << words;
  }
}

}  // namespace
}  // namespace syncbn::coordinator
