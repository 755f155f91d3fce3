// What MPIJobs and pods, as API servers show them, say of an attempt; and what refusals mean.
#include "coordinator/launch/kubernetes/mpi_job_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/launch/kubernetes/kube_answers.h"

namespace syncbn::coordinator {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

json Job(const std::vector<std::array<std::string, 3>>& conditions) {
  json job = {{"kind", "MPIJob"}, {"metadata", {{"name", "j"}}}, {"spec", json::object()}};
  job["status"]["conditions"] = json::array();
  for (const auto& [type, reason, message] : conditions) {
    job["status"]["conditions"].push_back(
        {{"type", type}, {"status", "True"}, {"reason", reason}, {"message", message}});
  }
  return job;
}

json Pod(const std::string& role, const json& status) {
  json pod = {{"metadata", {{"name", "j-" + role}}}, {"status", status}};
  pod["metadata"]["labels"]["training.kubeflow.org/job-role"] = role;
  if (status.value("phase", "") != "Pending") pod["spec"]["nodeName"] = "n1";
  return pod;
}

json Waiting(const std::string& reason) {
  json status = {{"image", "registry/syncbn:9"}};
  status["state"]["waiting"] = {{"reason", reason}, {"message", "no such image"}};
  return {{"phase", "Pending"}, {"containerStatuses", json::array({status})}};
}

json Terminated(const std::string& reason, int code) {
  json status;
  status["state"]["terminated"] = {{"reason", reason}, {"exitCode", code}};
  return {{"phase", "Failed"}, {"containerStatuses", json::array({status})}};
}

const WallTime kNow = WallTime(std::chrono::seconds(1'700'000'000));  // 2023-11-14T22:13:20Z

KubeJobState Read(const json& job, const std::vector<json>& pods = {}) {
  KubePods shared;
  for (const json& pod : pods) shared.push_back(std::make_shared<const json>(pod));
  return ReadMpiJob(job, shared, kNow);
}

TEST(MpiJobState, AJobWaitsWithTheWordsOfWhoKeepsIt) {
  const auto created = Job({{"Created", "MPIJobCreated", "created"}});
  EXPECT_EQ(Read(Job({})).phase, KubePhase::kWaiting);
  EXPECT_THAT(Read(Job({})).words, HasSubstr("the MPI operator has not taken the MPIJob up yet"));
  EXPECT_EQ(Read(created).words, "its pods are not made yet");
  EXPECT_TRUE(Read(created).without_pods);
  EXPECT_EQ(
      Read(Job({{"Created", "", ""}, {"Suspended", "MPIJobSuspended", "MPIJob suspended"}})).words,
      "suspended: MPIJobSuspended: MPIJob suspended");
  json pod = Pod("worker", {{"phase", "Pending"}});
  pod["status"]["conditions"] =
      json::array({{{"type", "PodScheduled"},
                    {"status", "False"},
                    {"reason", "Unschedulable"},
                    {"message", "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."}}});
  const KubeJobState state = Read(created, {pod});
  EXPECT_EQ(state.phase, KubePhase::kWaiting);
  EXPECT_EQ(state.words,
            "no node takes pod j-worker: Unschedulable: 0/3 nodes are available: 3 Insufficient "
            "nvidia.com/gpu.");
  EXPECT_FALSE(state.obstacle);
}

TEST(MpiJobState, APodWithoutItsImageIsAnObstacleAndAWrongNameHopeless) {
  const auto created = Job({{"Created", "", ""}});
  const KubeJobState state = Read(created, {Pod("launcher", Waiting("ImagePullBackOff"))});
  ASSERT_TRUE(state.obstacle);
  EXPECT_FALSE(state.obstacle->hopeless);
  EXPECT_EQ(
      state.words,
      "pod j-launcher cannot begin: ImagePullBackOff: no such image (image registry/syncbn:9: is "
      "--kube-image right, and does the namespace have the secret to pull it?)");
  EXPECT_TRUE(Read(created, {Pod("launcher", Waiting("InvalidImageName"))}).obstacle->hopeless);
  EXPECT_TRUE(Read(created, {Pod("launcher", Waiting("CreateContainerConfigError"))}).obstacle);
  EXPECT_FALSE(Read(created, {Pod("launcher", Waiting("ContainerCreating"))}).obstacle);
}

TEST(MpiJobState, ItRunsAsLongAsItsLauncherDoes) {
  const json running = Pod("launcher", {{"phase", "Running"}});
  EXPECT_EQ(Read(Job({{"Running", "", ""}}), {running}).phase, KubePhase::kRunning);
  EXPECT_EQ(Read(Job({{"Running", "", ""}}), {running}).nodes, "n1");
  // A worker is evicted: mpirun ends in its own way.
  EXPECT_EQ(Read(Job({{"Failed", "MPIJobEvicted", "1/2 workers are evicted"}}), {running}).phase,
            KubePhase::kRunning);
  EXPECT_EQ(Read(Job({{"Succeeded", "", ""}}), {}).phase, KubePhase::kEnded);
}

TEST(MpiJobState, AnEndHasItsReason) {
  const auto failed = Job({{"Failed", "BackoffLimitExceeded/", "Job has reached the limit"}});
  const auto reason = [&](const json& pod) {
    const KubeJobState state = Read(failed, {Pod("launcher", Terminated("Error", 1)), pod});
    EXPECT_EQ(state.phase, KubePhase::kEnded);
    return state.end ? state.end->reason : "";
  };
  EXPECT_EQ(reason(Pod("worker", Terminated("OOMKilled", 137))), "OOMKilled");
  EXPECT_EQ(reason(Pod("worker",
                       {{"phase", "Failed"}, {"reason", "Evicted"}, {"message", "low on memory"}})),
            "Evicted");
  EXPECT_EQ(reason(Pod("worker", {{"phase", "Running"}})), "");
  for (const auto& [cause, expected] :
       std::map<std::string, std::string>{{"PreemptionByScheduler", "Preempted"},
                                          {"DeletionByTaintManager", "NodeLost"},
                                          {"EvictionByEvictionAPI", "Evicted"}}) {
    json pod = Pod("worker", {{"phase", "Failed"}});
    pod["status"]["conditions"] =
        json::array({{{"type", "DisruptionTarget"}, {"status", "True"}, {"reason", cause}}});
    EXPECT_EQ(reason(pod), expected);
  }
  EXPECT_THAT(Read(failed, {Pod("launcher", Terminated("Error", 127))}).words,
              HasSubstr("pod j-launcher on n1 left with exit code 127"));
  EXPECT_EQ(Read(Job({{"Failed", "BackoffLimitExceeded/DeadlineExceeded", "was active too long"}}))
                .end->reason,
            "DeadlineExceeded");
}

TEST(MpiJobState, ANodeThatDoesNotAnswerIsNamedWhateverShowsIt) {
  const json job = Job({{"Running", "", ""}});
  const json well = Pod("worker", {{"phase", "Running"}});
  const auto lost = [&](const json& pod) {
    const KubeJobState state = Read(job, {well, pod});
    EXPECT_EQ(state.phase, KubePhase::kRunning) << "nobody has seen an end";
    if (!state.lost) return std::string();
    EXPECT_EQ(state.lost->reason, "NodeLost");
    EXPECT_EQ(state.lost_nodes, std::vector<std::string>{"n1"});
    return state.lost->words;
  };
  const std::string begin = "the node n1 does not answer Kubernetes any more (";
  EXPECT_EQ(lost(Pod("launcher", {{"phase", "Running"}})), "");
  EXPECT_EQ(lost(Pod("launcher", {{"phase", "Unknown"}})),
            begin + "the phase of j-launcher is Unknown)");
  EXPECT_EQ(lost(Pod("launcher", {{"phase", "Running"},
                                  {"reason", "NodeLost"},
                                  {"message", "Node n1 is unresponsive"}})),
            begin + "j-launcher: NodeLost: Node n1 is unresponsive)");
  json pod = Pod("launcher", {{"phase", "Running"}});
  const auto conditions = [&](const char* ready, const char* containers) {
    pod["status"]["conditions"] =
        json::array({{{"type", "Ready"}, {"status", ready}},
                     {{"type", "ContainersReady"}, {"status", containers}}});
    return pod;
  };
  EXPECT_EQ(lost(conditions("True", "True")), "");
  EXPECT_EQ(lost(conditions("False", "False")), "") << "its node says so";
  EXPECT_EQ(lost(conditions("False", "True")),
            begin + "j-launcher was ready when it was last heard and is not called so any more)");
  conditions("True", "True");
  pod["metadata"]["deletionTimestamp"] = "2023-11-14T22:13:10Z";
  EXPECT_EQ(lost(pod), "") << "it has ten seconds more than it was given";
  pod["metadata"]["deletionTimestamp"] = "2023-11-14T22:12:10Z";
  EXPECT_EQ(lost(pod), begin + "j-launcher was to be gone at 2023-11-14T22:12:10Z)");
  // One that has ended tells nothing, nor one that no node has.
  pod["status"]["phase"] = "Failed";
  EXPECT_FALSE(Read(job, {pod}).lost);
  pod["status"]["phase"] = "Pending";
  pod["spec"].erase("nodeName");
  EXPECT_FALSE(Read(job, {pod}).lost);
}

TEST(MpiJobState, ItBeginsWithItsFirstContainer) {
  const auto since = [](const std::string& role, const char* state, const char* time) {
    json container;
    container["state"][state]["startedAt"] = time;
    return Pod(role, {{"phase", "Running"}, {"containerStatuses", json::array({container})}});
  };
  EXPECT_FALSE(Read(Job({}), {Pod("worker", Waiting("ContainerCreating"))}).begin);
  const json late = since("worker", "running", "2023-11-14T22:13:10Z"),
             early = since("worker", "running", "2023-11-14T22:12:50Z"),
             ended = since("worker", "terminated", "2023-11-14T22:12:20Z");
  EXPECT_EQ(Read(Job({}), {late}).begin, kNow - std::chrono::seconds(10));
  EXPECT_EQ(Read(Job({}), {late, early}).begin, kNow - std::chrono::seconds(30));
  EXPECT_EQ(Read(Job({}), {early, ended, late}).begin, kNow - std::chrono::seconds(60));
}

KubeAnswer Answer(int status, const std::string& reason, const std::string& message,
                  const json& details = {}) {
  return {
      .status = status,
      .body =
          json{{"kind", "Status"}, {"reason", reason}, {"message", message}, {"details", details}}
              .dump()};
}

TEST(KubeAnswers, ARefusalSaysWhatToDo) {
  const KubeRequest create{"create", "kubeflow.org", "mpijobs", "training"};
  const auto words = [&](const KubeAnswer& answer) {
    const KubeRefusal refusal = MeaningOf(answer, create);
    EXPECT_FALSE(refusal.final) << refusal.words;
    return refusal.words;
  };
  EXPECT_THAT(
      words(Answer(403, "Forbidden", "User \"x\" cannot create resource \"mpijobs\"")),
      HasSubstr("the role needs the verb 'create' on 'mpijobs' of the group 'kubeflow.org'"));
  EXPECT_EQ(words(Answer(403, "Forbidden", "exceeded quota: q, used: mpijobs=5")),
            "exceeded quota: q, used: mpijobs=5");
  EXPECT_THAT(
      words({.status = 404, .body = "404 page not found\n"}),
      HasSubstr("the MPI operator is not installed. Install version 0.6 or later: kubectl apply"));
  EXPECT_THAT(
      words(Answer(404, "NotFound", "namespaces \"training\" not found")),
      HasSubstr("the namespace training does not exist: kubectl create namespace training"));
  EXPECT_EQ(words(Answer(404, "NotFound", "mpijobs.kubeflow.org \"x\" not found",
                         {{"name", "x"}, {"kind", "mpijobs"}})),
            "it is not there (404): mpijobs.kubeflow.org \"x\" not found")
      << "which says nothing of the operator";
  EXPECT_THAT(words(Answer(401, "Unauthorized", "Unauthorized")),
              HasSubstr("does not know who asks (401)"));
  EXPECT_THAT(words(Answer(429, "TooManyRequests", "slow down")), HasSubstr("(429): slow down"));
  EXPECT_THAT(words({.status = 500, .body = "oops\n"}), HasSubstr("status 500: oops"));
  const KubeRefusal invalid = MeaningOf(
      Answer(422, "Invalid", "MPIJob \"x\" is invalid: spec.slotsPerWorker: must be 1"), create);
  EXPECT_TRUE(invalid.final);
  EXPECT_EQ(invalid.words, "MPIJob \"x\" is invalid: spec.slotsPerWorker: must be 1");
}

TEST(KubeAnswers, AnObjectThatIsMissingIsToldFromAKindThatIs) {
  const KubeAnswer object = Answer(404, "NotFound", "mpijobs.kubeflow.org \"x\" not found",
                                   {{"name", "x"}, {"kind", "mpijobs"}});
  EXPECT_TRUE(IsObjectMissing(object));
  EXPECT_FALSE(IsObjectMissing({.status = 404, .body = "404 page not found\n"}));
  EXPECT_FALSE(IsObjectMissing(Answer(404, "NotFound", "namespaces \"training\" not found",
                                      {{"name", "training"}, {"kind", "namespaces"}})));
  EXPECT_TRUE(IsAlreadyThere(Answer(409, "AlreadyExists", "there")));
  EXPECT_FALSE(IsAlreadyThere(Answer(409, "Conflict", "changed")));
}

}  // namespace
}  // namespace syncbn::coordinator
