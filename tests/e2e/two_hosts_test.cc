// Jobs across two hosts that are network namespaces of this machine, on a bridge; the launch agent
// enters them. The coordinator listens on the bridge.
#include <gmock/gmock.h>
#include <unistd.h>

#include "base/error.h"
#include "tests/e2e/resilience.h"

namespace syncbn {
namespace {

using coordinator::CommandResult;
using ::testing::HasSubstr;

class TwoHostsE2eTest : public ResilienceTest {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "network namespaces need root";
    std::string line = "set -e; ip link add " + bridge_ + " type bridge; ip addr add " + net_ +
                       ".254/24 dev " + bridge_ + "; ip link set " + bridge_ + " up";
    for (const int i : {1, 2}) {
      const std::string host = Host(i);
      line += "; ip netns add " + host + "; ip link add " + Link(i) +
              " type veth peer name eth0 netns " + host + "; ip link set " + Link(i) + " master " +
              bridge_ + " up; ip -n " + host + " addr add " + net_ + "." + std::to_string(i) +
              "/24 dev eth0; ip -n " + host + " link set eth0 up; ip -n " + host +
              " link set lo up";
    }
    const CommandResult result = Shell(line);
    if (result.exit_code != 0)
      GTEST_SKIP() << "network namespaces are not permitted here: " << result.error_output;
    for (const int i : {1, 2}) ASSERT_TRUE(ReachesTheBridge(i)) << Host(i);
  }
  void TearDown() override {
    for (const int i : {1, 2}) Shell("ip link del " + Link(i) + "; ip netns del " + Host(i));
    Shell("ip link del " + bridge_);
  }

  static CommandResult Shell(const std::string& line) {
    return coordinator::RunCommand({"/bin/sh", "-c", line}, std::chrono::seconds(20));
  }
  std::string Host(int i) const { return "sen" + id_ + "-" + std::to_string(i); }
  std::string Link(int i) const { return "sev" + id_ + "_" + std::to_string(i); }
  // A refused connection has been there and back.
  bool ReachesTheBridge(int i) const {
    const auto end = std::chrono::steady_clock::now() + kPatience;
    while (std::chrono::steady_clock::now() < end) {
      const CommandResult result = Shell("ip netns exec " + Host(i) +
                                         " timeout 2 bash -c 'exec 3<>/dev/tcp/" + net_ +
                                         ".254/9' 2>&1");
      if (result.output.find("refused") != std::string::npos) return true;
    }
    return false;
  }

  // `slots` on each host.
  void ServeBoth(int slots, std::vector<std::string> more = {}) {
    std::filesystem::create_directories(data());
    // As ssh would: it cannot reach a host that is cut off. Each host has a name of its own.
    const auto agent = data() / "agent";
    WriteFileAtomically(agent,
                        "#!/bin/sh\nhost=$1; shift\n"
                        "if ! ip link show sev" + id_ + "_${host##*-} | grep -q 'state UP'; then\n"
                        "  echo \"ssh: connect to host $host port 22: No route to host\" >&2\n"
                        "  exit 255\nfi\n"
                        "exec ip netns exec $host unshare --uts sh -c \"hostname $host; $*\"\n");
    std::filesystem::permissions(agent, std::filesystem::perms::owner_all);
    std::string yaml = "launch_agent: " + agent.string() + "\nmca:\n  - oob_tcp_if_include " + net_ +
                       ".0/24\n  - btl_tcp_if_include " + net_ +
                       ".0/24\n  - btl tcp,self\nhosts:\n";
    for (const int i : {1, 2})
      yaml += "  - {name: " + Host(i) + ", slots: " + std::to_string(slots) + ", cores: 1}\n";
    WriteFileAtomically(data() / "hosts.yaml", yaml);
    listen_ = net_ + ".254:0";
    const std::string token = (data() / "admin-token").string();
    more.insert(more.end(), {"--allow-plaintext", "--hosts=" + (data() / "hosts.yaml").string(),
                             "--admin-token-file=" + token});
    Serve(more);
    token_ = ReadFile(token);
    while (token_.ends_with('\n')) token_.pop_back();
  }

