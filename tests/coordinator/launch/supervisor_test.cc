// Supervisors as processes of their own, with scripts and with real mpirun: whatever happens, there
// is one exit record, the log is whole and nothing is left.
#include "coordinator/launch/supervisor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <functional>
#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "coordinator/launch/attempt_folder.h"
#include "coordinator/job/job_record.h"
#include "report/metric_batches.h"
#include "report/spool.h"
#include "report/spool_file.h"
#include "report/spool_reader.h"
#include "tests/support/temp_folder.h"

namespace syncbn::coordinator {
namespace {

using std::chrono::milliseconds;
using ::testing::AnyOf;
using ::testing::HasSubstr;

class SupervisorTest : public ::testing::Test {
 protected:
  SupervisorTest() {
    static int count = 0;
    spec.set_marker("test" + std::to_string(::getpid()) + "/jobs/" + std::to_string(++count) +
                    "/attempts/1");
    for (const char* name :
         {"PATH", "HOME", "OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"}) {
      if (const char* value = std::getenv(name))
        spec.add_environment(std::string(name) + "=" + value);
    }
    spec.set_working_folder(folder.path());
    v1::LadderSpec& ladder = *spec.mutable_ladder();
    ladder.set_ask_seconds(0.3);
    ladder.set_checkpoint_seconds(0.5);
    ladder.set_terminate_seconds(1.5);
    ladder.set_launcher_seconds(1.5);
    ladder.set_kill_seconds(5);
    ladder.set_remote_seconds(2);
  }
  ~SupervisorTest() override {
    EXPECT_TRUE(FindMarked(spec.marker()).empty()) << "processes were left";
    Sweep(spec.marker(), milliseconds(3000));
    const ScratchFolders scratch = ScratchOf(spec.marker());
    EXPECT_FALSE(std::filesystem::exists(scratch.disk));
    EXPECT_FALSE(std::filesystem::exists(scratch.memory));
  }

