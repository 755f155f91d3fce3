// The exact command lines of mpirun and Slurm, and what Slurm answers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "base/host.h"
#include "coordinator/launch/attempt_folder.h"
#include "coordinator/launch/mpirun_command.h"
#include "coordinator/launch/slurm_launcher.h"
#include "coordinator/launch/supervised_launcher.h"
#include "tests/support/temp_folder.h"

namespace syncbn::coordinator {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

LaunchRequest MakeRequest(std::vector<Share> placement, int threads = 1) {
  LaunchRequest request;
  request.attempt = {.id = {17, 2}, .folder = "/d/jobs/17/attempts/2"};
  request.marker = "0123456789abcdef/jobs/17/attempts/2";
  request.placement = std::move(placement);
  request.request.job = 17;
  request.request.processes = 0;
  for (const Share& share : request.placement) request.request.processes += share.processes;
  request.request.threads = threads;
  request.program = {"/opt/syncbn/bin/syncbn", "train", "run file.yaml", "--set",
                     "train.epochs=3; rm -rf /"};
  request.environment = {"SYNCBN_TOKEN=secret", "OMP_NUM_THREADS=1"};
  request.working_folder = "/d";
  return request;
}

std::vector<std::string> Words(const std::string& text) {
  std::vector<std::string> words = {""};
  for (char c : text) {
    if (c == ' ') {
      words.emplace_back();
    } else {
      words.back() += c == '~' ? ' ' : c;
    }
  }
  return words;
}

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
                          .run = [this](const std::vector<std::string>& command, milliseconds) {
                            commands.push_back(command);
                            return command[0] == "squeue" ? queue : answer;
                          }});
  }
  LaunchRequest Request() {
    LaunchRequest request = MakeRequest({});
    request.request.processes = 2;
    request.attempt.folder = folder.path() / "2";
    return request;
  }
  AttemptRef Attempt() { return {.id = {17, 2}, .folder = folder.path() / "2"}; }

  TempFolder folder;
  CommandResult answer{.output = "55\n"};
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
  Observation seen = launcher.Observe(Attempt());
  ASSERT_EQ(seen.kind, Observation::Kind::kEnded);
  EXPECT_EQ(seen.exit->cause(), v1::ExitRecord::SUPERVISOR_LOST);
  EXPECT_EQ(seen.exit->batch_state(), "OUT_OF_MEMORY");
  EXPECT_EQ(launcher.Observe(Attempt()).exit->message(),
            "Slurm ended the job: OUT_OF_MEMORY (None)");
}

TEST_F(SlurmLauncherTest, AJobThatSlurmHasForgottenOrNeverGotNeverRan) {
  SlurmLauncher launcher = MakeLauncher();
  launcher.Start(Request());
  queue = {.exit_code = 1, .error_output = "slurm_load_jobs error: Invalid job id specified\n"};
  EXPECT_EQ(launcher.Observe(Attempt()).exit->cause(), v1::ExitRecord::NEVER_RAN);
  const AttemptRef other{.id = {18, 1}, .folder = folder.path() / "other"};
  EXPECT_EQ(launcher.Observe(other).exit->cause(), v1::ExitRecord::NEVER_RAN);
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

TEST_F(SlurmLauncherTest, ARefusalOfSlurmIsPassedOn) {
  SlurmLauncher launcher = MakeLauncher();
  answer = {.exit_code = 1,
            .error_output = "sbatch: error: invalid partition specified: nope\nsbatch: error: x\n"};
  try {
    launcher.Start(Request());
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    EXPECT_EQ(error.message(),
              "Slurm refused the job: sbatch: error: invalid partition specified: nope");
  }
}

}  // namespace
}  // namespace syncbn::coordinator
