// Jobs of a coordinator with the launcher kubernetes, from their submission to their end, in the
// stand-in of a cluster (tests/kubernetes): its pods are processes of this machine, so what trains
// there is the program itself.
#include <gmock/gmock.h>

#include <algorithm>

#include "tests/e2e/serve_fixture.h"
#include "tests/kubernetes/stand_in.h"

namespace syncbn {
namespace {

using coordinator::KubeStandIn;
using nlohmann::json;
using ::testing::HasSubstr;

class ServeKubernetesTest : public ServeTest {
 protected:
  // With a token over TLS, as a cluster has it.
  void Begin(const std::vector<std::string>& extra = {}) {
    cluster.emplace(KubeStandIn::Options{.tls = true, .token = "of the coordinator"});
    const auto access = cluster->access();
    std::vector<std::string> options = {"--launcher=kubernetes",
                                        "--kube-api=" + access.server,
                                        "--kube-namespace=training",
                                        "--kube-token=" + access.token_file.string(),
                                        "--kube-ca=" + access.ca_file.string(),
                                        "--kube-image=registry/syncbn:1",
                                        "--kube-claim=shared:" + data().parent_path().string(),
                                        "--kube-program=" + SyncbnProgram()};
    options.insert(options.end(), extra.begin(), extra.end());
    Serve(options);
  }
  // The pod of the job's only, or last, attempt.
  json WaitForPod(const std::string& role, int attempt = 1) {
    const auto end = std::chrono::steady_clock::now() + kPatience;
    while (std::chrono::steady_clock::now() < end) {
      for (json& pod : cluster->All("pods")) {
        const json& labels = pod["metadata"]["labels"];
        if (labels["training.kubeflow.org/job-role"] == role &&
            labels["syncbn.org/attempt"] == std::to_string(attempt)) {
          return pod;
        }
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    ADD_FAILURE() << "there is no pod " << role;
    return nullptr;
  }
  void ExpectNothingLeft() {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (!cluster->All("mpijobs").empty() && std::chrono::steady_clock::now() < end)
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    EXPECT_EQ(json(cluster->All("mpijobs")), json::array());
    EXPECT_EQ(json(cluster->All("pods")), json::array());
  }

  std::optional<KubeStandIn> cluster;
};

TEST_F(ServeKubernetesTest, AJobSucceedsWithTheDigestOfAnyOtherLauncherInOnePodAndInTwo) {
  Begin();
  std::vector<std::string> digests;
  for (const int processes : {1, 2}) {
    const v1::Job job = SubmitAndWait(MakeJob(TinyRun(), processes));
    ASSERT_EQ(job.state(), v1::Job::SUCCEEDED) << Describe(job.name());
    EXPECT_EQ(job.progress().step(), 20);
    const std::vector<v1::Attempt> attempts = Attempts(job.name());
    ASSERT_EQ(attempts.size(), 1u);
    EXPECT_EQ(attempts[0].ranks_size(), processes);
    EXPECT_THAT(ReadFile(AttemptFolderOf(job.name(), 1) / "output.log"), HasSubstr("4 replicas"));
    EXPECT_EQ(PointsOf(job.name(), "train/loss"), 20) << Describe(job.name());
    digests.push_back(SummaryOf(job.name())["digest"]);
  }
  EXPECT_EQ(digests[0], digests[1]);
  EXPECT_LE(cluster->Asked("get mpijobs"), 4) << "only where something seems to have ended";
  ExpectNothingLeft();
  // The same run on this machine, without a coordinator.
  const TempFolder folder;
  WriteFileAtomically(folder.path() / "run.yaml", TinyRun());
  const ProcessResult local =
      RunProcess(UnderMpirun(2, {SyncbnProgram(), "train", (folder.path() / "run.yaml").string(),
                                 "--out", (folder.path() / "out").string()}));
  ASSERT_EQ(local.status, 0) << local.out << local.err;
  EXPECT_EQ(json::parse(ReadFile(folder.path() / "out" / "summary.json"))["digest"], digests[0]);
}

TEST_F(ServeKubernetesTest, ARunningJobIsCancelledAndTheClusterHasNothingOfItLeft) {
  Begin();
  const std::string name = Submit(MakeJob(LongRun(), 2)).name();
  WaitForSteps(name, 5);
  Cancel(name);
  EXPECT_EQ(WaitForEnd(name).state(), v1::Job::CANCELLED) << Describe(name);
  EXPECT_EQ(Attempts(name).at(0).outcome(), v1::ATTEMPT_OUTCOME_STOPPED) << Describe(name);
  ExpectNothingLeft();
  EXPECT_TRUE(Processes(name).empty());
}

TEST_F(ServeKubernetesTest, AJobWhosePodIsKilledGoesOnFromItsCheckpointInOthers) {
  Begin();
  const std::string name = Submit(MakeJob(LongRun(), 2)).name();
  WaitForSteps(name, 10);
  const json pod = WaitForPod("worker");
  cluster->Control({{"kill", {{"pod", pod["metadata"]["name"]}, {"reason", "Evicted"}}}});
  WaitFor(name, "a second attempt that trains", [&](const v1::Job& job) {
    return job.attempt() == 2 && job.state() == v1::Job::RUNNING && job.progress().step() > 10;
  });
  const v1::Attempt first = Attempts(name).at(0);
  EXPECT_EQ(first.failure().class_(), v1::Failure::INFRA) << Describe(name);
  Cancel(name, /*kill=*/true);
  EXPECT_EQ(WaitForEnd(name).state(), v1::Job::CANCELLED) << Describe(name);
}

TEST_F(ServeKubernetesTest, TheApiServerAndTheCoordinatorMayBothGoAndTheJobDoesNot) {
  Begin();
  const std::string name = Submit(MakeJob(LongRun(), 2)).name();
  WaitForSteps(name, 5);
  const auto steps = [&] {
    const std::string text = ReadFile(OutputOf(name) / "metrics.jsonl");
    return static_cast<int>(std::count(text.begin(), text.end(), '\n'));
  };
  cluster->Control({{"down", 4.0}});
  WaitForSteps(name, steps() + 10);
  Restart();
  WaitForSteps(name, steps() + 10);
  std::this_thread::sleep_for(std::chrono::seconds(4));
  WaitForSteps(name, steps() + 10);
  const v1::Job job = Get(name);
  EXPECT_EQ(job.state(), v1::Job::RUNNING) << Describe(name);
  EXPECT_EQ(job.attempt(), 1);
  EXPECT_EQ(cluster->All("mpijobs").size(), 1u);
  Cancel(name);
  EXPECT_EQ(WaitForEnd(name).state(), v1::Job::CANCELLED) << Describe(name);
  ExpectNothingLeft();
}

TEST_F(ServeKubernetesTest, AJobThatNoNodeTakesSaysWhyHoldsNoTimeAndRunsWhenThereIsRoom) {
  Begin({"--start-limit=3"});
  cluster->Control(
      {{"cluster", {{"unschedulable", "0/3 nodes are available: 3 Insufficient cpu."}}}});
  const std::string name = Submit(MakeJob(TinyRun(), 2)).name();
  WaitFor(name, "the scheduler's words", [](const v1::Job& job) {
    return job.pending().message().find("0/3 nodes are available: 3 Insufficient cpu.") !=
           std::string::npos;
  });
  std::this_thread::sleep_for(std::chrono::seconds(4));
  EXPECT_EQ(Get(name).state(), v1::Job::STARTING);
  cluster->Control({{"cluster", {{"unschedulable", ""}}}});
  EXPECT_EQ(WaitForEnd(name).state(), v1::Job::SUCCEEDED) << Describe(name);
  EXPECT_EQ(Attempts(name).size(), 1u);
}

TEST_F(ServeKubernetesTest, WithoutAnOperatorAJobWaitsAndAnImageWithAWrongNameFailsIt) {
  Begin();
  cluster->Control({{"cluster", {{"operator", false}}}});
  const std::string first = Submit(MakeJob(TinyRun())).name();
  WaitFor(first, "what to install", [](const v1::Job& job) {
    return job.pending().message().find("the MPI operator is not installed") != std::string::npos;
  });
  cluster->Control({{"cluster", {{"operator", true}}}});
  EXPECT_EQ(WaitForEnd(first).state(), v1::Job::SUCCEEDED) << Describe(first);
  cluster->Control({{"cluster", {{"image", "InvalidImageName"}}}});
  const v1::Job second = SubmitAndWait(MakeJob(TinyRun()));
  EXPECT_EQ(second.state(), v1::Job::FAILED) << Describe(second.name());
  EXPECT_EQ(second.failure().class_(), v1::Failure::CONFIG);
  EXPECT_THAT(second.failure().message(), HasSubstr("InvalidImageName"));
}

TEST_F(ServeKubernetesTest, AnMpiJobThatSomebodyDeletesEndsItsJob) {
  Begin();
  const std::string name = Submit(MakeJob(LongRun(), 2)).name();
  WaitForSteps(name, 5);
  cluster->Control({{"remove", cluster->All("mpijobs").at(0)["metadata"]["name"]}});
  const v1::Job job = WaitForEnd(name);
  EXPECT_THAT(job.failure().message(), HasSubstr("was deleted, by somebody else"))
      << Describe(name);
  EXPECT_EQ(Attempts(name).size(), 1u);
  EXPECT_FALSE(std::filesystem::is_empty(OutputOf(name) / "checkpoints"));
}

TEST_F(ServeKubernetesTest, OptionsThatCannotWorkAreRefusedAtTheStart) {
  const auto refusal = [&](std::vector<std::string> options) {
    options.insert(options.begin(),
                   {SyncbnProgram(), "serve", "--data", data().string(), "--http=off",
                    "--listen=127.0.0.1:0", "--launcher=kubernetes"});
    const ProcessResult result = RunProcess({.argv = options});
    EXPECT_NE(result.status, 0);
    return result.err;
  };
  EXPECT_THAT(refusal({}), HasSubstr("this is no pod with a service account"));
  const std::vector<std::string> api = {"--kube-api=http://127.0.0.1:1", "--kube-namespace=n"};
  EXPECT_THAT(refusal(api), HasSubstr("needs --kube-image IMAGE"));
  EXPECT_THAT(refusal({api[0], api[1], "--kube-image=x"}),
              HasSubstr("needs --kube-claim NAME:PATH"));
  EXPECT_THAT(refusal({api[0], api[1], "--kube-claim=shared"}),
              HasSubstr("expected NAME:/PATH, found shared"));
  EXPECT_THAT(
      refusal({api[0], "--kube-image=x", "--kube-claim=shared:" + data().parent_path().string()}),
      HasSubstr("--kube-namespace NAME is needed"));
}

}  // namespace
}  // namespace syncbn
