// What became of an attempt, from the words of Open MPI 4.1.4 as it prints them on Debian 12,
// Slurm's, and the ranks' own reports.
#include "coordinator/job/classify.h"
#include "coordinator/job/job_record.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/launch/launcher_text.h"

namespace syncbn::coordinator {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr const char* kLine =
    "--------------------------------------------------------------------------\n";
constexpr const char* kAborted =
    "Primary job  terminated normally, but 1 process returned\n"
    "a non-zero exit code. Per user-direction, the job has been aborted.\n";

v1::ExitRecord Ended(int code, const std::string& text = "") {
  v1::ExitRecord exit;
  exit.set_cause(v1::ExitRecord::ENDED);
  exit.set_exit_code(code);
  exit.set_launcher_text(kLine + text + kLine);
  return exit;
}

RankReport Completed(int rank) {
  RankReport report{.rank = rank};
  report.exit.set_outcome(v1::ATTEMPT_OUTCOME_COMPLETED);
  return report;
}

RankReport Stopped(int rank) {
  RankReport report{.rank = rank};
  report.exit.set_outcome(v1::ATTEMPT_OUTCOME_STOPPED);
  return report;
}

RankReport Failed(int rank, const std::string& code, const std::string& message,
                  bool by_peer = false) {
  RankReport report{.rank = rank};
  report.exit.set_outcome(v1::ATTEMPT_OUTCOME_FAILED);
  report.exit.set_error_code(code);
  report.exit.set_message(message);
  report.exit.set_caused_by_peer(by_peer);
  report.exit.set_host("node" + std::to_string(rank));
  return report;
}

// "OUTCOME CLASS message", of two processes.
std::string Text(const Verdict& verdict) {
  if (verdict.never_ran) return "NEVER_RAN";
  std::string text = verdict.outcome == AttemptOutcome::kCompleted ? "COMPLETED"
                     : verdict.outcome == AttemptOutcome::kStopped ? "STOPPED"
                                                                   : "FAILED";
  if (!verdict.failure) return text;
  return text + " " + std::string(FailureClassName(verdict.failure->failure_class)) + " " +
         verdict.failure->message;
}

std::string Of(const v1::ExitRecord& exit, const std::vector<RankReport>& reports = {}) {
  return Text(Classify(exit, reports, 2, 7));
}

TEST(Classify, ARankThatWasKilledFromOutsideIsInfra) {
  const auto exit = Ended(137, std::string(kAborted) + kLine + kLine +
                                   "mpirun noticed that process rank 1 with PID 0 on node vm "
                                   "exited on signal 9 (Killed).\n");
  const Verdict verdict = Classify(exit, {}, 2, 7);
  EXPECT_EQ(Text(verdict), "FAILED INFRA rank 1 on vm was ended by SIGKILL");
  EXPECT_EQ(verdict.failure->rank, 1);
  EXPECT_EQ(verdict.failure->signal, 9);
  EXPECT_EQ(verdict.failure->attempt, 7);
  EXPECT_THAT(verdict.bad_hosts, ElementsAre("vm"));
}

TEST(Classify, ARankThatTheKernelsLogNamesIsOomAndOneThatDiedWhileOthersDidIsNot) {
  auto exit = Ended(
      137,
      "mpirun noticed that process rank 0 with PID 0 on node vm exited on signal 9 (Killed).\n");
  // The counter is of everybody's processes.
  exit.set_oom_kills(1);
  EXPECT_EQ(
      Of(exit),
      "FAILED INFRA rank 0 on vm was ended by SIGKILL; memory ran out on the supervisor's host "
      "meanwhile, perhaps for it");
  exit.set_cgroup("/slurm/job_17");
  exit.set_cgroup_oom_kills(1);
  EXPECT_EQ(Of(exit),
            "FAILED OOM rank 0 on vm was ended by SIGKILL when memory ran out (the kernel counts 1 "
            "process "
            "killed for it in the attempt's own control group, /slurm/job_17): give the job more "
            "memory or "
            "fewer replicas on a host");
  exit.add_oom_killed()->set_pid(4711);
  EXPECT_EQ(
      Of(exit),
      "FAILED OOM rank 0 on vm was ended by SIGKILL when memory ran out (the kernel's log names "
      "process 4711): give the job more memory or fewer replicas on a host");
}

TEST(Classify, WhatTheLauncherDoesNotComeToSayTheRelaysSay) {
  v1::ExitRecord exit = Ended(3,
                              "Primary job  terminated normally, but 1 process returned\n"
                              "a non-zero exit code.\n");
  // One that was asked to leave may be heard first.
  v1::RankEnd& left = *exit.add_rank_ends();
  left.set_rank(0);
  left.set_exit_code(kExitStopped);
  v1::RankEnd& failed = *exit.add_rank_ends();
  failed.set_rank(1);
  failed.set_exit_code(3);
  EXPECT_EQ(Of(exit), "FAILED USER rank 1 left with exit code 3");
  failed.set_exit_code(0);
  failed.set_signal(11);
  EXPECT_EQ(Of(exit), "FAILED USER rank 1 was ended by SIGSEGV");
}

TEST(Classify, CrashesAreTheProgramsOwn) {
  EXPECT_EQ(
      Of(Ended(139, std::string(kAborted) + "mpirun noticed that process rank 1 with PID 0 on node "
                                            "vm exited on signal 11 (Segmentation fault).\n")),
      "FAILED USER rank 1 on vm was ended by SIGSEGV");
}

TEST(Classify, ExitCodesAndAbortsNameTheirRank) {
  EXPECT_EQ(Of(Ended(3, std::string(kAborted) + kLine +
                            "mpirun detected that one or more processes exited with non-zero "
                            "status, thus causing\n"
                            "the job to be terminated. The first process to do so was:\n\n  "
                            "Process name: [[18632,1],1]\n  Exit code:    3\n")),
            "FAILED USER rank 1 left with exit code 3");
  EXPECT_EQ(Of(Ended(2, "  Process name: [[18632,1],0]\n  Exit code:    2\n")),
            "FAILED CONFIG rank 0 left with exit code 2");
  EXPECT_EQ(Of(Ended(42,
                     "MPI_ABORT was invoked on rank 1 in communicator MPI_COMM_WORLD\nwith "
                     "errorcode 42.\n\nNOTE: invoking MPI_ABORT\n")),
            "FAILED USER rank 1 called MPI_Abort with code 42");
  EXPECT_EQ(Of(Ended(1,
                     "mpirun has exited due to process rank 1 with PID 0 on\nnode vm exiting "
                     "improperly. There are three reasons this could occur:\n")),
            "FAILED USER rank 1 on vm left without MPI_Finalize");
}

TEST(Classify, WhatIsMissingOnTheMachineIsConfigAndNotASignal) {
  // Exit codes 134 and 132 look like SIGABRT and SIGILL.
  EXPECT_EQ(Of(Ended(134,
                     "mpirun was unable to find the specified executable file, and therefore\ndid "
                     "not launch the job.  This error was first reported for process\n"
                     "rank 0; it may have occurred for other processes as well.\n\nNOTE: A common "
                     "cause for this error is misspelling a mpirun command\n"
                     "      line parameter option.\n\nNode:       vm\nExecutable: nosuchprog\n")),
            "FAILED CONFIG the program is not there, or cannot be executed on vm: install the same "
            "syncbn on every host");
  EXPECT_EQ(
      Of(Ended(
          132,
          "mpirun was unable to launch the specified application as it could not access\nor "
          "execute an executable:\n\n"
          "Executable: /nonexistent/x\nNode: vm\n\nwhile attempting to start process rank 0.\n")),
      "FAILED CONFIG the program is not there, or cannot be executed on vm: install the same "
      "syncbn on every host");
  EXPECT_THAT(Of(Ended(1,
                       "There are not enough slots available in the system to satisfy the 3\nslots "
                       "that were requested by the application:\n")),
              HasSubstr("FAILED CONFIG mpirun refused the number of processes"));
  v1::ExitRecord exit;
  exit.set_cause(v1::ExitRecord::NOT_STARTED);
  exit.set_message("cannot run mpirun in /d: No such file or directory");
  EXPECT_EQ(Of(exit), "FAILED CONFIG cannot run mpirun in /d: No such file or directory");
  EXPECT_THAT(Of(Ended(1, "mpirun has detected an attempt to run as root.\n")),
              HasSubstr("FAILED CONFIG mpirun does not run as root"));
}

TEST(Classify, HostsThatCannotBeReachedOrAreLostAreInfraAndAreNamed) {
  Verdict verdict =
      Classify(Ended(255, "ssh: Could not resolve hostname node7: Name or service not known\n" +
                              std::string(kLine) +
                              "ORTE was unable to reliably start one or more daemons.\n"),
               {}, 2, 1);
  EXPECT_EQ(Text(verdict),
            "FAILED INFRA host node7 has no address: check its name in the hosts file");
  EXPECT_THAT(verdict.bad_hosts, ElementsAre("node7"));
  verdict = Classify(Ended(205,
                           "ORTE has lost communication with a remote daemon.\n\n  HNP daemon   : "
                           "[[6656,0],0] on node vm\n"
                           "  Remote daemon: [[6656,0],2] on node sbn2\n\nThis is usually due to "
                           "either a failure of the TCP network\n"),
                     {}, 2, 1);
  EXPECT_EQ(Text(verdict),
            "FAILED INFRA the daemon of mpirun on host sbn2 could not be started or was lost");
  EXPECT_THAT(verdict.bad_hosts, ElementsAre("sbn2"));
  EXPECT_EQ(Of(Ended(255, "ssh: connect to host node7 port 22: Connection refused\n")),
            "FAILED INFRA host node7 cannot be reached: ssh: connect to host node7 port 22: "
            "Connection refused");
  EXPECT_EQ(Of(Ended(255, "root@node7: Permission denied (publickey).\n")),
            "FAILED INFRA host node7 cannot be reached: root@node7: Permission denied (");
}

TEST(Classify, ReportsOfRanksSayMoreThanTheLauncher) {
  const auto exit = Ended(1, "  Process name: [[18632,1],0]\n  Exit code:    1\n");
  EXPECT_EQ(Of(exit, {Failed(0, "ABORTED", "rank 1 failed", true),
                      Failed(1, "INVALID_ARGUMENT", "no file /data/x")}),
            "FAILED CONFIG rank 1: no file /data/x");
  RankReport stalled =
      Failed(0, "DEADLINE_EXCEEDED", "waited 300 s for ranks 1 and 3 in reduction 17");
  stalled.exit.add_missing_ranks(1);
  stalled.exit.set_operation("layer2.0.bn1 forward");
  stalled.exit.set_activity("load");
  stalled.exit.set_layer("conv1");
  stalled.exit.add_frames("layer layer2.0.bn1");
  const Verdict verdict = Classify(exit, {stalled}, 2, 1);
  EXPECT_EQ(
      Text(verdict),
      "FAILED STALL rank 0: waited 300 s for ranks 1 and 3 in reduction 17; in layer layer2.0.bn1");
  EXPECT_THAT(verdict.failure->ranks, ElementsAre(1));
  EXPECT_EQ(verdict.failure->operation, "layer2.0.bn1 forward");
  EXPECT_EQ(verdict.failure->activity, "load");
  EXPECT_EQ(verdict.failure->layer, "conv1");
  EXPECT_EQ(FromProto(ToProto(*verdict.failure)), *verdict.failure);
  EXPECT_EQ(Of(exit, {Failed(0, "RESOURCE_EXHAUSTED", "out of memory")}),
            "FAILED OOM rank 0: out of memory");
  EXPECT_EQ(Of(exit, {Failed(0, "RESOURCE_EXHAUSTED", "cannot write /o: No space left on device")}),
            "FAILED INFRA rank 0: cannot write /o: No space left on device");
  EXPECT_EQ(Of(exit, {Failed(0, "INTERNAL", "check failed")}), "FAILED USER rank 0: check failed");
}

TEST(Classify, ARankThatKnowsItsClassIsBelievedAndNeitherDivergedNorStorageIsRetried) {
  RankReport diverged = Failed(0, "", "11 steps in a row were not finite");
  diverged.exit.set_class_(v1::Failure::DIVERGED);
  EXPECT_EQ(Of(Ended(12), {diverged}), "FAILED DIVERGED rank 0: 11 steps in a row were not finite");
  RankReport full =
      Failed(0, "RESOURCE_EXHAUSTED", "cannot write /memory/o: No space left on device");
  full.exit.set_class_(v1::Failure::STORAGE);
  EXPECT_EQ(Of(Ended(13), {full, Completed(1)}),
            "FAILED STORAGE rank 0: cannot write /memory/o: No space left on device");
  // Also where it was being ended: a pause without its checkpoint is none.
  v1::ExitRecord asked = Ended(13);
  asked.set_cause(v1::ExitRecord::STOPPED);
  for (const char* rung : {"ask", "terminate"}) {
    asked.set_rung(rung);
    EXPECT_THAT(Of(asked, {full}), HasSubstr("FAILED STORAGE")) << rung;
  }
  EXPECT_FALSE(IsRetried(FailureClass::kDiverged));
  EXPECT_FALSE(IsRetried(FailureClass::kStorage));
}

TEST(Classify, ExitCodesSayTheClassWhereNoReportCame) {
  EXPECT_THAT(Of(Ended(4)), HasSubstr("FAILED OOM"));
  EXPECT_THAT(Of(Ended(12)), HasSubstr("FAILED DIVERGED"));
  EXPECT_THAT(Of(Ended(13)), HasSubstr("FAILED STORAGE"));
}

TEST(Classify, WhereRanksOnlySufferedTheLauncherSaysWhoDied) {
  const auto exit = Ended(
      137,
      "mpirun noticed that process rank 1 with PID 0 on node vm exited on signal 9 (Killed).\n");
  EXPECT_EQ(Of(exit, {Failed(0, "UNAVAILABLE", "rank 1 is gone", true)}),
            "FAILED INFRA rank 1 on vm was ended by SIGKILL");
  EXPECT_EQ(Of(Ended(1), {Failed(0, "UNAVAILABLE", "rank 1 is gone", true)}),
            "FAILED INFRA rank 0: rank 1 is gone");
}

TEST(Classify, ACleanEndIsCompletedWithAndWithoutReports) {
  EXPECT_EQ(Of(Ended(0)), "COMPLETED");
  EXPECT_EQ(Of(Ended(0), {Completed(0)}), "COMPLETED");
  EXPECT_EQ(Of(Ended(139), {Completed(0), Completed(1)}), "COMPLETED")
      << "what happens after all have finished does not count";
  EXPECT_THAT(Of(Ended(139), {Completed(0)}), HasSubstr("FAILED"));
  EXPECT_THAT(Of(Ended(0), {Completed(0), Failed(1, "INTERNAL", "x")}), "FAILED USER rank 1: x");
}

TEST(Classify, RanksThatLeftOnRequestAreStopped) {
  EXPECT_EQ(Of(Ended(0), {Stopped(0), Stopped(1)}), "STOPPED");
  EXPECT_EQ(Of(Ended(kExitStopped)), "STOPPED") << "no report came";
  EXPECT_EQ(Of(Ended(kExitSuperseded)), "STOPPED");
}

TEST(Classify, AnAttemptThatWasOrderedToStopIsStoppedHoweverItsRanksDied) {
  v1::ExitRecord exit = Ended(143,
                              "mpirun noticed that process rank 1 with PID 0 on node vm exited on "
                              "signal 15 (Terminated).\n");
  exit.set_cause(v1::ExitRecord::STOPPED);
  for (const char* rung : {"ask", "checkpoint", "terminate", "launcher", "kill"}) {
    exit.set_rung(rung);
    EXPECT_EQ(Of(exit), "STOPPED") << rung;
  }
  // But one that fails by itself while it is only being asked has failed.
  exit.set_rung("checkpoint");
  EXPECT_EQ(Of(exit, {Failed(0, "INTERNAL", "check failed")}), "FAILED USER rank 0: check failed");
  exit.set_rung("terminate");
  EXPECT_EQ(Of(exit, {Failed(0, "INTERNAL", "check failed")}), "STOPPED");
}

TEST(Classify, ShutdownsAndLostSupervisorsAreInfraWhateverTheRanksLookLike) {
  v1::ExitRecord exit = Ended(1, "  Process name: [[18632,1],0]\n  Exit code:    143\n");
  exit.set_cause(v1::ExitRecord::HOST_SHUTDOWN);
  EXPECT_EQ(Of(exit),
            "STOPPED INFRA its host told the attempt to end (shutdown, or the batch system)");
  exit.set_cause(v1::ExitRecord::SUPERVISOR_LOST);
  exit.set_message("its supervisor (process 5 on vm) died");
  EXPECT_EQ(Of(exit), "FAILED INFRA its supervisor (process 5 on vm) died");
  EXPECT_EQ(Of(exit, {Stopped(0)}), "STOPPED INFRA its supervisor (process 5 on vm) died");
  exit.set_cause(v1::ExitRecord::NEVER_RAN);
  EXPECT_EQ(Of(exit), "NEVER_RAN");
}

TEST(Classify, SlurmsWordsAreUnderstood) {
  EXPECT_EQ(Of(Ended(3, "srun: error: n1: task 1: Exited with exit code 3\n")),
            "FAILED USER rank 1 on n1 left with exit code 3");
  EXPECT_EQ(Of(Ended(137, "srun: error: n2: tasks 1-3: Killed\n")),
            "FAILED INFRA rank 1 on n2 was ended by SIGKILL");
  EXPECT_THAT(Of(Ended(137,
                       "slurmstepd: error: Detected 1 oom-kill event(s) in StepId=5.0.\nsrun: "
                       "error: n2: task 1: Out Of Memory\n")),
              HasSubstr("FAILED OOM memory ran out"));
  v1::ExitRecord exit;
  exit.set_cause(v1::ExitRecord::SUPERVISOR_LOST);
  for (const auto& [state, expected] :
       {std::pair("OUT_OF_MEMORY", "FAILED OOM"), std::pair("TIMEOUT", "FAILED TIMEOUT"),
        std::pair("NODE_FAIL", "FAILED INFRA"), std::pair("CANCELLED", "FAILED CANCELLED")}) {
    exit.set_batch_state(state);
    exit.set_message(std::string("Slurm ended the job: ") + state);
    EXPECT_EQ(Of(exit), std::string(expected) + " Slurm ended the job: " + state);
  }
}

TEST(Classify, KubernetesWordsAreUnderstood) {
  v1::ExitRecord exit;
  exit.set_cause(v1::ExitRecord::SUPERVISOR_LOST);
  for (const auto& [state, expected] :
       {std::pair("OOMKilled", "FAILED OOM"), std::pair("DeadlineExceeded", "FAILED TIMEOUT"),
        std::pair("Evicted", "FAILED INFRA"), std::pair("NodeLost", "FAILED INFRA"),
        std::pair("Suspended", "FAILED INFRA"), std::pair("Deleted", "FAILED CANCELLED")}) {
    exit.set_batch_state(state);
    exit.set_message(std::string("pod x: ") + state);
    EXPECT_EQ(Of(exit), std::string(expected) + " pod x: " + state);
  }
  // mpirun sees a daemon that is gone, and does not know why.
  exit = Ended(1, "ORTE has lost communication with a remote daemon.\n");
  exit.set_batch_state("OOMKilled");
  exit.set_message("pod x ran out of memory");
  EXPECT_EQ(Of(exit), "FAILED OOM pod x ran out of memory");
  // A node that is drained: its ranks were told to leave.
  exit = Ended(kExitStopped, "");
  exit.set_batch_state("Evicted");
  exit.set_message("pod x was taken away");
  EXPECT_EQ(Of(exit), "STOPPED INFRA pod x was taken away");
}

TEST(Classify, RanksThatLeaveBecauseAnotherDiedDoNotMakeItAStop) {
  const std::string text =
      "srun: error: n1: task 1: Killed\nsrun: error: n1: task 0: Exited with exit code 75\n";
  EXPECT_EQ(Of(Ended(75, text)), "FAILED INFRA rank 1 on n1 was ended by SIGKILL");
  EXPECT_EQ(Of(Ended(75,
                     "srun: error: n1: task 1: Exited with exit code 3\nsrun: error: n1: task 0: "
                     "Exited with exit code 75\n")),
            "FAILED USER rank 1 on n1 left with exit code 3");
  EXPECT_EQ(Classify(Ended(75, "srun: error: n1: tasks 0-1: Exited with exit code 75\n"), {}, 2, 1)
                .outcome,
            AttemptOutcome::kStopped);
}

TEST(Classify, WhatNobodyExplainsShowsTheLastLines) {
  v1::ExitRecord exit = Ended(9);
  exit.set_launcher_text("");
  exit.set_output_tail("0: epoch 1\n1: oh no\n");
  Verdict verdict = Classify(exit, {}, 2, 1);
  EXPECT_EQ(Text(verdict), "FAILED USER the launcher ended with exit code 9 and no rank said why");
  EXPECT_EQ(verdict.failure->excerpt, "0: epoch 1\n1: oh no\n");
  EXPECT_EQ(verdict.failure->exit_code, 9);
  // Killed before MPI had started: mpirun says nothing of whom, its exit code says how.
  exit.set_exit_code(137);
  EXPECT_EQ(Of(exit), "FAILED INFRA a rank was ended by SIGKILL");
  exit.set_exit_code(139);
  EXPECT_EQ(Of(exit), "FAILED USER a rank was ended by SIGSEGV");
  exit.set_exit_code(200);
  EXPECT_EQ(Of(exit), "FAILED USER the launcher ended with exit code 200 and no rank said why");
  exit.set_exit_code(9);
  exit.set_output_tail("0: terminate called after throwing an instance of 'std::bad_alloc'\n");
  EXPECT_THAT(Of(exit), HasSubstr("FAILED OOM"));
  exit.clear_exit_code();
  exit.set_signal(9);
  exit.set_output_tail("");
  EXPECT_EQ(Of(exit), "FAILED INFRA the launcher was ended by SIGKILL");
}

TEST(Classify, TheExcerptIsOfTheRankThatFailed) {
  v1::ExitRecord exit = Ended(139,
                              "mpirun noticed that process rank 1 with PID 0 on node vm exited on "
                              "signal 11 (Segmentation fault).\n");
  exit.set_output_tail("0: fine\n1: here it comes\n10: fine\n1: crash\n-: mpirun noticed\n");
  EXPECT_EQ(Classify(exit, {}, 2, 1).failure->excerpt, "1: here it comes\n1: crash\n");
}

}  // namespace
}  // namespace syncbn::coordinator
