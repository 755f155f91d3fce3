// What an MPIJob and its pods say of an attempt. Pure: reads objects as the API server has them.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

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
  // "node-a, node-b"
  std::string nodes;
  // Of pods, the launcher's first, then those that failed: whose logs tell most.
  std::vector<std::string> telling_pods;
};

// `pods` are those of that MPIJob. INVALID_ARGUMENT for an object that is none of the kind.
KubeJobState ReadMpiJob(const nlohmann::json& job, const std::vector<nlohmann::json>& pods);

// What pods alone say, whose MPIJob is gone.
std::optional<KubeEnd> EndOfPods(const std::vector<nlohmann::json>& pods);

}  // namespace syncbn::coordinator
