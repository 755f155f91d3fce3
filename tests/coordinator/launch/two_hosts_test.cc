// The launcher `hosts` across two hosts that are network namespaces of this machine.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "coordinator/job/classify.h"
#include "tests/coordinator/launch/launcher_fixture.h"

namespace syncbn::coordinator {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

// Two hosts on this machine: network namespaces on a bridge, entered by the launch agent.
class TwoHostsTest : public SupervisedLauncherTest {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "network namespaces need root";
    const CommandResult result =
        Shell("set -e; ip link add sbr" + id_ + " type bridge; ip addr add " + net_ +
              ".254/24 dev sbr" + id_ + "; ip link set sbr" + id_ + " up; for i in 1 2; do ip netns add " + Host("$i") +
              "; ip link add sbv" + id_ + "_$i type veth peer name eth0 netns " + Host("$i") +
              "; ip link set sbv" + id_ + "_$i master sbr" + id_ + " up; ip -n " + Host("$i") +
              " addr add " + net_ + ".$i/24 dev eth0; ip -n " + Host("$i") +
              " link set eth0 up; ip -n " + Host("$i") + " link set lo up; done");
    if (result.exit_code != 0)
      GTEST_SKIP() << "network namespaces are not permitted here: " << result.error_output;
    for (const std::string way : {"1 254", "2 254", "1 2", "2 1"}) {
      ASSERT_TRUE(Reaches(way.substr(0, 1), net_ + "." + way.substr(2)))
          << "the bridge carries nothing from host " << way;
    }
    const auto agent = folder.path() / "agent";
    // Each host has a name of its own: Open MPI's daemons of one name would race for one folder.
    WriteFileAtomically(agent,
                        "#!/bin/sh\nhost=$1; shift\n"
                        "exec ip netns exec $host unshare --uts sh -c \"hostname $host; $*\"\n");
    std::filesystem::permissions(agent, std::filesystem::perms::owner_all);
    options.name = "hosts";
    options.mpirun.launch_agent = {agent};
    options.mpirun.hosts = {{.name = Host("1"), .slots = 1}, {.name = Host("2"), .slots = 1}};
    options.mpirun.mca = {"oob_tcp_if_include " + net_ + ".0/24",
                          "btl_tcp_if_include " + net_ + ".0/24", "btl tcp,self"};
    request.placement = {{Host("1"), 1}, {Host("2"), 1}};
  }
  void TearDown() override {
    Shell("for i in 1 2; do ip link del sbv" + id_ + "_$i; ip netns del " + Host("$i") +
          "; done; ip link del sbr" + id_);
  }
  std::string Host(const std::string& number) { return "sbn" + id_ + "-" + number; }
  CommandResult Shell(const std::string& line) {
    return RunCommand({"/bin/sh", "-c", line}, std::chrono::seconds(20));
  }

  // A refused connection has been there and back.
  bool Reaches(const std::string& number, const std::string& address) {
    for (int i = 0; i < 10; ++i) {
      const CommandResult result =
          Shell("ip netns exec " + Host(number) + " timeout 2 bash -c 'exec 3<>/dev/tcp/" +
                address + "/9' 2>&1");
      if (result.output.find("refused") != std::string::npos) return true;
    }
    return false;
  }

  // Its own names and network, so that two of these tests can run at once.
  std::string id_ = std::to_string(::getpid() % 10000);
  std::string net_ = "10." + std::to_string(64 + ::getpid() % 128) + "." +
                     std::to_string(::getpid() / 128 % 256);
};

TEST_F(TwoHostsTest, AJobRunsAcrossBoth) {
  launcher().Start(request);
  const v1::ExitRecord exit = WaitForEnd();
  EXPECT_EQ(exit.exit_code(), 0) << exit.output_tail();
  EXPECT_THAT(exit.output_tail(), HasSubstr("1: rank 1 of 2 is up\n"));
}

TEST_F(TwoHostsTest, AStoppedJobIsSweptOnBoth) {
  request.program = {kWorker, "ignore"};
  request.ladder.terminate = milliseconds(500);
  launcher().Start(request);
  WaitForLog("rank 1 of 2 is up");
  launcher().Stop(request.attempt, StopLevel::kTerminate, "test");
  const v1::ExitRecord exit = WaitForEnd();
  EXPECT_EQ(exit.cause(), v1::ExitRecord::STOPPED);
  EXPECT_EQ(exit.unverified_hosts_size(), 0) << exit.DebugString();
}

TEST_F(TwoHostsTest, ALostDaemonIsNamedWithItsHost) {
  request.program = {kWorker, "wait"};
  launcher().Start(request);
  WaitForLog("rank 1 of 2 is up");
  EXPECT_EQ(Shell("for p in $(ip netns pids " + Host("2") +
                  "); do grep -q orted /proc/$p/comm && kill -9 $p; done; true")
                .exit_code,
            0);
  const Verdict verdict = Classify(WaitForEnd(), {}, 2, 1);
  EXPECT_EQ(verdict.failure->failure_class, FailureClass::kInfra);
  EXPECT_EQ(verdict.failure->host, Host("2")) << verdict.failure->message;
  EXPECT_THAT(verdict.bad_hosts, ::testing::ElementsAre(Host("2")));
}

TEST_F(TwoHostsTest, AHostThatIsCutOffDoesNotKeepAStopFromEnding) {
  request.program = {kWorker, "ignore"};
  request.ladder = {.ask = milliseconds(100),
                    .checkpoint = milliseconds(100),
                    .terminate = milliseconds(300),
                    .launcher = milliseconds(500)};
  launcher().Start(request);
  WaitForLog("rank 1 of 2 is up");
  Shell("ip link set sbv" + id_ + "_2 down");
  const auto start = std::chrono::steady_clock::now();
  launcher().Stop(request.attempt, StopLevel::kGraceful, "test");
  const v1::ExitRecord exit = WaitForEnd();
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(60));
  EXPECT_EQ(exit.cause(), v1::ExitRecord::STOPPED);
}

TEST_F(TwoHostsTest, ALaunchAgentThatHangsIsEndedAndTheHostsAreNamedAsNotAsked) {
  const auto agent = folder.path() / "hanging";
  WriteFileAtomically(agent, "#!/bin/sh\nsleep 100\n");
  std::filesystem::permissions(agent, std::filesystem::perms::owner_all);
  options.mpirun.launch_agent = {agent};
  request.ladder = {.ask = milliseconds(0),
                    .checkpoint = milliseconds(0),
                    .terminate = milliseconds(100),
                    .launcher = milliseconds(500)};
  launcher().Start(request);
  std::this_thread::sleep_for(milliseconds(500));
  EXPECT_EQ(launcher().Observe(request.attempt).kind, Observation::Kind::kAlive);
  launcher().Stop(request.attempt, StopLevel::kKill, "not registered in time");
  const v1::ExitRecord exit = WaitForEnd();
  EXPECT_EQ(exit.unverified_hosts_size(), 2);
  EXPECT_TRUE(FindMarked(request.marker).empty()) << "the agents are gone too";
}

}  // namespace
}  // namespace syncbn::coordinator
