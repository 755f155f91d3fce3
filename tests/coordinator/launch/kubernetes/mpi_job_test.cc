// The MPIJob that is written for an attempt, against the schema of the parts that are written
// (tests/kubernetes/mpijob.json) and, where SYNCBN_TEST_MPIJOB_CRD names Kubeflow's own
// kubeflow.org_mpijobs.yaml, against that.
#include "coordinator/launch/kubernetes/mpi_job.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>

#include <csignal>
#include <cstdlib>

#include "base/error.h"
#include "base/file.h"
#include "coordinator/launch/process.h"
#include "tests/kubernetes/stand_in.h"

namespace syncbn::coordinator {
namespace {

using nlohmann::json;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

KubeJobSettings Settings() {
  return {.name_space = "training",
          .image = "registry.example/syncbn:1",
          .claims = {{"syncbn", "/var/lib/syncbn"}, {"data", "/data"}},
          .processes_per_pod = 2,
          .patch = nullptr};
}

LaunchRequest Request(int processes) {
  LaunchRequest request;
  request.marker = "1a2b3c4d5e6f7081/jobs/17/attempts/2";
  request.attempt = {.id = {17, 2}, .folder = "/var/lib/syncbn/jobs/17/attempts/2"};
  request.request = {.job = 17, .processes = processes, .threads = 3};
  request.program = {"/usr/local/bin/syncbn", "train", "run.yaml"};
  request.environment = {"SYNCBN_TOKEN=secret", "SYNCBN_COORDINATOR=syncbn:7700"};
  request.working_folder = "/var/lib/syncbn/jobs/17";
  return request;
}

void ExpectValid(const json& job) {
  EXPECT_EQ(ProblemsOf(job, std::string(KUBERNETES_TEST_FOLDER) + "/mpijob.json"), "")
      << job.dump(1);
  if (const char* crd = std::getenv("SYNCBN_TEST_MPIJOB_CRD")) {
    EXPECT_EQ(ProblemsOf(job, crd), "") << job.dump(1);
  }
}

const json& Container(const json& job, const std::string& role) {
  return job["spec"]["mpiReplicaSpecs"][role]["template"]["spec"]["containers"][0];
}

std::string RefusalOf(const KubeJobSettings& settings,
                      const std::string& data = "/var/lib/syncbn") {
  try {
    ValidateSettings(settings, data);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    return error.message();
  }
  return "";
}

TEST(MpiJob, IsValidByTheSchemaWhateverTheJobAsksFor) {
  for (const int processes : {1, 2, 3, 9}) ExpectValid(MpiJob(Settings(), Request(processes)));
  KubeJobSettings settings = Settings();
  settings.gpus_per_process = 4;
  settings.queue = "team";
  settings.patch = json::parse(R"({"spec": {"runPolicy": {"suspend": true}, "mpiReplicaSpecs": {
      "Launcher": {"template": {"spec": {"imagePullSecrets": [{"name": "registry"}]}}},
      "Worker": {"template": {"spec": {"tolerations": [{"key": "gpu", "operator": "Exists"}]}}}}}})");
  LaunchRequest request = Request(5);
  request.request.memory_mib = 1000;
  request.request.hosts = {"node-a", "node-b"};
  request.request.excluded_hosts = {"node-c"};
  request.request.tags = {"fast", "zone=west"};
  request.request.max_per_host = 1;
  request.time_limit = std::chrono::hours(1);
  const json job = MpiJob(settings, request);
  ExpectValid(job);
  EXPECT_EQ(job["spec"]["mpiReplicaSpecs"]["Worker"]["replicas"], 4) << "one process in a pod";
  EXPECT_EQ(job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"], "team");
}