  void Script(const std::string& text) {
    for (const char* word : {"/bin/sh", "-c"}) spec.add_command(word);
    spec.add_command(text);
  }
  void Mpirun(int ranks, std::vector<std::string> arguments) {
    for (std::string word :
         {std::string("mpirun"), std::string("--tag-output"), std::string("--bind-to"),
          std::string("none"), std::string("--host"), "localhost:" + std::to_string(ranks),
          std::string("--mca"), std::string("plm"), std::string("rsh"), std::string("--mca"),
          std::string("mpi_yield_when_idle"), std::string("1"), std::string("--mca"),
          std::string("rtc_hwloc_vmhole"), std::string("none"), std::string("-np"),
          std::to_string(ranks), std::string(TEST_BIN) + "/coordinator_mpi_worker"}) {
      spec.add_command(word);
    }
    for (std::string& argument : arguments) spec.add_command(std::move(argument));
    spec.set_tagged_output(true);
  }
  CommandResult Supervise() {
    attempt.Create(spec);
    return Again();
  }
  CommandResult Again() {
    return RunCommand({std::string(TEST_BIN) + "/coordinator_supervise_tool", "supervise",
                       "--folder", attempt.path()},
                      milliseconds(60'000));
  }
  void Order(v1::StopLevel level) {
    v1::StopOrder order;
    order.set_level(level);
    order.set_reason("test");
    attempt.WriteStop(order);
  }
  static bool WaitFor(const std::function<bool()>& condition,
                      milliseconds time = milliseconds(60'000)) {
    const auto end = std::chrono::steady_clock::now() + time;
    while (!condition()) {
      if (std::chrono::steady_clock::now() > end) return false;
      std::this_thread::sleep_for(milliseconds(10));
    }
    return true;
  }
  v1::ExitRecord WaitForExit() {
    EXPECT_TRUE(WaitFor([&] { return attempt.Exit().has_value(); })) << "no exit record";
    // The supervisor itself leaves after that.
    EXPECT_TRUE(WaitFor([&] { return attempt.TryLock().has_value(); }));
    return attempt.Exit().value_or(v1::ExitRecord());
  }
  std::string Log() { return ReadFile(attempt.output_log()); }
  bool LogHas(const std::string& text) {
    return std::filesystem::exists(attempt.output_log()) && Log().find(text) != std::string::npos;
  }
  int64_t SupervisorPid() { return attempt.Supervisor()->pid(); }

  TempFolder folder;
  v1::AttemptSpec spec;
  AttemptFolder attempt{folder.path() / "attempt"};
};

TEST_F(SupervisorTest, ACommandThatEndsLeavesItsCodeItsLogAndNothingElse) {
  Script("echo out; echo err >&2; printf 'no newline'; exit 3");
  const CommandResult started = Supervise();
  EXPECT_EQ(started.exit_code, 0) << started.error_output;
  EXPECT_EQ(started.output + started.error_output, "");
  const v1::ExitRecord exit = WaitForExit();
  EXPECT_EQ(exit.cause(), v1::ExitRecord::ENDED);
  EXPECT_EQ(exit.exit_code(), 3);
  EXPECT_EQ(exit.marker(), spec.marker());
  EXPECT_EQ(exit.swept_size(), 0);
  EXPECT_THAT(Log(), AnyOf("-: out\n-: err\n-+ no newline\n", "-: err\n-: out\n-+ no newline\n"));
}

TEST_F(SupervisorTest, TheSupervisorIsKnownBeforeTheLauncherRunsAndOutlivesWhoStartedIt) {
  Script("sleep 60");
  Supervise();
  const auto record = attempt.Supervisor();
  ASSERT_TRUE(record.has_value());
  EXPECT_TRUE(IsAlive({record->pid(), record->start_ticks(), record->boot_id()}));
  EXPECT_FALSE(IsAlive({record->pid(), record->start_ticks() + 1, record->boot_id()}))
      << "a later process of that number";
  EXPECT_EQ(::getsid(static_cast<pid_t>(record->pid())), record->pid()) << "a session of its own";
  EXPECT_FALSE(attempt.TryLock().has_value());
  Order(v1::STOP_LEVEL_KILL);
  EXPECT_EQ(WaitForExit().rung(), "kill");
  // Its lock goes a moment before it does.
  EXPECT_TRUE(WaitFor([&] {
    return !IsAlive({record->pid(), record->start_ticks(), record->boot_id()});
  }));
}

TEST_F(SupervisorTest, TheSecondSupervisorOfAnAttemptLeavesAndOneThatIsOverIsNotStartedAgain) {
  Script("sleep 60");
  Supervise();
  CommandResult second = Again();
  EXPECT_EQ(second.exit_code, 1);
  EXPECT_THAT(second.error_output, HasSubstr(" has a supervisor already (process " +
                                             std::to_string(SupervisorPid()) + " on "));
  Order(v1::STOP_LEVEL_KILL);
  WaitForExit();
  second = Again();
  EXPECT_EQ(second.exit_code, 1);
  EXPECT_EQ(second.error_output,
            "syncbn supervise: the attempt in " + attempt.path().string() + " is over\n");
}

TEST_F(SupervisorTest, ALauncherThatOutlivesAllItsRanksIsEnded) {
  Script("OMPI_COMM_WORLD_RANK=0 sh -c 'sleep 3; true'; exec sleep 600");
  Supervise();
  const v1::ExitRecord exit = WaitForExit();
  EXPECT_EQ(exit.cause(), v1::ExitRecord::ENDED);
  EXPECT_EQ(exit.signal(), SIGKILL);
  EXPECT_TRUE(FindMarked(spec.marker()).empty());
}

TEST_F(SupervisorTest, AnAttemptThatIsFencedBeforeItsSupervisorStartsNeverRuns) {
  Script("touch " + (folder.path() / "ran").string());
  attempt.Create(spec);
  {
    const auto lock = attempt.TryLock();
    v1::ExitRecord record;
    record.set_cause(v1::ExitRecord::NEVER_RAN);
    attempt.WriteExit(record);
  }
  EXPECT_EQ(Again().exit_code, 1);
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "ran"));
  EXPECT_EQ(attempt.Exit()->cause(), v1::ExitRecord::NEVER_RAN);
}

TEST_F(SupervisorTest, AnOrderThatIsThereAlreadyEndsTheAttemptBeforeAnythingRuns) {
  Script("touch ran; sleep 60");
  attempt.Create(spec);
  Order(v1::STOP_LEVEL_TERMINATE);
  EXPECT_EQ(Again().exit_code, 0);
  const v1::ExitRecord exit = WaitForExit();
  EXPECT_EQ(exit.cause(), v1::ExitRecord::STOPPED);
  EXPECT_EQ(exit.message(), "it was told to end before /bin/sh was started");
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "ran"));
}

TEST_F(SupervisorTest, OneThatWaitsForNamesHearsSignalsAndStartsWhenItHasThem) {
  Script("touch ran");
  spec.add_remote_hosts("no-such-name.invalid");
  spec.set_name_seconds(60);
  Supervise();
  ::kill(static_cast<pid_t>(SupervisorPid()), SIGTERM);
  const v1::ExitRecord exit = WaitForExit();
  EXPECT_EQ(exit.cause(), v1::ExitRecord::HOST_SHUTDOWN);
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "ran"));
  std::filesystem::remove_all(attempt.path());
  spec.set_remote_hosts(0, "localhost");
  spec.add_launch_agent("false");
  Supervise();
  EXPECT_EQ(WaitForExit().cause(), v1::ExitRecord::ENDED);
  EXPECT_TRUE(std::filesystem::exists(folder.path() / "ran"));
}

