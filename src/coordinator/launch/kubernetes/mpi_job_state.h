// What an MPIJob and its pods say of an attempt. Pure: reads objects as the API server has them.
//
// A node that nobody hears any more cannot say that its pods have ended: they stay as they were
// last seen, running. What shows it are the words of others about the pod: the controller of nodes
// takes its Ready away (its containers keep theirs, which the node itself has told), calls its
// phase Unknown or its reason NodeLost; and a pod that was deleted is there long after its time.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"

namespace syncbn::coordinator {

enum class KubePhase {
  kWaiting,  // for the operator, for Kueue, for nodes, for images
  kRunning,  // the launcher's container runs
  kEnded,    // nothing of it will run any more
};

// A pod that cannot begin as it is. Somebody may still mend it (push the image, make the secret),
// so that it is given some time; what can never work is `hopeless`.
struct KubeObstacle {
  std::string pod;
  std::string words;
  bool hopeless = false;
};

// Why a pod ended that did not end by itself.
struct KubeEnd {
  // Kubernetes' word: "OOMKilled", "Evicted", "DeadlineExceeded", "NodeLost", "Preempted"
  std::string reason;
  std::string words;  // with pod and node
};

struct KubeJobState {
  KubePhase phase = KubePhase::kWaiting;
  // On one line, for people: why it waits, or how it ended.
  std::string words;
  bool deleting = false;
  bool suspended = false;
  // No pod has been made yet.
  bool without_pods = false;
  std::optional<KubeObstacle> obstacle;
  std::optional<KubeEnd> end;
  // A node of it does not answer, so that nothing of what its pods show may be true any more.
  std::optional<KubeEnd> lost;
  std::vector<std::string> lost_nodes;
  // When the first container of its pods began, of those that are still shown.
  std::optional<WallTime> begin;
  // "node-a, node-b"
  std::string nodes;
  // Of pods, the launcher's first, then those that failed: whose logs tell most.
  std::vector<std::string> telling_pods;
};

using KubePods = std::vector<std::shared_ptr<const nlohmann::json>>;

// `pods` are those of that MPIJob. INVALID_ARGUMENT for an object that is none of the kind.
KubeJobState ReadMpiJob(const nlohmann::json& job, const KubePods& pods, WallTime now);

// What pods alone say, whose MPIJob is gone.
std::optional<KubeEnd> EndOfPods(const KubePods& pods);

}  // namespace syncbn::coordinator
