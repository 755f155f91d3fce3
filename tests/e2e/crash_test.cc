// The coordinator, or a supervisor, killed at many moments of a job's life: the job ends once, with
// the bits, the figures and the log of one to which nothing happened.
#include <gmock/gmock.h>

#include "tests/e2e/resilience.h"

namespace syncbn {
namespace {

constexpr int kSteps = 40;

class CrashTest : public ResilienceTest {
 protected:
  void RunThroughIt() {
    Serve();
    const std::string name = SubmitSurely(MakeJob(TinyRun(kSteps), 2));
    EXPECT_EQ(name, "jobs/1") << "submitted once";
    WaitForEndSurely(name);
    ExpectDoneOnce(name, kSteps);
  }
  // In a script: once, before what follows.
  std::string KillOnce(const std::string& whom) const {
    const std::string mark = (data() / "killed-once").string();
    return "if mkdir " + mark + " 2>/dev/null; then kill -KILL " + whom + "; fi\n";
  }
  std::string ServerInScript() const {
    return "$(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/' " + (data() / "server.json").string() + ")";
  }
};

class CoordinatorKilledAt : public CrashTest, public ::testing::WithParamInterface<std::string> {};

TEST_P(CoordinatorKilledAt, TheJobEndsOnceWithEverything) {
  CrashAt(GetParam());
  RunThroughIt();
  EXPECT_TRUE(HasCrashed()) << "the moment never came";
  // Nothing that ran was lost: an earlier attempt is one that never did.
  for (const v1::Attempt& attempt : Attempts("jobs/1"))
    EXPECT_NE(attempt.outcome(), v1::ATTEMPT_OUTCOME_FAILED) << Describe("jobs/1");
  EXPECT_LE(Attempts("jobs/1").size(), 2u);
}
// A job's commits: submitted, placed, each rank registered, running, figures and exits, ended.
INSTANTIATE_TEST_SUITE_P(Commits, CoordinatorKilledAt,
                         ::testing::Values("commit:1", "commit:1:after", "commit:2",
                                           "commit:2:after", "commit:3", "commit:3:after",
                                           "commit:4", "commit:5", "commit:6", "commit:6:after",
                                           "commit:7:after"));
INSTANTIATE_TEST_SUITE_P(Starting, CoordinatorKilledAt,
                         ::testing::Values("rename:run.yaml", "rename:hostfile",
                                           "rename:attempt.json:after", "spawn:/syncbn",
                                           "spawn:/syncbn:after"));
INSTANTIATE_TEST_SUITE_P(Closing, CoordinatorKilledAt, ::testing::Values("read:exit.json"));

TEST_F(CrashTest, ACoordinatorKilledBetweenTheStartOfMpirunAndItsRecordTakesTheJobOver) {
  PutOnPath("mpirun", KillOnce(ServerInScript()) + "exec /usr/bin/mpirun \"$@\"\n");
  RunThroughIt();
  EXPECT_TRUE(std::filesystem::exists(data() / "killed-once"));
  EXPECT_EQ(Attempts("jobs/1").size(), 1u);
}

TEST_F(CrashTest, ACoordinatorKilledBetweenTheEndOfMpirunAndItsRecordClosesTheJobOnce) {
  PutOnPath("mpirun", "/usr/bin/mpirun \"$@\"\ncode=$?\n" + KillOnce(ServerInScript()) +
                          "exit $code\n");
  RunThroughIt();
  EXPECT_TRUE(std::filesystem::exists(data() / "killed-once"));
  EXPECT_EQ(Attempts("jobs/1").size(), 1u);
}

TEST_F(CrashTest, CoordinatorAndSupervisorKilledAtTheStartOfMpirunCostOneAttempt) {
  PutOnPath("mpirun", KillOnce(ServerInScript() + " $PPID") + "exec /usr/bin/mpirun \"$@\"\n");
  RunThroughIt();
  const std::vector<v1::Attempt> attempts = Attempts("jobs/1");
  ASSERT_EQ(attempts.size(), 2u) << Describe("jobs/1");
  EXPECT_EQ(attempts[0].failure().class_(), v1::Failure::INFRA);
  EXPECT_THAT(attempts[0].failure().message(), ::testing::ContainsRegex(
      "its supervisor \\(process [0-9]+ on .*\\) died"));
}

TEST_F(CrashTest, KilledAgainAndAgainWhileTheJobTrains) {
  Pace(50);
  Serve();
  const std::string name = Submit(MakeJob(TinyRun(kSteps), 2)).name();
  for (const int steps : {1, 10, 20, 30}) {
    WaitForSteps(name, steps);
    Restart();
  }
  WaitForEndSurely(name);
  ExpectDoneOnce(name, kSteps);
  EXPECT_EQ(Attempts(name).size(), 1u);
}

TEST_F(CrashTest, KilledAlsoWhileItTakesTheJobOver) {
  Pace(50);
  Serve();
  const std::string name = Submit(MakeJob(TinyRun(kSteps), 2)).name();
  WaitForSteps(name, 2);
  Kill();
  CrashAt("rename:server.json");
  // What it counts begins with that name.
  environment_["SYNCBN_TEST_CRASH_SINCE"] = "";
  EXPECT_THROW(Serve(), std::runtime_error);
  EXPECT_TRUE(HasCrashed());
  Serve();
  WaitForEndSurely(name);
  ExpectDoneOnce(name, kSteps);
  EXPECT_EQ(Attempts(name).size(), 1u);
}

// A supervisor killed where nothing ran yet, or everything had ended, costs nothing.
class SupervisorKilledAt : public CrashTest, public ::testing::WithParamInterface<std::string> {};

TEST_P(SupervisorKilledAt, TheJobEndsOnceWithEverything) {
  CrashAt(GetParam(), "supervise");
  RunThroughIt();
  EXPECT_TRUE(HasCrashed()) << "the moment never came";
}
INSTANTIATE_TEST_SUITE_P(Moments, SupervisorKilledAt,
                         ::testing::Values("rename:supervisor.json", "rename:supervisor.json:after",
                                           "rename:exit.json", "rename:exit.json:after"));

TEST_F(CrashTest, ASupervisorKilledWhileTheJobTrainsCostsOneAttempt) {
  // The ranks may outlive their supervisor by a moment: were they to end in it, they would have ended.
  Pace(200, 20);
  Serve();
  const int steps = 200;
  const std::string name = Submit(MakeJob(TinyRun(steps), 2)).name();
  WaitForSteps(name, 20);
  const nlohmann::json record =
      nlohmann::json::parse(ReadFile(AttemptFolderOf(name, 1) / "supervisor.json"));
  const nlohmann::json& pid = record["pid"];
  // 64-bit numbers are texts in the JSON of messages.
  ASSERT_EQ(::kill(pid.is_string() ? std::stoi(pid.get<std::string>()) : pid.get<int>(), SIGKILL),
            0);
  WaitFor(name, "a second attempt", [](const v1::Job& job) { return job.attempt() == 2; });
  Pace(0);
  WaitForEndSurely(name);
  ExpectDoneOnce(name, steps);
  EXPECT_EQ(Attempts(name).size(), 2u) << Describe(name);
}

}  // namespace
}  // namespace syncbn
