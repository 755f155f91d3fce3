// The stand-in of a Kubernetes cluster (stand_in.py) as a process of a test.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/launch/kubernetes/kube_client.h"
#include "tests/support/process.h"
#include "tests/support/temp_folder.h"

namespace syncbn::coordinator {

class KubeStandIn {
 public:
  struct Options {
    // No operator and no nodes: the test says what becomes of objects.
    bool pods = true;
    // https, with a certificate for 127.0.0.1 that it makes; otherwise http.
    bool tls = false;
    // Who asks must show it; kept in token_file().
    std::string token;
    // Manifests with the Role of who asks; without them everything is allowed. Needs PyYAML.
    std::string role;
  };

  explicit KubeStandIn(Options options);
  ~KubeStandIn();

  // For the namespace "training".
  KubeAccess access() const;
  std::filesystem::path token_file() const { return folder_.path() / "token"; }
  std::filesystem::path ca_file() const { return folder_.path() / "cert.pem"; }

  // Makes something go wrong, or right again: Control in stand_in.py. Returns what was asked so
  // far: "create mpijobs", ...
  std::vector<std::string> Control(const nlohmann::json& orders);
  // How often that was asked.
  int Asked(const std::string& what);
  // Objects of a kind by REST, "mpijobs" or "pods".
  std::vector<nlohmann::json> All(const std::string& kind);
  // Waits for an object of that name; null at the deadline.
  nlohmann::json WaitForObject(const std::string& kind, const std::string& name);
  // Of a pod.
  std::string LogOf(const std::string& pod) const;

 private:
  TempFolder folder_;
  Options options_;
  std::optional<Process> process_;
  std::optional<KubeClient> client_;
  std::string server_;
};

// What is wrong with an MPIJob by tests/kubernetes/mpijob.json, or by the CRD that
// SYNCBN_TEST_MPIJOB_CRD names; empty: nothing.
std::string ProblemsOf(const nlohmann::json& mpi_job, const std::string& schema);

}  // namespace syncbn::coordinator