TEST_F(SupervisorTest, AnAttemptWhoseFormerSupervisorCannotBeReadIsRefusedWithWhatIsWrong) {
  Script("touch ran");
  attempt.Create(spec);
  WriteFileAtomically(attempt.path() / "supervisor.json", "{");
  const CommandResult result = Again();
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.error_output, HasSubstr("was started before ("));
  EXPECT_THAT(result.error_output, HasSubstr("supervisor.json is damaged: its 1 byte"));
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "ran"));
}

TEST_F(SupervisorTest, ALauncherThatCannotBeStartedIsSaidWithTheReason) {
  spec.add_command("no-such-mpirun");
  Supervise();
  v1::ExitRecord exit = WaitForExit();
  EXPECT_EQ(exit.cause(), v1::ExitRecord::NOT_STARTED);
  EXPECT_EQ(exit.message(), "cannot run no-such-mpirun in " + folder.path().string() +
                                ": No such file or directory (is it installed, and on the PATH of "
                                "the coordinator?)");
}

TEST_F(SupervisorTest, AFolderWithoutAnAttemptIsRefused) {
  std::filesystem::create_directories(attempt.path());
  const CommandResult result = Again();
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_EQ(result.error_output,
            "syncbn supervise: there is no attempt in " + attempt.path().string() + "\n");
}

TEST_F(SupervisorTest, OrphansInOtherSessionsAreFoundAndKilled) {
  Script("setsid sleep 61 & (setsid sh -c 'trap \"\" TERM HUP; sleep 62' &) ; sleep 0.2; exit 0");
  Supervise();
  const v1::ExitRecord exit = WaitForExit();
  EXPECT_EQ(exit.exit_code(), 0);
  EXPECT_GE(exit.swept_size(), 2);
  EXPECT_EQ(exit.survivors_size(), 0);
  EXPECT_THAT(exit.swept(0).command(), HasSubstr("sleep"));
}

TEST_F(SupervisorTest, AProcessThatHasLostMarkerParentAndSessionIsKilledAsAnAdoptedChild) {
  // The launcher ends when all three are there.
  const std::string pid_file = folder.path() / "pid";
  Script("(setsid env -u SYNCBN_ATTEMPT sh -c 'sleep 63 & sleep 64 & echo $$ > " + pid_file +
         ".new; mv " + pid_file + ".new " + pid_file + "; wait' &); until [ -e " + pid_file +
         " ]; do sleep 0.02; done");
  Supervise();
  const v1::ExitRecord exit = WaitForExit();
  EXPECT_EQ(exit.swept_size(), 3) << exit.DebugString();
  EXPECT_NE(::kill(std::stoi(ReadFile(pid_file)), 0), 0);
}