TEST(MpiJob, TheSchemaFindsWhatIsWrong) {
  const std::string schema = std::string(KUBERNETES_TEST_FOLDER) + "/mpijob.json";
  json job = MpiJob(Settings(), Request(3));
  job["spec"]["runPolicy"]["cleanPodPolicy"] = "Never";
  job["spec"]["mpiReplicaSpecs"]["Worker"]["replicas"] = "2";
  job["spec"]["mpiReplicaSpecs"]["Launcher"]["template"]["spec"]["container"] = 1;
  job["metadata"]["labels"]["syncbn.org/job"] = "jobs/17";
  const std::string problems = ProblemsOf(job, schema);
  for (const char* part : {".spec.runPolicy.cleanPodPolicy: must be one of",
                           ".Worker.replicas: must be of type integer", "unknown field container",
                           ".metadata.labels.syncbn.org/job: 'jobs/17' does not match"}) {
    EXPECT_THAT(problems, HasSubstr(part));
  }
}

TEST(MpiJob, IsNamedAndLabelledAfterStoreJobAndAttempt) {
  const json job = MpiJob(Settings(), Request(3));
  EXPECT_EQ(job["metadata"]["name"], "syncbn-1a2b3c4d-17-2");
  EXPECT_EQ(job["metadata"]["annotations"][kFolderAnnotation],
            "/var/lib/syncbn/jobs/17/attempts/2");
  const json labels = job["metadata"]["labels"];
  EXPECT_EQ(labels[kStoreLabel], "1a2b3c4d5e6f7081");
  EXPECT_EQ(labels[kJobLabel], "17");
  EXPECT_EQ(labels[kAttemptLabel], "2");
  for (const char* role : {"Launcher", "Worker"})
    EXPECT_EQ(job["spec"]["mpiReplicaSpecs"][role]["template"]["metadata"]["labels"], labels)
        << role;
  // A patch cannot take them away.
  KubeJobSettings settings = Settings();
  settings.patch = {{"metadata", {{"labels", {{kStoreLabel, nullptr}, {"team", "vision"}}}}}};
  const json patched = MpiJob(settings, Request(3))["metadata"]["labels"];
  EXPECT_EQ(patched[kStoreLabel], "1a2b3c4d5e6f7081");
  EXPECT_EQ(patched["team"], "vision");
}

TEST(MpiJob, NothingOfTheAttemptsSecretsIsInIt) {
  const std::string text = MpiJob(Settings(), Request(4)).dump();
  EXPECT_THAT(text, Not(HasSubstr("secret\"")));
  EXPECT_THAT(text, Not(HasSubstr("SYNCBN_TOKEN")));
}

TEST(MpiJob, AttemptsAreTriedOnceAndPodsAreGivenWhatTheirProcessesNeed) {
  KubeJobSettings settings = Settings();
  settings.gpus_per_process = 1;
  LaunchRequest request = Request(4);
  request.request.memory_mib = 500;
  const json job = MpiJob(settings, request);
  EXPECT_EQ(job["spec"]["runPolicy"]["backoffLimit"], 0);
  EXPECT_EQ(job["spec"]["slotsPerWorker"], 2);
  EXPECT_EQ(job["spec"]["mpiReplicaSpecs"]["Worker"]["replicas"], 1) << "the launcher is the other";
  for (const char* role : {"Launcher", "Worker"}) {
    const json& resources = Container(job, role)["resources"];
    EXPECT_EQ(resources["requests"]["cpu"], "6") << role;
    EXPECT_EQ(resources["limits"]["memory"], "1192Mi") << role;
    EXPECT_EQ(resources["limits"]["nvidia.com/gpu"], "2") << role;
    EXPECT_FALSE(resources["limits"].contains("cpu"));
  }
  EXPECT_EQ(MpiJob(Settings(), Request(2))["spec"]["mpiReplicaSpecs"].size(), 1u) << "one pod";
}

