// The launcher `kubernetes` with the stand-in of a cluster.
#include "coordinator/launch/kubernetes/kubernetes_launcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "tests/coordinator/launch/kubernetes/kubernetes_launcher_fixture.h"

namespace syncbn::coordinator {
namespace {

using ::testing::HasSubstr;

TEST_F(KubernetesLauncherTest, RanksOfAllPodsRunAndNothingIsLeft) {
  const Attempt attempt = Make({"ok"});
  Launcher().Start(attempt.request);
  const v1::ExitRecord exit = WaitForEnd(attempt);
  EXPECT_EQ(exit.cause(), v1::ExitRecord::ENDED);
  EXPECT_EQ(exit.exit_code(), 0) << attempt.Logs();
  EXPECT_THAT(exit.output_tail(), HasSubstr("1: rank 1 of 2 is up\n"));
  ExpectGone(attempt);
  EXPECT_LE(cluster.Asked("get mpijobs"), 2) << "jobs are not looked at one by one";
}

TEST_F(KubernetesLauncherTest, AnAttemptIsCreatedOnceHoweverOftenItIsAskedFor) {
  const Attempt attempt = Make({"wait"});
  // It is done, and the answer is lost.
  cluster.Control({{"fault", {{"verb", "create"}, {"resource", "mpijobs"}, {"drop", true}}}});
  Launcher().Start(attempt.request);
  WaitForLog(attempt, "rank 1 of 2 is up");
  // The coordinator died before it could write that the server has it.
  std::filesystem::remove(attempt.request.attempt.folder / "mpijob");
  Restart();
  WaitFor(attempt, Kind::kAlive);
  EXPECT_EQ(cluster.All("mpijobs").size(), 1u);
  EXPECT_GE(cluster.Asked("create mpijobs"), 2);
  Launcher().Stop(attempt.request.attempt, StopLevel::kKill, "seen enough");
  EXPECT_EQ(WaitForEnd(attempt).cause(), v1::ExitRecord::STOPPED);
}

TEST_F(KubernetesLauncherTest, AStopLeavesTimeForACheckpoint) {
  const Attempt attempt = Make({"wait"});
  Launcher().Start(attempt.request);
  WaitForLog(attempt, "rank 1 of 2 is up");
  Launcher().Stop(attempt.request.attempt, StopLevel::kGraceful, "cancelled by anna");
  const v1::ExitRecord exit = WaitForEnd(attempt);
  EXPECT_EQ(exit.cause(), v1::ExitRecord::STOPPED);
  EXPECT_THAT(exit.output_tail(), HasSubstr("0: rank 0 leaves\n")) << attempt.Logs();
  EXPECT_EQ(Classify(exit, {}, 2, 1).outcome, AttemptOutcome::kStopped);
  ExpectGone(attempt);
}

TEST_F(KubernetesLauncherTest, WhatWaitsForANodeSaysSoAndIsStoppedWithoutHavingRun) {
  cluster.Control(
      {{"cluster", {{"unschedulable", "0/3 nodes are available: 3 Insufficient cpu."}}}});
  const Attempt attempt = Make({"ok"});
  Launcher().Start(attempt.request);
  WaitFor(attempt, Kind::kWaiting,
          "Kubernetes: no node takes pod " + attempt.worker() +
              ": Unschedulable: 0/3 nodes are available");
  Launcher().Stop(attempt.request.attempt, StopLevel::kGraceful, "cancelled by anna");
  const v1::ExitRecord exit = WaitForEnd(attempt);
  EXPECT_EQ(exit.cause(), v1::ExitRecord::STOPPED);
  EXPECT_EQ(Classify(exit, {}, 2, 1).outcome, AttemptOutcome::kStopped);
  ExpectGone(attempt);
}

TEST_F(KubernetesLauncherTest, AQuotaAndAQueueLetAJobWaitWithTheirWords) {
  cluster.Control(
      {{"cluster",
        {{"quota", "exceeded quota: team, requested: cpu=1, used: cpu=8, limited: cpu=8"}}}});
  const Attempt attempt = Make({"ok"}, 1);
  Launcher().Start(attempt.request);
  WaitFor(attempt, Kind::kWaiting, "is forbidden: exceeded quota: team");
  cluster.Control({{"cluster", {{"quota", ""}, {"suspended", true}}}});
  WaitFor(attempt, Kind::kWaiting, "Kubernetes: suspended: MPIJobSuspended");
  cluster.Control({{"cluster", {{"suspended", false}}}});
  EXPECT_EQ(WaitForEnd(attempt).exit_code(), 0) << attempt.Logs();
}

TEST_F(KubernetesLauncherTest, AnImageThatStaysAwayFailsTheJobAndOneThatComesDoesNot) {
  cluster.Control({{"cluster", {{"image", "ImagePullBackOff"}}}});
  const Attempt attempt = Make({"ok"}, 1);
  Launcher().Start(attempt.request);
  WaitFor(attempt, Kind::kWaiting, "cannot begin: ImagePullBackOff");
  const Verdict verdict = VerdictOf(attempt);
  EXPECT_EQ(verdict.failure->failure_class, FailureClass::kConfig);
  EXPECT_THAT(verdict.failure->message,
              HasSubstr("(image registry/syncbn:1: is --kube-image right"));
  ExpectGone(attempt);

  cluster.Control({{"cluster", {{"image", "ErrImagePull"}}}});
  obstacle_time = seconds(60);
  Restart();
  const Attempt second = Make({"ok"}, 1);
  Launcher().Start(second.request);
  WaitFor(second, Kind::kWaiting, "ErrImagePull");
  cluster.Control({{"cluster", {{"image", ""}}}});
  EXPECT_EQ(WaitForEnd(second).exit_code(), 0) << second.Logs();
}

TEST_F(KubernetesLauncherTest, AWorkersPodThatIsKilledIsTheMachinerysAndOneOutOfMemoryTheJobs) {
  for (const auto& [reason, expected] : std::vector<std::pair<std::string, FailureClass>>{
           {"Evicted", FailureClass::kInfra}, {"OOMKilled", FailureClass::kOom}}) {
    const Attempt attempt = Make({"wait"});
    Launcher().Start(attempt.request);
    WaitForLog(attempt, "rank 1 of 2 is up");
    cluster.Control({{"kill", {{"pod", attempt.worker()}, {"reason", reason}}}});
    const Verdict verdict = VerdictOf(attempt);
    EXPECT_EQ(verdict.failure->failure_class, expected)
        << verdict.failure->message << attempt.Logs();
    EXPECT_EQ(WaitForEnd(attempt).batch_state(), reason);
  }
}

TEST_F(KubernetesLauncherTest, ALaunchersPodThatDiesWithoutAWordIsExplainedByItsPod) {
  const Attempt attempt = Make({"wait"}, 1);
  Launcher().Start(attempt.request);
  WaitForLog(attempt, "rank 0 of 1 is up");
  cluster.Control({{"kill", {{"pod", attempt.launcher()}, {"reason", "Evicted"}}}});
  const v1::ExitRecord exit = WaitForEnd(attempt);
  EXPECT_EQ(exit.cause(), v1::ExitRecord::SUPERVISOR_LOST);
  EXPECT_EQ(exit.batch_state(), "Evicted");
  EXPECT_THAT(exit.message(),
              HasSubstr("pod " + attempt.launcher() + " on node-p: Evicted: The node was low"));
  EXPECT_EQ(Classify(exit, {}, 1, 1).failure->failure_class, FailureClass::kInfra);
}

TEST_F(KubernetesLauncherTest, WhatAPodSaysThatCannotBeginIsInTheJobsLog) {
  cluster.Control({{"cluster", {{"unschedulable", "no"}}}});
  const Attempt attempt = Make({"ok"}, 1);
  Launcher().Start(attempt.request);
  // What it was to do is lost before it begins.
  std::filesystem::remove(attempt.request.attempt.folder / "attempt.json");
  cluster.Control({{"cluster", {{"unschedulable", ""}}}});
  const v1::ExitRecord exit = WaitForEnd(attempt);
  EXPECT_THAT(exit.message(),
              HasSubstr("pod " + attempt.launcher() + " on node-p left with exit code 1"));
  EXPECT_THAT(exit.output_tail(), HasSubstr("there is no attempt in "));
  EXPECT_THAT(ReadFile(attempt.Folder().output_log()),
              HasSubstr("-: syncbn supervise: there is no attempt in "));
}

TEST_F(KubernetesLauncherTest, AJobThatSomebodyDeletesIsNotStartedAgain) {
  const Attempt attempt = Make({"wait"});
  Launcher().Start(attempt.request);
  WaitForLog(attempt, "rank 1 of 2 is up");
  cluster.Control({{"remove", attempt.name()}});
  const v1::ExitRecord exit = WaitForEnd(attempt);
  EXPECT_EQ(exit.cause(), v1::ExitRecord::HOST_SHUTDOWN) << exit.DebugString();
  EXPECT_EQ(exit.batch_state(), "Deleted");
  EXPECT_THAT(exit.output_tail(), HasSubstr("0: rank 0 leaves\n")) << "with time for a checkpoint";
  EXPECT_EQ(Classify(exit, {}, 2, 1).failure->failure_class, FailureClass::kCancelled);

  cluster.Control({{"cluster", {{"unschedulable", "no"}}}});
  const Attempt waiting = Make({"ok"});
  Launcher().Start(waiting.request);
  WaitFor(waiting, Kind::kWaiting, "no node takes");
  cluster.Control({{"remove", waiting.name()}});
  const Verdict verdict = VerdictOf(waiting);
  EXPECT_EQ(verdict.failure->failure_class, FailureClass::kCancelled);
  EXPECT_THAT(verdict.failure->message, HasSubstr("somebody has deleted it"));
}

TEST_F(KubernetesLauncherTest, ANodeThatIsDrainedLeavesTimeForACheckpoint) {
  const Attempt attempt = Make({"wait"});
  Launcher().Start(attempt.request);
  WaitForLog(attempt, "rank 1 of 2 is up");
  cluster.Control({{"evict", attempt.worker()}});
  const v1::ExitRecord exit = WaitForEnd(attempt);
  EXPECT_THAT(exit.output_tail(), HasSubstr("1: rank 1 leaves\n")) << attempt.Logs();
  EXPECT_EQ(exit.batch_state(), "Evicted") << exit.DebugString();
  const Verdict verdict = VerdictOf(attempt);
  EXPECT_EQ(verdict.outcome, AttemptOutcome::kStopped);
  EXPECT_EQ(verdict.failure->failure_class, FailureClass::kInfra);
  EXPECT_THAT(verdict.failure->message, HasSubstr("was taken away: EvictionByEvictionAPI"));
}

TEST_F(KubernetesLauncherTest, AnObjectWhoseDeletionFailedGoesAtALaterLook) {
  const Attempt attempt = Make({"ok"}, 1);
  Launcher().Start(attempt.request);
  cluster.Control({{"deny", {"delete mpijobs"}}});
  EXPECT_EQ(WaitForEnd(attempt).exit_code(), 0) << attempt.Logs();
  EXPECT_EQ(cluster.All("mpijobs").size(), 1u);
  cluster.Control({{"clear", true}});
  // As another coordinator, while it looks at another attempt, which is left alone.
  delete_time = milliseconds(100);
  Restart();
  const Attempt second = Make({"wait"}, 1);
  Launcher().Start(second.request);
  const auto end = std::chrono::steady_clock::now() + seconds(20);
  while (cluster.All("mpijobs").size() != 1 ||
         cluster.All("mpijobs")[0]["metadata"]["name"] != second.name()) {
    ASSERT_TRUE(std::chrono::steady_clock::now() < end);
    Launcher().Tidy();
    std::this_thread::sleep_for(milliseconds(50));
  }
  // One whose folder is gone with its job, while that of the other is there.
  const Attempt third = Make({"ok"}, 1);
  cluster.Control({{"cluster", {{"unschedulable", "no"}}}});
  Launcher().Start(third.request);
  std::filesystem::remove_all(third.request.attempt.folder);
  while (cluster.All("mpijobs").size() != 1) {
    ASSERT_TRUE(std::chrono::steady_clock::now() < end);
    Launcher().Tidy();
    std::this_thread::sleep_for(milliseconds(50));
  }
  EXPECT_EQ(cluster.All("mpijobs")[0]["metadata"]["name"], second.name());
  delete_time = std::chrono::minutes(3);
  Restart();
  Launcher().Stop(second.request.attempt, StopLevel::kKill, "seen enough");
  EXPECT_EQ(WaitForEnd(second).cause(), v1::ExitRecord::STOPPED);
}

TEST_F(KubernetesLauncherTest,
       ANodeThatDoesNotAnswerIsSaidAndAfterAWhileTheAttemptHasFailedWithIt) {
  const Attempt attempt = Make({"wait"}, 1);
  Launcher().Start(attempt.request);
  WaitForLog(attempt, "rank 0 of 1 is up");
  EXPECT_TRUE(WaitFor(attempt, Kind::kAlive, "node-p").begin);
  cluster.Control({{"lose", {{"pod", attempt.launcher()}, {"status", {{"phase", "Unknown"}}}}}});
  const Observation seen =
      WaitFor(attempt, Kind::kAlive, "the node node-p does not answer Kubernetes any more");
  EXPECT_EQ(seen.trouble, seen.detail);
  const v1::ExitRecord exit = WaitForEnd(attempt);
  EXPECT_EQ(exit.cause(), v1::ExitRecord::SUPERVISOR_LOST);
  EXPECT_EQ(exit.batch_state(), "NodeLost");
  EXPECT_TRUE(exit.has_start_time());
  ASSERT_EQ(exit.unverified_hosts_size(), 1) << exit.DebugString();
  EXPECT_EQ(exit.unverified_hosts(0), "node-p");
  const Verdict verdict = VerdictOf(attempt);
  EXPECT_EQ(verdict.failure->failure_class, FailureClass::kInfra) << "so it starts again elsewhere";
  EXPECT_THAT(verdict.failure->message, HasSubstr("the node node-p does not answer"));
  // It is back.
  cluster.Control({{"find", attempt.launcher()}});
  ExpectGone(attempt);
  EXPECT_EQ(WaitForEnd(attempt).batch_state(), "NodeLost");
}

TEST_F(KubernetesLauncherTest, WhatStillWritesOnANodeThatKubernetesDoesNotHearLives) {
  const Attempt attempt = Make({"wait"}, 1);
  Launcher().Start(attempt.request);
  WaitForLog(attempt, "rank 0 of 1 is up");
  const json pod = cluster.WaitForObject("pods", attempt.launcher());
  json marked = pod;
  marked["status"]["reason"] = "NodeLost";
  cluster.Control({{"put", {{"kind", "pods"}, {"object", marked}}}});
  WaitFor(attempt, Kind::kAlive, "does not answer");
  const auto end = std::chrono::steady_clock::now() + 3 * node_time;
  for (int i = 0; std::chrono::steady_clock::now() < end; ++i) {
    WriteFileAtomically(attempt.Folder().spool() / "points", std::string(100 + i, 'x'));
    EXPECT_EQ(Launcher().Observe(attempt.request.attempt).kind, Kind::kAlive);
    std::this_thread::sleep_for(milliseconds(100));
  }
  cluster.Control({{"put", {{"kind", "pods"}, {"object", pod}}}});
  Observation seen = Launcher().Observe(attempt.request.attempt);
  for (int i = 0; i < 1000 && !seen.trouble.empty(); ++i) {
    std::this_thread::sleep_for(milliseconds(10));
    seen = Launcher().Observe(attempt.request.attempt);
  }
  EXPECT_EQ(seen.trouble, "") << "and it is taken back";
  Launcher().Stop(attempt.request.attempt, StopLevel::kKill, "seen enough");
  EXPECT_EQ(WaitForEnd(attempt).cause(), v1::ExitRecord::STOPPED);
}

TEST_F(KubernetesLauncherTest, ALaunchersPodThatIsToldToEndBeforeItHasNamesStartsNothing) {
  cluster.Control({{"names", false}});
  const Attempt attempt = Make({"wait"});
  Launcher().Start(attempt.request);
  const auto end = std::chrono::steady_clock::now() + seconds(30);
  while (!attempt.Folder().Supervisor()) {
    ASSERT_TRUE(std::chrono::steady_clock::now() < end) << cluster.LogOf(attempt.launcher());
    Launcher().Observe(attempt.request.attempt);
    std::this_thread::sleep_for(milliseconds(50));
  }
  cluster.Control({{"evict", attempt.launcher()}});
  const v1::ExitRecord exit = WaitForEnd(attempt);
  EXPECT_EQ(exit.cause(), v1::ExitRecord::HOST_SHUTDOWN) << attempt.Logs();
  EXPECT_EQ(exit.batch_state(), "Evicted");
  EXPECT_EQ(exit.output_tail(), "");
  EXPECT_EQ(Classify(exit, {}, 2, 1).failure->failure_class, FailureClass::kInfra);
}

TEST_F(KubernetesLauncherTest, TheRecordOfAnEndIsWaitedForAndNobodyWritesAnotherOverIt) {
  const KubernetesLauncher::Options by_default;
  EXPECT_GE(by_default.record_time, seconds(90)) << "as long as NFS may hide it";
  EXPECT_GT(Launcher().Delays().force, delete_time);
  EXPECT_GT(WithTimeToEnd({}, {}, Launcher().Delays()).force_limit, delete_time);
  cluster.Control({{"cluster", {{"image", "InvalidImageName"}}}});
  const Attempt attempt = Make({"ok"}, 1);
  Launcher().Start(attempt.request);
  {
    // A supervisor that has just begun.
    const auto lock = attempt.Folder().TryLock();
    WaitFor(attempt, Kind::kAlive, "its supervisor lives");
    std::this_thread::sleep_for(milliseconds(200));
    EXPECT_FALSE(attempt.Folder().Exit());
    v1::ExitRecord record;
    record.set_cause(v1::ExitRecord::ENDED);
    record.set_exit_code(0);
    attempt.Folder().WriteExit(record);
  }
  EXPECT_EQ(WaitForEnd(attempt).cause(), v1::ExitRecord::ENDED);
  ExpectGone(attempt);
}

TEST_F(KubernetesLauncherTest, AServerThatIsAwayFailsNothing) {
  const Attempt attempt = Make({"wait"});
  Launcher().Start(attempt.request);
  WaitForLog(attempt, "rank 1 of 2 is up");
  cluster.Control({{"down", 3.0}});
  WaitFor(attempt, Kind::kUnknown, "does not answer");
  WaitFor(attempt, Kind::kAlive);
  // What ends well while it is away has ended well.
  Launcher().Stop(attempt.request.attempt, StopLevel::kTerminate, "enough");
  cluster.Control({{"down", 8.0}});
  const v1::ExitRecord exit = WaitForEnd(attempt);
  EXPECT_EQ(exit.cause(), v1::ExitRecord::STOPPED);
  // One that is handed in meanwhile waits, and runs then.
  const Attempt second = Make({"ok"}, 1);
  Launcher().Start(second.request);
  WaitFor(second, Kind::kWaiting,
          "Kubernetes does not take the job now: the API server of Kubernetes at");
  EXPECT_EQ(WaitForEnd(second).exit_code(), 0) << second.Logs();
}

TEST_F(KubernetesLauncherTest, WithoutAnOperatorOrARightAJobWaitsForThem) {
  cluster.Control({{"cluster", {{"operator", false}}}});
  const Attempt attempt = Make({"ok"}, 1);
  Launcher().Start(attempt.request);
  WaitFor(attempt, Kind::kWaiting,
          "the MPI operator is not installed. Install version 0.6 or later");
  cluster.Control({{"cluster", {{"operator", true}}}, {"deny", {"create mpijobs"}}});
  WaitFor(attempt, Kind::kWaiting,
          "the role needs the verb 'create' on 'mpijobs' of the group 'kubeflow.org'");
  cluster.Control({{"clear", true}});
  EXPECT_EQ(WaitForEnd(attempt).exit_code(), 0) << attempt.Logs();

  cluster.Control({{"cluster", {{"operator", false}}}});
  const Attempt second = Make({"ok"}, 1);
  Launcher().Start(second.request);
  Launcher().Stop(second.request.attempt, StopLevel::kGraceful, "cancelled by anna");
  EXPECT_EQ(WaitForEnd(second).cause(), v1::ExitRecord::NEVER_RAN);
}

TEST_F(KubernetesLauncherTest, ANameThatWasTakenAndIsFreeTheNextMomentIsNoMissingOperator) {
  cluster.Control({{"fault",
                    {{"verb", "create"},
                     {"resource", "mpijobs"},
                     {"status", 409},
                     {"reason", "AlreadyExists"}}}});
  const Attempt attempt = Make({"ok"}, 1);
  Launcher().Start(attempt.request);
  EXPECT_EQ(Launcher().Observe(attempt.request.attempt).detail,
            "Kubernetes does not take the job now: there was an MPIJob " + attempt.name() +
                ", and it is gone the next moment: it is created anew");
  EXPECT_EQ(WaitForEnd(attempt).exit_code(), 0) << attempt.Logs();
}

TEST_F(KubernetesLauncherTest, WhatTheServerWillNeverTakeIsRefusedWithItsWords) {
  cluster.Control({{"fault",
                    {{"verb", "create"},
                     {"resource", "mpijobs"},
                     {"status", 422},
                     {"reason", "Invalid"},
                     {"message", "MPIJob \"x\" is invalid: spec.slotsPerWorker: must be less"}}}});
  const Attempt attempt = Make({"ok"});
  try {
    Launcher().Start(attempt.request);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    EXPECT_EQ(
        error.message(),
        "Kubernetes refused the job: MPIJob \"x\" is invalid: spec.slotsPerWorker: must be less");
  }
  EXPECT_EQ(Launcher().Observe(attempt.request.attempt).exit->cause(), v1::ExitRecord::NEVER_RAN);
}

TEST_F(KubernetesLauncherTest, ANameThatSomebodyElseHasIsNotTakenForOurs) {
  const Attempt attempt = Make({"ok"}, 1);
  json other = {{"kind", "MPIJob"}, {"metadata", {{"name", attempt.name()}}}};
  other["spec"]["runPolicy"] = {{"suspend", true}};
  cluster.Control({{"put", {{"kind", "mpijobs"}, {"object", other}}}});
  EXPECT_THROW(Launcher().Start(attempt.request), Error);
  EXPECT_THAT(WaitForEnd(attempt).message(), HasSubstr("that is not this attempt's"));
  EXPECT_EQ(cluster.All("mpijobs").size(), 1u) << "and it is left alone";
}

TEST_F(KubernetesLauncherTest, AFrozenSupervisorIsEndedByForceWithAllItHolds) {
  const Attempt attempt = Make({"ignore"});
  Launcher().Start(attempt.request);
  WaitForLog(attempt, "rank 1 of 2 is up");
  ::kill(static_cast<pid_t>(attempt.Folder().Supervisor()->pid()), SIGSTOP);
  Launcher().Force(attempt.request.attempt);
  const v1::ExitRecord exit = WaitForEnd(attempt);
  EXPECT_EQ(exit.cause(), v1::ExitRecord::SUPERVISOR_LOST) << exit.DebugString();
  ExpectGone(attempt);
}

// With access.yaml as it stands: a quota (events), a pod without a word (its log), force (pods), an
// answer that is lost (get).
TEST_F(KubernetesLauncherTest, TheRightsOfTheManifestAreEnoughAndAllUsed) {
  if (RunProcess({.argv = {"/usr/bin/python3", "-c", "import yaml"}}).status != 0)
    GTEST_SKIP() << "python3-yaml is not installed";
  KubeStandIn strict({.role = KUBERNETES_MANIFESTS "/access.yaml"});
  access = strict.access();
  strict.Control({{"cluster", {{"quota", "exceeded quota: team"}}}});
  const Attempt attempt = Make({"wait"});
  Launcher().Start(attempt.request);
  WaitFor(attempt, Kind::kWaiting, "exceeded quota: team");
  strict.Control({{"cluster", {{"quota", ""}}}});
  WaitForLog(attempt, "rank 1 of 2 is up");
  std::filesystem::remove(attempt.request.attempt.folder / "mpijob");
  WaitFor(attempt, Kind::kAlive);
  strict.Control({{"kill", {{"pod", attempt.launcher()}, {"reason", "Evicted"}}}});
  EXPECT_EQ(WaitForEnd(attempt).batch_state(), "Evicted");
  const Attempt second = Make({"ignore"}, 1);
  Launcher().Start(second.request);
  WaitForLog(second, "rank 0 of 1 is up");
  ::kill(static_cast<pid_t>(second.Folder().Supervisor()->pid()), SIGSTOP);
  Launcher().Force(second.request.attempt);
  WaitForEnd(second);
  const std::vector<std::string> log = strict.Control(json::object());
  EXPECT_EQ(std::set<std::string>(log.begin(), log.end()),
            (std::set<std::string>{"create mpijobs", "delete mpijobs", "get mpijobs",
                                   "list mpijobs", "watch mpijobs", "delete pods", "list pods",
                                   "watch pods", "get pods/log", "list events"}));
}

TEST_F(KubernetesLauncherTest, APodThatIsStartedTwiceDoesNotStartTheAttemptTwice) {
  const Attempt attempt = Make({"ok"}, 1);
  Launcher().Start(attempt.request);
  EXPECT_EQ(WaitForEnd(attempt).exit_code(), 0) << attempt.Logs();
  std::filesystem::remove(attempt.request.attempt.folder / "exit.json");
  const ProcessResult again = RunProcess({.argv = {kTool, "supervise", "--foreground", "--folder",
                                                   attempt.request.attempt.folder.string()}});
  EXPECT_EQ(again.status, 1);
  EXPECT_THAT(again.err, HasSubstr("was started before, by process "));
}

}  // namespace
}  // namespace syncbn::coordinator
