// The exact command line of mpirun, and its environment.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <optional>

#include "base/environment.h"
#include "base/error.h"
#include "base/host.h"
#include "coordinator/launch/mpirun_command.h"
#include "coordinator/launch/supervised_launcher.h"
#include "tests/coordinator/launch/command_fixture.h"

namespace syncbn::coordinator {
namespace {

using ::testing::ElementsAre;

TEST(MpirunCommand, OnThisMachineNothingIsBoundAndNothingIsRefused) {
  const MpirunSettings settings{.hosts = {{.name = "localhost", .slots = 2}}};
  EXPECT_EQ(
      MpirunCommand(settings, MakeRequest({{"localhost", 2}}), "/d/hostfile"),
      Words("mpirun --tag-output --bind-to none --map-by slot --mca rtc_hwloc_vmhole none "
            "-np 2 --hostfile /d/hostfile --mca "
            "plm rsh "
            "--mca orte_keep_fqdn_hostnames 1 -x SYNCBN_ATTEMPT -x SYNCBN_TOKEN -x OMP_NUM_THREADS "
            "/opt/syncbn/bin/syncbn train run~file.yaml --set train.epochs=3;~rm~-rf~/"));
}

TEST(WithTimeToEnd, ForceIsGivenUpOnlyWhenTheLauncherHasHadItsTimeAndUsedWhenTheLadderHas) {
  using std::chrono::seconds;
  const StopLadder::Times ladder{.ask = seconds(100)};
  const JobPolicy here = WithTimeToEnd({}, ladder, {});
  EXPECT_GT(here.stop_limit, LongestEnd({.ladder = ladder}));
  EXPECT_EQ(here.force_limit, JobPolicy().force_limit);
  const LauncherDelays slow{.word = seconds(120), .force = seconds(180)};
  const JobPolicy there = WithTimeToEnd({}, ladder, slow);
  EXPECT_EQ(there.stop_limit, here.stop_limit + seconds(240)) << "an order, and the answer";
  EXPECT_GT(there.force_limit, seconds(180));
  JobPolicy patient;
  patient.force_limit = std::chrono::hours(1);
  EXPECT_EQ(WithTimeToEnd(patient, ladder, slow).force_limit, std::chrono::hours(1));
}

TEST(MpirunCommand, ProcessesThatOutnumberTheCoresYield) {
  const MpirunSettings settings{.hosts = {{.name = "localhost", .slots = 8, .cores = 2}}};
  const auto command = MpirunCommand(settings, MakeRequest({{"localhost", 3}}), "/d/hostfile");
  const std::vector<std::string> yielding = {"--oversubscribe", "--mca", "mpi_yield_when_idle",
                                             "1"};
  EXPECT_NE(std::search(command.begin(), command.end(), yielding.begin(), yielding.end()),
            command.end());
  const auto few = MpirunCommand(settings, MakeRequest({{"localhost", 2}}), "/d/hostfile");
  EXPECT_EQ(std::search(few.begin(), few.end(), yielding.begin(), yielding.end()), few.end());
  const auto threads = MpirunCommand(settings, MakeRequest({{"localhost", 1}}, 3), "/d/hostfile");
  EXPECT_NE(std::search(threads.begin(), threads.end(), yielding.begin(), yielding.end()),
            threads.end());
}

TEST(MpirunCommand, OtherHostsAreReachedFromHereByTheAgentWithTheAdministratorsSettings) {
  MpirunSettings settings{.mpirun = "/usr/bin/mpirun",
                          .launch_agent = {"ssh", "-o", "BatchMode=yes"},
                          .mca = {"btl_tcp_if_include eth0,eth1", "btl tcp,self"}};
  LaunchRequest request = MakeRequest({{"node1.cluster", 2}, {"node2.cluster", 1}});
  request.environment.clear();
  request.program = {"/p"};
  EXPECT_EQ(
      MpirunCommand(settings, request, "/d/hostfile"),
      Words("/usr/bin/mpirun --tag-output --bind-to none --map-by slot --mca rtc_hwloc_vmhole none "
            "-np 3 --hostfile "
            "/d/hostfile --mca plm rsh "
            "--mca orte_keep_fqdn_hostnames 1 --mca plm_rsh_agent ssh~-o~BatchMode=yes --mca "
            "plm_rsh_no_tree_spawn 1 --mca orte_leave_session_attached 1 "
            "--mca btl_tcp_if_include eth0,eth1 --mca btl tcp,self -x SYNCBN_ATTEMPT /p"));
  EXPECT_EQ(HostfileText(request.placement), "node1.cluster slots=2\nnode2.cluster slots=1\n");
  EXPECT_THAT(RemoteHosts(request.placement), ElementsAre("node1.cluster", "node2.cluster"));
  EXPECT_TRUE(RemoteHosts({{"localhost", 1}, {HostName(), 1}}).empty());
}

TEST(MpirunCommand, WrongSettingsAreRefusedBeforeAnythingStarts) {
  auto error = [](SupervisedLauncher::Options options) {
    try {
      SupervisedLauncher launcher(std::move(options));
    } catch (const Error& error) {
      return error.message();
    }
    return std::string();
  };
  EXPECT_EQ(error({.mpirun = {.mca = {"btl"}}}),
            "mca setting 'btl' must be `name value`, e.g. `btl_tcp_if_include eth0`");
  EXPECT_EQ(error({.mpirun = {.mca = {"--x y"}}}),
            "mca setting '--x y' must be `name value`, e.g. `btl_tcp_if_include eth0`");
  EXPECT_EQ(
      error({.remote_program = "/opt/a b;c"}),
      "the path of syncbn on the hosts, '/opt/a b;c', may have letters, digits and / . _ - + only");
}

TEST(MpirunCommand, TheEnvironmentHasPathsAndLocaleButNothingOfTheCoordinators) {
  ::setenv("SYNCBN_ADMIN_TOKEN", "secret", 1);
  ::setenv("OMPI_COMM_WORLD_RANK", "3", 1);
  ::setenv("AWS_SECRET", "secret", 1);
  std::vector<std::string> names;
  for (const std::string& entry : BaseEnvironment()) names.push_back(VariableName(entry));
  EXPECT_THAT(names, ::testing::Contains("PATH"));
  for (const char* name : {"SYNCBN_ADMIN_TOKEN", "OMPI_COMM_WORLD_RANK", "AWS_SECRET"}) {
    EXPECT_THAT(names, ::testing::Not(::testing::Contains(name)));
    ::unsetenv(name);
  }
}

TEST(MpirunCommand, RanksGetTheSettingsThatTheOperatorHasMade) {
  const MpirunSettings settings{.exports = {"UCX_TLS", "OMP_NUM_THREADS"}};
  const auto command = MpirunCommand(settings, MakeRequest({{"localhost", 1}}), "/d/hostfile");
  const std::vector<std::string> exports = {"-x", "SYNCBN_ATTEMPT", "-x", "UCX_TLS",
                                            "-x", "SYNCBN_TOKEN",   "-x", "OMP_NUM_THREADS"};
  EXPECT_NE(std::search(command.begin(), command.end(), exports.begin(), exports.end()),
            command.end());
}

// Variables of this process, as they were in the end.
class VariablesTest : public ::testing::Test {
 protected:
  void Set(const std::string& name, const char* value) {
    const char* before = std::getenv(name.c_str());
    before_.emplace_back(name,
                         before != nullptr ? std::optional<std::string>(before) : std::nullopt);
    value != nullptr ? ::setenv(name.c_str(), value, 1) : ::unsetenv(name.c_str());
  }
  void TearDown() override {
    for (auto one = before_.rbegin(); one != before_.rend(); ++one) {
      one->second ? ::setenv(one->first.c_str(), one->second->c_str(), 1)
                  : ::unsetenv(one->first.c_str());
    }
  }

