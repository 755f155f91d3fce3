// What answers of a Kubernetes API server mean that are not what was asked for. Pure text.
#pragma once

#include <string>

#include "coordinator/launch/kubernetes/kube_client.h"

namespace syncbn::coordinator {

// What was asked, as roles name it: {"create", "kubeflow.org", "mpijobs", "training"}.
struct KubeRequest {
  std::string verb;
  std::string group;  // empty: the core's
  std::string resource;
  std::string name_space;
};

struct KubeRefusal {
  // The same request will be refused again until it is changed. Otherwise another try may do
  // better: somebody can grant a right, make room, install the operator.
  bool final = false;
  std::string words;
  // The server's own wish before the next try.
  std::chrono::seconds wait{0};
};

// Of an answer that is no success.
KubeRefusal MeaningOf(const KubeAnswer& answer, const KubeRequest& request);

// 404 because that object is not there; not because its kind, or its namespace, is not.
bool IsObjectMissing(const KubeAnswer& answer);

// 409 because an object of that name is there.
bool IsAlreadyThere(const KubeAnswer& answer);

}  // namespace syncbn::coordinator