TEST_F(SupervisorTest, SigtermToTheSupervisorEndsTheAttemptAsAShutdownOfItsHost) {
  // It is no rank: its turn comes after theirs.
  spec.mutable_ladder()->set_terminate_seconds(0.1);
  spec.mutable_ladder()->set_launcher_seconds(30);
  Script("trap 'echo told; exit 9' TERM; echo ready; while :; do sleep 0.05; done");
  Supervise();
  ASSERT_TRUE(WaitFor([&] { return LogHas("ready"); }));
  ::kill(static_cast<pid_t>(SupervisorPid()), SIGTERM);
  const v1::ExitRecord exit = WaitForExit();
  EXPECT_EQ(exit.cause(), v1::ExitRecord::HOST_SHUTDOWN);
  EXPECT_EQ(exit.exit_code(), 9);
  EXPECT_TRUE(LogHas("told"));
}

TEST_F(SupervisorTest, WhenTheSupervisorIsKilledTheKernelEndsTheLauncher) {
  Script("trap 'echo bye > " + (folder.path() / "bye").string() +
         "; exit 0' TERM; echo ready; while :; do sleep 0.05; done");
  Supervise();
  ASSERT_TRUE(WaitFor([&] { return LogHas("ready"); }));
  ::kill(static_cast<pid_t>(SupervisorPid()), SIGKILL);
  EXPECT_TRUE(WaitFor([&] { return FindMarked(spec.marker()).empty(); }));
  EXPECT_TRUE(std::filesystem::exists(folder.path() / "bye"));
  EXPECT_TRUE(attempt.TryLock().has_value()) << "the lock went with it";
  EXPECT_FALSE(attempt.Exit().has_value());
  RemoveScratch(spec.marker());
}

