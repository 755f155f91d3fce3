// What keeps a job from starting: each a clear failure, of the right class, within its deadline.
#include "base/error.h"
#include "base/host.h"
#include "tests/e2e/resilience.h"

namespace syncbn {
namespace {

class FailureTest : public ResilienceTest {
 protected:
  FailureTest() { std::filesystem::create_directories(data()); }

  // Serves the hosts of a hosts file with these lines.
  void ServeHosts(const std::string& yaml, std::vector<std::string> more = {}) {
    const auto file = data() / "hosts.yaml";
    WriteFileAtomically(file, yaml);
    more.push_back("--hosts=" + file.string());
    Serve(more);
  }
  std::string Script(const std::string& text) {
    const auto file = data() / "agent";
    WriteFileAtomically(file, "#!/bin/sh\n" + text);
    std::filesystem::permissions(file, std::filesystem::perms::owner_all);
    return file.string();
  }
  v1::Failure FailureOf(const v1::Job& spec) {
    const v1::Job job = SubmitAndWait(spec);
    EXPECT_EQ(job.state(), v1::Job::FAILED) << Describe(job.name());
    EXPECT_EQ(Ends(job.name()), 1);
    EXPECT_TRUE(Processes().empty()) << Describe(job.name());
    return job.failure();
  }
};

TEST_F(FailureTest, WithoutItsToolsALauncherIsNotServedAndTheyAreNamed) {
  const std::vector<std::string> serve = {SyncbnProgram(), "serve", "--data=" + data().string(),
                                          "--listen=127.0.0.1:0", "--http=off"};
  auto refusal = [&](std::vector<std::string> more, const std::string& path) {
    more.insert(more.begin(), serve.begin(), serve.end());
    const ProcessResult result = RunProcess({.argv = more, .environment = {{"PATH", path}}});
    EXPECT_EQ(result.status, 2) << result.err;
    return result.err;
  };
  const std::string local = refusal({}, "/nowhere");
  EXPECT_NE(local.find("the launcher local needs mpirun, and cannot find it (PATH is /nowhere): install"),
            std::string::npos)
      << local;
  PutOnPath("squeue", "");
  const std::string tools = (tools_.path() / "bin").string();
  const std::string slurm = refusal({"--launcher=slurm"}, tools);
  EXPECT_NE(slurm.find("the launcher slurm needs sbatch, scancel, and cannot find them (PATH is " + tools),
            std::string::npos)
      << slurm;
  const auto hosts = data() / "hosts.yaml";
  WriteFileAtomically(hosts, "launch_agent: /no/ssh -x\nhosts: [{name: far, slots: 2}]\n");
  const std::string here = refusal({"--hosts=" + hosts.string()}, std::getenv("PATH"));
  EXPECT_NE(here.find("the launcher hosts needs /no/ssh, and cannot find it"), std::string::npos) << here;
}

// A Slurm that takes nothing, and whose other tools do not work at all.
TEST_F(FailureTest, AJobThatSlurmDoesNotTakeSaysWhyAndCanBeEnded) {
  PutOnPath("sbatch",
            "echo 'sbatch: error: QOSMaxSubmitJobPerUserLimit' >&2\n"
            "echo 'sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job "
            "submit limit, user'\\''s size and/or time limits)' >&2\nexit 1\n");
  for (const char* tool : {"squeue", "scancel"}) PutOnPath(tool, "echo no controller >&2; exit 1\n");
  Serve({"--launcher=slurm", "--start-limit=1"});
  const std::string name = Submit(MakeJob(TinyRun(), 2)).name();
  WaitFor(name, "Slurm's words", [](const v1::Job& job) {
    return job.pending().message() ==
           "Slurm does not take the job now: sbatch: error: QOSMaxSubmitJobPerUserLimit; sbatch: error: "
           "Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size "
           "and/or time limits)";
  });
  Cancel(name, /*kill=*/true);
  EXPECT_EQ(WaitForEnd(name).state(), v1::Job::CANCELLED) << Describe(name);
  EXPECT_EQ(Get(name).possibly_held_hosts_size(), 0);
}

TEST_F(FailureTest, WhenMpirunGoesAwayAJobFailsAtOnceAndSaysSo) {
  PutOnPath("mpirun", "");
  environment_["PATH"] = (tools_.path() / "bin").string();
  Serve();
  std::filesystem::remove(tools_.path() / "bin" / "mpirun");
  const v1::Failure failure = FailureOf(MakeJob(TinyRun(), 2));
  EXPECT_EQ(failure.class_(), v1::Failure::CONFIG);
  EXPECT_EQ(failure.message(),
            "cannot run mpirun in " + (data() / "jobs" / "1").string() +
                ": No such file or directory (is it installed, and on the PATH of the "
                "coordinator?)");
  EXPECT_EQ(Get("jobs/1").attempt(), 1) << "not retried";
}

TEST_F(FailureTest, WithoutTheProgramOnAHostAJobFailsAtOnceAndSaysSo) {
  ServeHosts("program: /nowhere/syncbn\nhosts: [{name: localhost, slots: 2}]\n");
  const v1::Failure failure = FailureOf(MakeJob(TinyRun(), 2));
  EXPECT_EQ(failure.class_(), v1::Failure::CONFIG);
  EXPECT_EQ(failure.message(), "the program is not there, or cannot be executed on " +
                                   HostName() + ": install the same syncbn on every host");
  EXPECT_EQ(Get("jobs/1").attempt(), 1) << "not retried";
}

TEST_F(FailureTest, AHostWithoutAnAddressIsNamedAfterTheRestarts) {
  // As ssh says it; the real one may wait long for its name server.
  const std::string agent = Script(
      "echo \"ssh: Could not resolve hostname $1: Name or service not known\" >&2\nexit 255\n");
  ServeHosts("launch_agent: " + agent + "\nhosts: [{name: nowhere.invalid, slots: 2}]\n",
             {"--max-retries=1"});
  const v1::Failure failure = FailureOf(MakeJob(TinyRun(), 2));
  EXPECT_EQ(failure.class_(), v1::Failure::INFRA);
  EXPECT_EQ(failure.message(),
            "host nowhere.invalid has no address: check its name in the hosts file (after 1 "
            "restart)");
  EXPECT_EQ(failure.host(), "nowhere.invalid");
}

TEST_F(FailureTest, AHostThatCannotBeReachedIsNamedAfterTheRestarts) {
  const std::string agent = Script("exit 255\n");
  ServeHosts("launch_agent: " + agent + "\nhosts: [{name: far, slots: 2}]\n", {"--max-retries=1"});
  const v1::Failure failure = FailureOf(MakeJob(TinyRun(), 2));
  EXPECT_EQ(failure.class_(), v1::Failure::INFRA);
  EXPECT_EQ(failure.message(),
            "the daemon of mpirun on host far could not be started or was lost (after 1 restart)");
  EXPECT_EQ(failure.host(), "far");
}

TEST_F(FailureTest, ALaunchAgentThatHangsIsEndedWithinItsDeadlineAndTheHostNamed) {
  const std::string agent = Script("exec sleep 600\n");
  ServeHosts("launch_agent: " + agent + "\nhosts: [{name: far, slots: 2}]\n",
             {"--max-retries=0", "--start-limit=1", "--terminate-time=0.2", "--launcher-time=0.5"});
  const v1::Failure failure = FailureOf(MakeJob(TinyRun(), 2));
  EXPECT_EQ(failure.class_(), v1::Failure::INFRA);
  const nlohmann::json record = nlohmann::json::parse(ReadFile(data() / "server.json"));
  EXPECT_EQ(
      failure.message(),
      "not all ranks had registered after 1 s (missing: ranks 0 and 1 on far): either they did "
      "not start, or they cannot reach the coordinator at " +
          record["grpc"].get<std::string>() + " (its --advertise, --worker-ca)");
  const v1::Job job = Get("jobs/1");
  ASSERT_EQ(job.possibly_held_hosts_size(), 1) << Describe("jobs/1");
  EXPECT_EQ(job.possibly_held_hosts(0), "far");
}

TEST_F(FailureTest, AnAddressThatNobodyKnowsIsRefusedBeforeAJobRunsUnheard) {
  // A name that is too long is looked up nowhere.
  const std::string nowhere(70, 'x');
  const ProcessResult result =
      RunProcess({.argv = {SyncbnProgram(), "serve", "--data", data().string(), "--listen",
                           "127.0.0.1:0", "--http", "off", "--advertise", nowhere + ":7700"}});
  EXPECT_EQ(result.status, 2) << result.out;
  EXPECT_NE(result.err.find("--advertise " + nowhere + ":7700 has no address here: "),
            std::string::npos)
      << result.err;
  EXPECT_NE(result.err.find("say with --advertise HOST:PORT where workers reach it"),
            std::string::npos)
      << result.err;
}

TEST_F(FailureTest, ALoneRankThatFreezesIsReplaced) {
  Pace(20);
  Serve({"--stale-after=1", "--stall-after=6"});
  const std::string name = Submit(MakeJob(LongRun())).name();
  WaitForSteps(name, 2);
  for (const coordinator::MarkedProcess& process : Processes(name)) {
    if (process.command.find(" train ") != std::string::npos &&
        process.command.find("mpirun") == std::string::npos)
      ::kill(static_cast<pid_t>(process.pid), SIGSTOP);
  }
  const v1::Job job =
      WaitFor(name, "its second attempt", [](const v1::Job& one) { return one.attempt() == 2; });
  EXPECT_EQ(job.failure().class_(), v1::Failure::STALL) << Describe(name);
  EXPECT_NE(job.failure().message().find("the processors have done nothing for them"),
            std::string::npos)
      << job.failure().message();
  Cancel(name, true);
  WaitForEnd(name);
}

}  // namespace
}  // namespace syncbn
