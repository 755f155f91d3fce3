#include "coordinator/launch/kubernetes/mpi_job_state.h"

#include <google/protobuf/util/time_util.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/text.h"

namespace syncbn::coordinator {
namespace {

using nlohmann::json;

const json kNothing;

// A field of an object, or null.
const json& At(const json& object, const char* name) {
  if (!object.is_object()) return kNothing;
  const auto found = object.find(name);
  return found == object.end() ? kNothing : *found;
}

std::string Text(const json& object, const char* name) {
  const json& value = At(object, name);
  return value.is_string() ? value.get<std::string>() : "";
}

std::string OneLine(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  constexpr size_t kMost = 1000;
  if (text.size() <= kMost) return text;
  text.resize(kMost);
  return text.append("...");
}

const json& ConditionOf(const json& object, const std::string& type) {
  for (const json& condition : At(At(object, "status"), "conditions")) {
    if (Text(condition, "type") == type) return condition;
  }
  return kNothing;
}

bool Holds(const json& object, const std::string& type) {
  return Text(ConditionOf(object, type), "status") == "True";
}

std::string Reasons(const json& condition) {
  const std::string reason = Text(condition, "reason"), message = Text(condition, "message");
  return OneLine(reason + (reason.empty() || message.empty() ? "" : ": ") + message);
}

std::string NameOf(const json& object) {
  return Text(At(object, "metadata"), "name");
}

std::string PodText(const json& pod) {
  const std::string node = Text(At(pod, "spec"), "nodeName");
  return "pod " + NameOf(pod) + (node.empty() ? "" : " on " + node);
}

bool IsLauncher(const json& pod) {
  return Text(At(At(pod, "metadata"), "labels"), "training.kubeflow.org/job-role") == "launcher";
}

// Reasons of a container that waits and will not begin by itself. Nobody mends the first ones but
// by another job.
bool IsHopeless(const std::string& reason) {
  return reason == "InvalidImageName" || reason == "ErrImageNeverPull";
}
bool IsObstacle(const std::string& reason) {
  static const std::set<std::string> kReasons = {
      "ErrImagePull",        "ImagePullBackOff",           "ImageInspectError",
      "RegistryUnavailable", "CreateContainerConfigError", "CreateContainerError",
      "RunContainerError",   "CrashLoopBackOff",           "SignatureValidationFailed"};
  return IsHopeless(reason) || kReasons.contains(reason);
}

std::optional<KubeObstacle> ObstacleOf(const json& pod) {
  for (const json& status : At(At(pod, "status"), "containerStatuses")) {
    const json& waiting = At(At(status, "state"), "waiting");
    const std::string reason = Text(waiting, "reason");
    if (!IsObstacle(reason)) continue;
    const bool image = reason.find("Image") != std::string::npos || reason.find("Registry") == 0;
    const std::string container_image = Text(status, "image");
    return KubeObstacle{
        .pod = NameOf(pod),
        .words = PodText(pod) + " cannot begin: " + Reasons(waiting) +
                 (image ? " (image " + container_image +
                              ": is --kube-image right, and does the namespace have the secret to "
                              "pull it?)"
                        : ""),
        .hopeless = IsHopeless(reason)};
  }
  return std::nullopt;
}

// Why a pod does not run yet; empty: nothing is known.
std::string WhyPending(const json& pod) {
  const json& scheduled = ConditionOf(pod, "PodScheduled");
  if (Text(scheduled, "status") == "False")
    return "no node takes " + PodText(pod) + ": " + Reasons(scheduled);
  for (const json& status : At(At(pod, "status"), "containerStatuses")) {
    const std::string reason = Text(At(At(status, "state"), "waiting"), "reason");
    if (!reason.empty()) return PodText(pod) + ": " + reason;
  }
  return PodText(pod) + " is " + Text(At(pod, "status"), "phase");
}

std::optional<KubeEnd> EndOf(const json& pod) {
  const json& status = At(pod, "status");
  for (const json& container : At(status, "containerStatuses")) {
    for (const char* which : {"state", "lastState"}) {
      const json& ended = At(At(container, which), "terminated");
      if (Text(ended, "reason") != "OOMKilled") continue;
      return KubeEnd{"OOMKilled", PodText(pod) +
                                      " ran out of memory (OOMKilled): give the job more memory "
                                      "or fewer replicas in a process"};
    }
  }
  // Who disturbed it: its node was drained, somebody more important came, its node is lost.
  const json& disruption = ConditionOf(pod, "DisruptionTarget");
  if (Text(disruption, "status") == "True") {
    const std::string cause = Text(disruption, "reason");
    const std::string reason = cause == "PreemptionByScheduler"    ? "Preempted"
                               : cause == "DeletionByTaintManager" ? "NodeLost"
                                                                   : "Evicted";
    return KubeEnd{reason, PodText(pod) + " was taken away: " + Reasons(disruption)};
  }
  const std::string reason = Text(status, "reason");
  if (!reason.empty() && (Text(status, "phase") == "Failed" || reason == "NodeLost"))
    return KubeEnd{reason, PodText(pod) + ": " + Reasons(status)};
  return std::nullopt;
}

// How the container of a pod ended: "exit code 127: no such file".
std::string ExitText(const json& pod) {
  for (const json& container : At(At(pod, "status"), "containerStatuses")) {
    const json& ended = At(At(container, "state"), "terminated");
    if (!ended.is_object()) continue;
    const json& code = At(ended, "exitCode");
    const std::string message = OneLine(Text(ended, "message"));
    return PodText(pod) + " left with exit code " +
           (code.is_number_integer() ? std::to_string(code.get<int>()) : "?") +
           (message.empty() ? "" : ": " + message);
  }
  return "";
}

std::optional<WallTime> TimeIn(const json& object, const char* name) {
  google::protobuf::Timestamp time;
  if (!google::protobuf::util::TimeUtil::FromString(Text(object, name), &time)) return std::nullopt;
  return WallTime(
      std::chrono::microseconds(google::protobuf::util::TimeUtil::TimestampToMicroseconds(time)));
}

std::optional<WallTime> BeginOf(const json& pod) {
  std::optional<WallTime> first;
  for (const json& container : At(At(pod, "status"), "containerStatuses")) {
    for (const char* state : {"running", "terminated"}) {
      const auto begin = TimeIn(At(At(container, "state"), state), "startedAt");
      if (begin && (!first || *begin < *first)) first = begin;
    }
  }
  return first;
}

// Why its node cannot be there any more; empty: it may be.
std::string WhyLost(const json& pod, WallTime now) {
  // Clocks differ, and a node needs a while to clear up and to say so.
  constexpr std::chrono::seconds kLate{30};
  const json& status = At(pod, "status");
  const std::string phase = Text(status, "phase");
  if (Text(At(pod, "spec"), "nodeName").empty() || phase == "Succeeded" || phase == "Failed")
    return "";
  if (phase == "Unknown") return "the phase of " + NameOf(pod) + " is Unknown";
  if (Text(status, "reason") == "NodeLost") return NameOf(pod) + ": " + Reasons(status);
  const auto until = TimeIn(At(pod, "metadata"), "deletionTimestamp");
  if (until && now - *until > kLate)
    return NameOf(pod) + " was to be gone at " + Text(At(pod, "metadata"), "deletionTimestamp");
  // One whose readiness gates are not met is heard all the same.
  const json& ready = ConditionOf(pod, "Ready");
  if (phase == "Running" && Text(ready, "status") == "False" && Holds(pod, "ContainersReady") &&
      Text(ready, "reason") != "ReadinessGatesNotReady") {
    return NameOf(pod) + " was ready when it was last heard and is not called so any more";
  }
  return "";
}

bool HasFailed(const json& pod) {
  return Text(At(pod, "status"), "phase") == "Failed";
}

}  // namespace

std::optional<KubeEnd> EndOfPods(const KubePods& pods) {
  std::optional<KubeEnd> found;
  for (const auto& pod : pods) {
    auto end = EndOf(*pod);
    // Memory that ran out says more than that a pod was ended because of another.
    if (end && (!found || end->reason == "OOMKilled")) found = std::move(end);
  }
  return found;
}

KubeJobState ReadMpiJob(const nlohmann::json& job, const KubePods& pods, WallTime now) {
  if (Text(job, "kind") != "MPIJob" && !At(job, "spec").contains("mpiReplicaSpecs"))
    throw Error(ErrorCode::kInvalidArgument, "the API server sends what is no MPIJob");
  KubeJobState state{.deleting = !Text(At(job, "metadata"), "deletionTimestamp").empty(),
                     .suspended = Holds(job, "Suspended"),
                     .without_pods = pods.empty(),
                     .end = EndOfPods(pods)};
  std::set<std::string> nodes;
  bool launcher_runs = false;
  std::string pending, exit_text;
  std::vector<std::string> failed;
  for (const auto& one : pods) {
    const json& pod = *one;
    const std::string phase = Text(At(pod, "status"), "phase");
    const std::string node = Text(At(pod, "spec"), "nodeName");
    if (!node.empty()) nodes.insert(node);
    if (const auto begin = BeginOf(pod); begin && (!state.begin || *begin < *state.begin))
      state.begin = begin;
    if (const std::string why = WhyLost(pod, now); !why.empty()) {
      if (!state.lost) {
        state.lost = KubeEnd{
            "NodeLost", "the node " + node + " does not answer Kubernetes any more (" + why + ")"};
      }
      if (std::find(state.lost_nodes.begin(), state.lost_nodes.end(), node) ==
          state.lost_nodes.end())
        state.lost_nodes.push_back(node);
    }
    if (IsLauncher(pod)) {
      // Of one that nobody hears it is not known that it has ended.
      launcher_runs = launcher_runs || phase == "Running" || phase == "Unknown";
      exit_text = ExitText(pod);
      state.telling_pods.push_back(NameOf(pod));
    } else if (HasFailed(pod)) {
      failed.push_back(NameOf(pod));
    }
    // One that no node takes says more than one whose image is on its way.
    if (phase == "Pending" && (pending.empty() || Holds(pod, "PodScheduled") == false))
      pending = WhyPending(pod);
    if (!state.obstacle || !state.obstacle->hopeless) {
      if (auto obstacle = ObstacleOf(pod)) state.obstacle = std::move(obstacle);
    }
  }
  state.telling_pods.insert(state.telling_pods.end(), failed.begin(), failed.end());
  state.nodes = Join(std::vector<std::string>(nodes.begin(), nodes.end()), ", ");

  // The operator calls it failed as soon as a worker is evicted, while the launcher still runs.
  const bool failed_now = Holds(job, "Failed") && !launcher_runs;
  if (failed_now || Holds(job, "Succeeded")) {
    state.phase = KubePhase::kEnded;
    state.words = failed_now ? "the MPIJob failed: " + Reasons(ConditionOf(job, "Failed"))
                             : "the MPIJob has ended well";
    if (!exit_text.empty() && failed_now) state.words += "; " + exit_text;
    if (state.end) state.words += "; " + state.end->words;
    if (state.end || !failed_now) return state;
    // Of a launcher's pod that is gone the condition alone has the reason.
    const std::string reason = Text(ConditionOf(job, "Failed"), "reason");
    if (reason == "DeadlineExceeded" || reason.ends_with("/DeadlineExceeded"))
      state.end = KubeEnd{"DeadlineExceeded", state.words};
    if (reason == "MPIJobEvicted") state.end = KubeEnd{"Evicted", state.words};
    return state;
  }
  if (launcher_runs) {
    state.phase = KubePhase::kRunning;
    return state;
  }
  if (state.obstacle) {
    state.words = state.obstacle->words;
  } else if (state.suspended) {
    state.words = "suspended: " + Reasons(ConditionOf(job, "Suspended"));
  } else if (Holds(job, "Restarting")) {
    state.words = "restarting: " + Reasons(ConditionOf(job, "Restarting"));
  } else if (!pending.empty()) {
    state.words = pending;
  } else if (!Holds(job, "Created")) {
    state.words =
        "the MPI operator has not taken the MPIJob up yet (does it run? kubectl get pods "
        "--namespace mpi-operator)";
  } else {
    state.words = pods.empty() ? "its pods are not made yet" : "its launcher is not made yet";
  }
  return state;
}

}  // namespace syncbn::coordinator