TEST_F(SupervisorTest, AJobThatPrintsMoreThanItsLogMayHoldGoesOnAndTheRestIsCounted) {
  spec.set_max_log_bytes(10'000);
  Script("i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done; echo last; exit 0");
  Supervise();
  const v1::ExitRecord exit = WaitForExit();
  EXPECT_EQ(exit.exit_code(), 0);
  EXPECT_GT(exit.dropped_lines(), 1000);
  EXPECT_LT(std::filesystem::file_size(attempt.output_log()), 10'100u);
  EXPECT_THAT(exit.output_tail(), HasSubstr("-: last\n")) << "the end is kept in any case";
  EXPECT_THAT(Log(), HasSubstr("-: " + std::to_string(exit.dropped_lines()) +
                               " lines were dropped here\n"));
}

TEST_F(SupervisorTest, EveryLineOfALongLogArrivesInOrder) {
  Script("seq 1 20000 | sed 's/^/3: value /'; echo '2: x' >&2");
  Supervise();
  WaitForExit();
  std::string expected;
  for (int i = 1; i <= 20000; ++i) expected += "3: value " + std::to_string(i) + "\n";
  std::string log = Log();
  const size_t other = log.find("2: x\n");
  ASSERT_NE(other, std::string::npos);
  log.erase(other, 5);
  EXPECT_TRUE(log == expected);
}

TEST_F(SupervisorTest, AHostThatDoesNotAnswerIsNamedAndDoesNotHoldUpTheEnd) {
  // The agent knows two hosts: one runs the command here, the other never answers.
  const auto agent = folder.path() / "agent";
  WriteFileAtomically(agent,
                      "#!/bin/sh\nhost=$1; shift\ncase $host in good) exec \"$@\";; silent) sleep "
                      "60;; *) exit 255;; esac\n");
  std::filesystem::permissions(agent, std::filesystem::perms::owner_all);
  spec.add_launch_agent(agent);
  spec.set_remote_program(std::string(TEST_BIN) + "/coordinator_supervise_tool");
  for (const char* host : {"good", "silent", "refusing"}) spec.add_remote_hosts(host);
  Script("sleep 60");
  Supervise();
  const auto start = std::chrono::steady_clock::now();
  Order(v1::STOP_LEVEL_KILL);
  const v1::ExitRecord exit = WaitForExit();
  EXPECT_LT(std::chrono::steady_clock::now() - start, milliseconds(40'000)) << "it sleeps for 60 s";
  EXPECT_THAT(
      std::vector<std::string>(exit.unverified_hosts().begin(), exit.unverified_hosts().end()),
      ::testing::ElementsAre("silent", "refusing"));
}

TEST_F(SupervisorTest, ALauncherThatRefusesToStartAnythingSaysNothingOfOtherHosts) {
  spec.add_launch_agent("/bin/false");
  spec.set_remote_program("syncbn");
  spec.add_remote_hosts("node7");
  // As mpirun does for root without permission.
  Script("echo mpirun has detected an attempt to run as root. >&2; exit 1");
  Supervise();
  const v1::ExitRecord exit = WaitForExit();
  EXPECT_EQ(exit.exit_code(), 1);
  EXPECT_EQ(exit.unverified_hosts_size(), 0);
  EXPECT_EQ(exit.message(), "");
}

TEST_F(SupervisorTest, SpoolsOfOtherHostsAreBroughtHereAndThoseOfASharedDiskStay) {
  // "far" has a disk of its own, where the path of the attempt leads elsewhere; "near" shares this
  // one; "broken" ends in the middle of its answer; "silent" gives none.
  const auto far = folder.path() / "far", broken = folder.path() / "broken";
  const auto agent = folder.path() / "agent";
  const std::string elsewhere = "exec $(echo \"$*\" | sed 's#" + attempt.path().string() + "#";
  WriteFileAtomically(agent, "#!/bin/sh\nhost=$1; shift\ncase $host in near) exec \"$@\";; far) " +
                                 elsewhere + far.string() + "#');; broken) " +
                                 elsewhere.substr(5) + broken.string() +
                                 "#') | head -c 300; exit 1;; *) sleep 60;; esac\n");
  std::filesystem::permissions(agent, std::filesystem::perms::owner_all);
  spec.add_launch_agent(agent);
  spec.set_remote_program(std::string(TEST_BIN) + "/coordinator_supervise_tool");
  for (const char* host : {"near", "far", "broken", "silent"}) spec.add_remote_hosts(host);
  auto fill = [&](const std::filesystem::path& path, int rank) {
    report::Spool spool({.folder = path / "spool", .attempt = "jobs/1/attempts/1", .rank = rank});
    for (int64_t first = 1; first < 60; first += 10) {
      v1::MetricBatch batch;
      for (int64_t i = 0; i < 10; ++i) {
        report::AddPoint(batch, first + i, {.name = "loss", .step = first + i});
      }
      ASSERT_TRUE(spool.Append(batch));
    }
    v1::RankExit exit;
    exit.set_message("rank " + std::to_string(rank));
    spool.WriteExit(exit);
  };
  fill(attempt.path(), 0);
  fill(far, 1);
  fill(broken, 2);
  const std::string near_before =
      ReadFile(attempt.spool() / report::SegmentName(0, 1));
  Script("true");
  Supervise();
  const v1::ExitRecord exit = WaitForExit();
  EXPECT_EQ(exit.exit_code(), 0);
  EXPECT_EQ(exit.unverified_hosts_size(), 0);
  EXPECT_EQ(exit.message(),
            "what its workers could not deliver is still on broken, silent and could not be fetched");
  const std::vector<int> ranks = report::SpooledRanks(attempt.spool());
  ASSERT_THAT(ranks, ::testing::IsSupersetOf({0, 1}));
  EXPECT_EQ(ReadFile(attempt.spool() / report::SegmentName(0, 1)), near_before);
  report::SpoolReader fetched(attempt.spool(), 1);
  int64_t points = 0;
  fetched.ReadBatches([&](const v1::MetricBatch& batch) { points += batch.step_size(); });
  EXPECT_EQ(points, 60);
  EXPECT_EQ(fetched.attempt(), "jobs/1/attempts/1");
  EXPECT_EQ(fetched.ReadExit()->message(), "rank 1");
  EXPECT_FALSE(std::filesystem::exists(far)) << "it was removed there";
  EXPECT_THAT(report::SpooledRanks(broken / "spool"), ::testing::ElementsAre(2));
  for (const auto& entry : std::filesystem::directory_iterator(attempt.spool())) {
    EXPECT_THAT(entry.path().filename().string(), ::testing::StartsWith("rank-"));
  }
}

TEST_F(SupervisorTest, LinesOfAllRanksOfMpirunCarryTheirRank) {
  Mpirun(3, {"ok"});
  Supervise();
  const v1::ExitRecord exit = WaitForExit();
  EXPECT_EQ(exit.exit_code(), 0) << Log();
  for (int rank = 0; rank < 3; ++rank) {
    EXPECT_TRUE(LogHas(std::to_string(rank) + ": rank " + std::to_string(rank) + " of 3 is up\n"))
        << Log();
  }
  EXPECT_EQ(exit.swept_size(), 0);
}

TEST_F(SupervisorTest, AGracefulStopGoesThroughCheckpointAndTerminateAndTheRanksLeaveByThemselves) {
  // A SIGTERM while mpirun ends the job by itself can crash it, so it gets the time it needs.
  spec.mutable_ladder()->set_terminate_seconds(30);
  // And SIGUSR1 that which it takes through mpirun: SIGTERM goes to the ranks themselves.
  spec.mutable_ladder()->set_checkpoint_seconds(3);
  Mpirun(2, {"wait"});
  Supervise();
  ASSERT_TRUE(WaitFor([&] { return LogHas("rank 1 of 2 is up"); }));
  Order(v1::STOP_LEVEL_GRACEFUL);
  const v1::ExitRecord exit = WaitForExit();
  EXPECT_EQ(exit.cause(), v1::ExitRecord::STOPPED);
  EXPECT_EQ(exit.rung(), "terminate");
  EXPECT_EQ(exit.exit_code(), 75) << Log();
  for (const char* text : {"0: rank 0 writes a checkpoint", "1: rank 1 writes a checkpoint",
                           "0: rank 0 leaves", "1: rank 1 leaves"}) {
    EXPECT_TRUE(LogHas(text)) << text << " in\n" << Log();
  }
  EXPECT_EQ(exit.swept_size(), 0);
}

TEST_F(SupervisorTest, RanksThatIgnoreSigtermAreKilledThroughMpirun) {
  Mpirun(2, {"ignore"});
  Supervise();
  ASSERT_TRUE(WaitFor([&] { return LogHas("rank 1 of 2 is up"); }));
  Order(v1::STOP_LEVEL_TERMINATE);
  const v1::ExitRecord exit = WaitForExit();
  EXPECT_EQ(exit.cause(), v1::ExitRecord::STOPPED);
  EXPECT_THAT(exit.rung(), AnyOf("launcher", "kill"));
  EXPECT_EQ(exit.survivors_size(), 0);
}

TEST_F(SupervisorTest, AFrozenMpirunIsKilledAndItsRanksAreSwept) {
  Mpirun(2, {"ignore"});
  Supervise();
  ASSERT_TRUE(WaitFor([&] { return LogHas("rank 1 of 2 is up"); }));
  for (const MarkedProcess& process : FindMarked(spec.marker()))
    SignalMarked(process.pid, spec.marker(), SIGSTOP);
  Order(v1::STOP_LEVEL_TERMINATE);
  const v1::ExitRecord exit = WaitForExit();
  EXPECT_EQ(exit.rung(), "kill");
  EXPECT_EQ(exit.signal(), SIGKILL);
  EXPECT_EQ(exit.survivors_size(), 0);
}

TEST_F(SupervisorTest, AMilderOrderAfterAHarsherOneChangesNothing) {
  Script("trap '' TERM; while :; do sleep 0.05; done");
  Supervise();
  Order(v1::STOP_LEVEL_KILL);
  Order(v1::STOP_LEVEL_GRACEFUL);
  EXPECT_EQ(attempt.Stop()->level(), v1::STOP_LEVEL_KILL);
  EXPECT_EQ(WaitForExit().rung(), "kill");
}

TEST_F(SupervisorTest, MpirunMissingItsProgramEndsWithItsText) {
  Mpirun(2, {});
  spec.set_command(spec.command_size() - 1, "/no/such/program");
  Supervise();
  const v1::ExitRecord exit = WaitForExit();
  EXPECT_EQ(exit.cause(), v1::ExitRecord::ENDED);
  EXPECT_NE(exit.exit_code(), 0);
  EXPECT_THAT(exit.launcher_text(), HasSubstr("Executable: /no/such/program"));
}

}  // namespace
}  // namespace syncbn::coordinator