  // Its own names and network, so that two of these tests can run at once.
  const std::string id_ = std::to_string(::getpid() % 10000);
  const std::string bridge_ = "seb" + id_;
  const std::string net_ = "10." + std::to_string(64 + ::getpid() % 128) + "." +
                           std::to_string(::getpid() / 128 % 256);
};

TEST_F(TwoHostsE2eTest, AJobAcrossBothHasTheBitsOfOneHost) {
  ServeBoth(1);
  const std::string name = Submit(MakeJob(TinyRun(40), 2)).name();
  WaitForEnd(name);
  ExpectDoneOnce(name, 40);
  const std::vector<v1::Attempt> attempts = Attempts(name);
  ASSERT_EQ(attempts.size(), 1u);
  ASSERT_EQ(attempts[0].ranks_size(), 2);
  for (const int i : {1, 2}) EXPECT_EQ(attempts[0].ranks(i - 1).host(), Host(i));
}

TEST_F(TwoHostsE2eTest, HostsCheckTriesEveryHostAndAStepAcrossThem) {
  ServeBoth(1);
  const ProcessOptions check{
      .argv = {SyncbnProgram(), "hosts", "check", data() / "hosts.yaml", "--data", data()},
      .environment = {{"OMPI_ALLOW_RUN_AS_ROOT", "1"}, {"OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"}}};
  ProcessResult result = RunProcess(check);
  EXPECT_EQ(result.status, 0) << result.out << result.err;
  EXPECT_THAT(result.out, HasSubstr("One training step under mpirun across 2 hosts: done in "));
  ASSERT_EQ(Shell("ip link set " + Link(2) + " down").exit_code, 0);
  result = RunProcess(check);
  EXPECT_EQ(result.status, 1);
  EXPECT_THAT(result.out, HasSubstr(Host(2) + ": not reached (ssh: connect to host " + Host(2) +
                                    " port 22: No route to host)"));
  EXPECT_THAT(result.out, testing::Not(HasSubstr(Host(1) + ": ")));
  for (const auto& entry : std::filesystem::directory_iterator(data())) {
    EXPECT_THAT(entry.path().filename().string(), testing::Not(testing::StartsWith(".hosts-check"))) << "left";
  }
}

TEST_F(TwoHostsE2eTest, AHostThatIsCutOffIsNamedAndTheJobGoesOnWithTheOther) {
  Pace(100);
  // Ranks show no progress while MPI starts, which takes its time on a busy machine.
  ServeBoth(2, {"--stale-after=2", "--stall-after=20", "--terminate-time=0.5", "--launcher-time=1",
                "--host-failures=1"});
  // Takes one slot of the first host, so that the job gets one on each.
  v1::Job spec = MakeJob(LongRun());
  spec.mutable_resources()->add_hosts(Host(1));
  const std::string neighbour = Submit(spec).name();
  WaitForState(neighbour, v1::Job::RUNNING);
  spec = MakeJob(LongRun());
  spec.mutable_resources()->add_hosts(Host(2));
  const std::string other = Submit(spec).name();
  WaitForState(other, v1::Job::RUNNING);
  const int steps = 200;
  const std::string name = Submit(MakeJob(TinyRun(steps), 2)).name();
  WaitForState(name, v1::Job::RUNNING);
  for (const std::string& one : {neighbour, other}) Cancel(one, /*kill=*/true);
  for (const std::string& one : {neighbour, other}) WaitForEnd(one);
  WaitForSteps(name, 10);
  ASSERT_LT(StepsDone(name), steps) << "it was to be under way still";
  ASSERT_EQ(Shell("ip link set " + Link(2) + " down").exit_code, 0);
  WaitFor(name, "a second attempt", [](const v1::Job& job) { return job.attempt() == 2; });
  Pace(0);
  WaitForEnd(name);
  ExpectDoneOnce(name, steps);
  const std::vector<v1::Attempt> attempts = Attempts(name);
  ASSERT_EQ(attempts.size(), 2u);
  EXPECT_EQ(attempts[0].failure().class_(), v1::Failure::STALL) << Describe(name);
  EXPECT_EQ(attempts[0].failure().host(), Host(2));
  EXPECT_THAT(attempts[0].failure().message(),
              HasSubstr("rank 1 on " + Host(2) + " has not been heard for "));
  ASSERT_EQ(attempts[0].possibly_held_hosts_size(), 1);
  EXPECT_EQ(attempts[0].possibly_held_hosts(0), Host(2));
  ASSERT_EQ(attempts[1].hosts_size(), 1) << "on what is left";
  EXPECT_EQ(attempts[1].hosts(0).host(), Host(1));
}

}  // namespace
}  // namespace syncbn