TEST(MpiJob, WhereAHostMayHaveSoManyProcessesNoPodHasMoreAndNoNodeTwoPods) {
  const auto affinity = [](const json& job, const char* role) {
    const json& spec = job["spec"]["mpiReplicaSpecs"][role]["template"]["spec"];
    return spec.contains("affinity") ? spec["affinity"] : json();
  };
  EXPECT_TRUE(affinity(MpiJob(Settings(), Request(5)), "Worker").is_null()) << "nobody asked";
  LaunchRequest request = Request(5);
  for (const int most : {1, 2, 3}) {
    request.request.max_per_host = most;
    const json job = MpiJob(Settings(), request);
    ExpectValid(job);
    EXPECT_LE(job["spec"]["slotsPerWorker"].get<int>(), most);
    for (const char* role : {"Launcher", "Worker"}) {
      const json terms =
          affinity(job, role)["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
      ASSERT_EQ(terms.size(), 1u) << role;
      EXPECT_EQ(terms[0]["topologyKey"], "kubernetes.io/hostname");
      // All pods of this attempt have these, and no other has.
      const json& wanted = terms[0]["labelSelector"]["matchLabels"];
      EXPECT_EQ(wanted.size(), 3u);
      for (const char* other : {"Launcher", "Worker"}) {
        const json& labels =
            job["spec"]["mpiReplicaSpecs"][other]["template"]["metadata"]["labels"];
        for (const auto& [name, value] : wanted.items())
          EXPECT_EQ(labels.value(name, ""), value.get<std::string>());
      }
    }
  }
  request.request.hosts = {"node-a"};
  EXPECT_EQ(affinity(MpiJob(Settings(), request), "Worker").size(), 2u) << "beside the others";
}

TEST(MpiJob, ATimeLimitIsTheLaunchersPodsLastResort) {
  LaunchRequest request = Request(1);
  EXPECT_FALSE(MpiJob(Settings(), request).dump().find("activeDeadlineSeconds") !=
               std::string::npos);
  request.time_limit = std::chrono::seconds(1000);
  const json spec =
      MpiJob(Settings(), request)["spec"]["mpiReplicaSpecs"]["Launcher"]["template"]["spec"];
  EXPECT_GT(spec["activeDeadlineSeconds"].get<int>(), 1000 + 120)
      << "behind our own limit and the ladder";
  EXPECT_GT(spec["terminationGracePeriodSeconds"].get<int>(), 30 + 10) << "time for a checkpoint";
}

TEST(MpiJob, TheLaunchersPodRunsTheSupervisorAndItsRanksAreThereAndOnTheWorkers) {
  const LaunchRequest request = Request(5);
  const Placement pods = PodsOf(Settings(), request);
  ASSERT_EQ(pods.size(), 3u);
  EXPECT_EQ(pods[0], (Share{"localhost", 2}));
  EXPECT_EQ(pods[1], (Share{"syncbn-1a2b3c4d-17-2-worker-0.syncbn-1a2b3c4d-17-2.training.svc", 2}));
  EXPECT_EQ(pods[2].processes, 1);
  const json job = MpiJob(Settings(), request);
  const std::vector<std::string> command = Container(job, "Launcher")["command"];
  EXPECT_THAT(command, Contains("--foreground"));
  EXPECT_EQ(command.back(), "/var/lib/syncbn/jobs/17/attempts/2");
  // No shell before it, which as the container's first process would not hear of a SIGTERM.
  EXPECT_THAT(command, ElementsAre("/usr/local/bin/syncbn", "supervise", "--foreground", "--folder",
                                   "/var/lib/syncbn/jobs/17/attempts/2"));

  const v1::AttemptSpec spec = PodAttemptSpec(Settings(), request);
  EXPECT_EQ(spec.remote_hosts_size(), 2);
  EXPECT_EQ(spec.remote_hosts(0), pods[1].host);
  EXPECT_GT(spec.name_seconds(), 0) << "it waits for the workers' names";
  EXPECT_EQ(spec.launch_agent(2), "/var/lib/syncbn/jobs/17/attempts/2/ssh_config");
  EXPECT_THAT(std::vector<std::string>(spec.environment().begin(), spec.environment().end()),
              Contains("SYNCBN_TOKEN=secret"));
  EXPECT_THAT(std::vector<std::string>(spec.command().begin(), spec.command().end()),
              Contains("-np"));
}

// With a real sshd: the worker's command, and the launcher's ssh_config, around one key pair.
TEST(MpiJob, AWorkersSshdTakesTheMpiJobsKeyAloneAndTheLauncherTakesNoOtherSshd) {
  if (!FindProgram("sshd") && !std::filesystem::exists("/usr/sbin/sshd"))
    GTEST_SKIP() << "sshd is not installed: apt-get install --no-install-recommends openssh-server";
  const TempFolder folder;
  const std::string keys = (folder.path() / "keys").string(),
                    other = (folder.path() / "other").string();
  const std::string port = std::to_string(20000 + ::getpid() % 10000);
  std::filesystem::create_directories(keys);
  for (const std::string& key : {keys + "/id_rsa", other}) {
    // As the operator makes them.
    ASSERT_EQ(RunProcess({.argv = {"ssh-keygen", "-q", "-t", "ecdsa", "-b", "521", "-m", "PEM",
                                   "-N", "", "-f", key}})
                  .status,
              0);
  }
  std::filesystem::copy(keys + "/id_rsa.pub", keys + "/authorized_keys");
  const json job = MpiJob(Settings(), Request(3));
  const std::string mounted = job["spec"]["sshAuthMountPath"];
  const auto here = [&](std::string text) {
    for (const auto& [from, to] :
         {std::pair(mounted, keys), std::pair(std::string("2222"), port)}) {
      for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
        text.replace(at, from.size(), to);
    }
    return text;
  };
  std::vector<std::string> command = Container(job, "Worker")["command"];
  for (std::string& word : command) word = here(word);
  const char* path = std::getenv("PATH");
  Process sshd({.argv = command,
                .environment = {{"LD_LIBRARY_PATH", "/somewhere"},
                                {"PATH", std::string(path) + ":/usr/sbin"}}});
  ASSERT_TRUE(sshd.WaitForText("listening on", std::chrono::seconds(20))) << sshd.Err();
  const std::string config = (folder.path() / "config").string();
  WriteFileAtomically(config, here(SshConfigText()));
  const auto ask = [&](const std::string& file) {
    return RunProcess({.argv = {"ssh", "-F", file, "127.0.0.1", "echo", "$LD_LIBRARY_PATH"}});
  };
  const ProcessResult good = ask(config);
  EXPECT_EQ(good.out, "/somewhere\n") << good.err << sshd.Err();
  // A server that shows another key, and a client that does.
  std::string text = here(SshConfigText());
  WriteFileAtomically(config + "2", text.replace(text.find(keys + "/id_rsa.pub"), keys.size() + 11,
                                                 other + ".pub"));
  const ProcessResult stranger = ask(config + "2");
  EXPECT_EQ(stranger.status, 255);
  EXPECT_THAT(stranger.err, HasSubstr("Host key verification failed"));
  text = here(SshConfigText());
  WriteFileAtomically(config + "3", text.replace(text.find("IdentityFile " + keys + "/id_rsa"),
                                                 13 + keys.size() + 7, "IdentityFile " + other));
  EXPECT_THAT(ask(config + "3").err, HasSubstr("Permission denied (publickey)"));
  sshd.Signal(SIGTERM);
}

TEST(MpiJob, SettingsThatCannotWorkAreRefusedWithTheOptionThatSaysThem) {
  EXPECT_EQ(RefusalOf(Settings()), "");
  KubeJobSettings settings = Settings();
  settings.image.clear();
  EXPECT_THAT(RefusalOf(settings), HasSubstr("needs --kube-image IMAGE"));
  settings = Settings();
  settings.claims.erase(settings.claims.begin());
  EXPECT_THAT(RefusalOf(settings),
              HasSubstr("--kube-claim NAME:PATH with a PATH that holds --data (/var/lib/syncbn)"));
  EXPECT_THAT(RefusalOf(Settings(), "/var/lib/other"), HasSubstr("--kube-claim"));
  EXPECT_THAT(RefusalOf(Settings(), "/var/lib/syncbn/my data"), HasSubstr("plain characters"));
  settings = Settings();
  settings.patch = json::parse(R"({"metadata": {"name": "mine"}})");
  EXPECT_THAT(RefusalOf(settings), HasSubstr("--kube-patch cannot replace /metadata/name"));
}

}  // namespace
}  // namespace syncbn::coordinator
