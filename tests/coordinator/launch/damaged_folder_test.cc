// What damage to an attempt's files comes to: the attempt ends, and nothing of it is left.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <thread>

#include "base/file.h"
#include "tests/coordinator/launch/launcher_fixture.h"
#include "tests/support/full_disk.h"

namespace syncbn::coordinator {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::Not;

// Under way, with one process that would sleep for a minute.
class DamagedFolderTest : public SupervisedLauncherTest {
 protected:
  void StartSleeping() {
    request.attempt.marker = request.marker;
    request.program = {"/bin/sh", "-c", "echo up; sleep 60"};
    request.request.processes = 1;
    request.placement = {{"localhost", 1}};
    options.end_time = milliseconds(50);
    launcher().Start(request);
    WaitForLog("up");
  }
  void KillSupervisor() {
    const auto supervisor = AttemptFolder(request.attempt.folder).Supervisor();
    const ProcessIdentity identity{supervisor->pid(), supervisor->start_ticks(),
                                   supervisor->boot_id()};
    ::kill(static_cast<pid_t>(supervisor->pid()), SIGKILL);
    while (IsAlive(identity)) std::this_thread::sleep_for(milliseconds(5));
  }
  std::filesystem::path File(const char* name) { return request.attempt.folder / name; }
};

TEST(AttemptFolderTest, WhatEndsAnAttemptIsWrittenOnAFullDisk) {
  TempFolder folder;
  SmallDisk disk(folder.path(), 1024);
  if (!disk.mounted()) GTEST_SKIP() << "mounting a file system is not permitted here";
  const AttemptFolder attempt(folder.path() / "attempt");
  attempt.Create({});
  {
    std::ofstream fill(folder.path() / "ballast", std::ios::binary);
    while (fill.write("x", 1).flush()) {
    }
  }
  EXPECT_THROW(attempt.WriteSupervisor({}), Error) << "it is full";
  v1::StopOrder order;
  order.set_reason(std::string(1024, 'r'));
  for (const v1::StopLevel level :
       {v1::STOP_LEVEL_GRACEFUL, v1::STOP_LEVEL_TERMINATE, v1::STOP_LEVEL_KILL}) {
    order.set_level(level);
    attempt.WriteStop(order);
    EXPECT_EQ(attempt.Stop()->level(), level);
  }
  v1::ExitRecord record;
  record.set_cause(v1::ExitRecord::ENDED);
  record.set_output_tail(std::string(8192, '\n'));
  attempt.WriteExit(record);
  EXPECT_EQ(attempt.Exit()->output_tail(), record.output_tail());
  std::vector<std::string> left;
  for (const auto& entry : std::filesystem::directory_iterator(attempt.path()))
    left.push_back(entry.path().filename().string());
  EXPECT_THAT(left,
              ::testing::UnorderedElementsAre("attempt.json", "stop.json", "exit.json", "spool"));
}

TEST(AttemptFolderTest, TheFirstRecordOfAnEndStaysAndOneThatCannotBeReadDoesNot) {
  const TempFolder folder;
  const AttemptFolder attempt(folder.path() / "attempt");
  attempt.Create({});
  v1::ExitRecord first, second;
  first.set_cause(v1::ExitRecord::ENDED);
  second.set_cause(v1::ExitRecord::NOT_STARTED);
  EXPECT_TRUE(attempt.WriteExit(first));
  EXPECT_FALSE(attempt.WriteExit(second));
  EXPECT_EQ(attempt.Exit()->cause(), v1::ExitRecord::ENDED);
  attempt.AmendExit(second);
  EXPECT_EQ(attempt.Exit()->cause(), v1::ExitRecord::NOT_STARTED);
  WriteFileAtomically(attempt.path() / "exit.json", "{");
  EXPECT_TRUE(attempt.WriteExit(first));
  EXPECT_EQ(attempt.Exit()->cause(), v1::ExitRecord::ENDED);
  first.set_marker("store/jobs/1/attempts/1");
  EXPECT_FALSE(attempt.WriteExit(first));
  second.set_marker("store/jobs/1/attempts/9");
  attempt.AmendExit(second);
  EXPECT_TRUE(attempt.WriteExit(first)) << "another attempt's is no record of this one";
  EXPECT_EQ(attempt.Exit()->marker(), first.marker());
  // Of many at once one has written it.
  std::filesystem::remove(attempt.path() / "exit.json");
  std::vector<pid_t> children(8);
  for (pid_t& child : children) {
    child = ::fork();
    if (child == 0) ::_exit(attempt.WriteExit(first) ? 1 : 0);
  }
  int written = 0;
  for (const pid_t child : children) {
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    written += WEXITSTATUS(status);
  }
  EXPECT_EQ(written, 1);
  std::vector<std::string> left;
  for (const auto& entry : std::filesystem::directory_iterator(attempt.path()))
    left.push_back(entry.path().filename().string());
  EXPECT_THAT(left, ::testing::UnorderedElementsAre("attempt.json", "exit.json", "spool"));
}

TEST_F(DamagedFolderTest, AnAttemptWhoseFilesAreDamagedEndsWhenItsSupervisorIsDead) {
  const LaunchRequest base = request;
  for (const char* file : {"exit.json", "supervisor.json", "attempt.json"}) {
    for (const std::string content : {"{", "", "{}x", "a folder"}) {
      SCOPED_TRACE(std::string(file) + ": '" + content + "'");
      request = base;
      request.attempt.folder = folder.path() / (file + std::to_string(content.size()));
      request.marker += "/" + request.attempt.folder.filename().string();
      StartSleeping();
      KillSupervisor();
      std::filesystem::remove(File(file));
      if (content == "a folder") {
        std::filesystem::create_directory(File(file));
      } else {
        WriteFileAtomically(File(file), content);
      }
      const Observation seen = launcher().Observe(request.attempt);
      ASSERT_EQ(seen.kind, Observation::Kind::kEnded);
      EXPECT_EQ(seen.exit->cause(), v1::ExitRecord::SUPERVISOR_LOST);
      EXPECT_THAT(seen.exit->message(), HasSubstr(File(file).string() + " is damaged: "));
      EXPECT_THAT(seen.exit->message(), Not(HasSubstr("INVALID_ARGUMENT")))
          << "what protobuf says is of no use to anybody";
      EXPECT_TRUE(FindMarked(request.marker).empty());
      EXPECT_EQ(launcher().Observe(request.attempt).exit->message(), seen.exit->message());
    }
  }
  request = base;
}

TEST_F(DamagedFolderTest, FilesOfAnotherAttemptAreNotTakenForItsOwn) {
  StartSleeping();
  KillSupervisor();
  const AttemptFolder own(request.attempt.folder);
  v1::ExitRecord exit;
  exit.set_marker("store/jobs/1/attempts/9");
  exit.set_cause(v1::ExitRecord::ENDED);
  exit.set_exit_code(0);
  own.WriteExit(exit);
  // Killed by its number it would be a process that has nothing to do with the attempt.
  v1::SupervisorRecord supervisor = *own.Supervisor();
  const ProcessIdentity self = SelfIdentity();
  supervisor.set_marker("store/jobs/1/attempts/9");
  supervisor.set_pid(self.pid);
  supervisor.set_start_ticks(self.start_ticks);
  own.WriteSupervisor(supervisor);
  const Observation seen = launcher().Force(request.attempt);
  ASSERT_EQ(seen.kind, Observation::Kind::kEnded);
  EXPECT_EQ(seen.exit->cause(), v1::ExitRecord::SUPERVISOR_LOST);
  EXPECT_THAT(seen.exit->message(),
              HasSubstr("it is of another attempt, 'store/jobs/1/attempts/9'"));
}

TEST_F(DamagedFolderTest, AnAttemptWhoseLockIsRemovedIsNotTakenForDead) {
  StartSleeping();
  std::filesystem::remove(File("lock"));
  for (int i = 0; i < 2; ++i)
    EXPECT_EQ(launcher().Observe(request.attempt).kind, Observation::Kind::kAlive);
  EXPECT_FALSE(FindMarked(request.marker).empty());
  launcher().Stop(request.attempt, StopLevel::kKill, "test");
  EXPECT_EQ(WaitForEnd().cause(), v1::ExitRecord::STOPPED);
}

TEST_F(DamagedFolderTest, WhatRunsIsFoundByItsMarkerWhenTheFolderIsEmptied) {
  StartSleeping();
  KillSupervisor();
  for (const char* file : {"attempt.json", "supervisor.json", "lock"})
    std::filesystem::remove(File(file));
  const Observation seen = launcher().Observe(request.attempt);
  ASSERT_EQ(seen.kind, Observation::Kind::kEnded);
  EXPECT_EQ(seen.exit->cause(), v1::ExitRecord::SUPERVISOR_LOST);
  EXPECT_TRUE(FindMarked(request.marker).empty());
}

TEST_F(DamagedFolderTest, AnOrderToStopGetsThroughWhereADamagedOneLies) {
  StartSleeping();
  WriteFileAtomically(File("stop.json"), "{");
  launcher().Stop(request.attempt, StopLevel::kKill, "test");
  EXPECT_EQ(WaitForEnd().cause(), v1::ExitRecord::STOPPED);
}

TEST_F(DamagedFolderTest, ForceEndsAnAttemptWhoseSupervisorLivesAndCannotBeTold) {
  StartSleeping();
  WriteFileAtomically(File("supervisor.json"), "{");
  launcher().Force(request.attempt);
  WaitForEnd();
  EXPECT_TRUE(FindMarked(request.marker).empty());
}

}  // namespace
}  // namespace syncbn::coordinator