  std::vector<std::pair<std::string, std::optional<std::string>>> before_;
};

TEST_F(VariablesTest, WhatTheOperatorSetsForCommunicationIsHandedOn) {
  for (const char* name : {"OMPI_MCA_btl", "PMIX_MCA_ptl", "PRTE_MCA_x", "UCX_TLS", "NCCL_DEBUG"})
    Set(name, "value");
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK"}) Set(name, nullptr);
  LaunchRequest request = MakeRequest({});
  request.environment.push_back("NCCL_DEBUG=INFO");
  const std::vector<std::string> environment = LauncherEnvironment(request);
  for (const char* entry : {"OMPI_MCA_btl=value", "PMIX_MCA_ptl=value", "PRTE_MCA_x=value",
                            "UCX_TLS=value", "NCCL_DEBUG=INFO"})
    EXPECT_THAT(environment, ::testing::Contains(entry));
  EXPECT_THAT(environment, ::testing::Not(::testing::Contains("NCCL_DEBUG=value")))
      << "what a job may set and does set counts more";
  EXPECT_THAT(OperatorSettings(),
              ::testing::IsSupersetOf({"PMIX_MCA_ptl", "PRTE_MCA_x", "UCX_TLS"}));
  EXPECT_THAT(OperatorSettings(), ::testing::Not(::testing::Contains("OMPI_MCA_btl")));

  // A coordinator that runs under mpirun itself.
  Set("PMIX_RANK", "0");
  for (const std::string& entry : BaseEnvironment())
    EXPECT_FALSE(entry.starts_with("OMPI_MCA_") || entry.starts_with("PMIX_")) << entry;
  EXPECT_THAT(OperatorSettings(), ::testing::IsEmpty());
}

TEST_F(VariablesTest, ALauncherAlwaysHasAHome) {
  Set("HOME", "/home/anna");
  EXPECT_THAT(BaseEnvironment(), ::testing::Contains("HOME=/home/anna"));
  for (const char* none : {static_cast<const char*>(nullptr), ""}) {
    Set("HOME", none);
    int homes = 0;
    for (const std::string& entry : BaseEnvironment()) homes += entry.starts_with("HOME=/");
    EXPECT_EQ(homes, 1);
  }
}

}  // namespace
}  // namespace syncbn::coordinator
