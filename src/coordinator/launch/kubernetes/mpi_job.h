// The MPIJob (kubeflow.org/v2beta1) of an attempt, and what its supervisor runs in its pods. Pure:
// no server is asked here.
//
// An attempt of P processes has ceil(P / processes_per_pod) pods, all of one size. The first is the
// MPIJob's Launcher, which is a worker, too (runLauncherAsWorker): its one container is the
// supervisor, which waits for the workers' names and starts mpirun. The others are its Workers: an
// sshd each, on a port that needs no privilege, for the one key pair that the operator has made for
// the MPIJob; the sshd shows the same key, so the launcher knows whom it speaks to. A job of one
// pod needs no ssh at all. Where a job says how many processes a host may have, no two of its pods
// are on one node.
//
// Nothing of the attempt is in the object but its name and where it is: its token and its command
// are in attempt.json on the shared volume, which only the coordinator's user can read.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "coordinator/launch/launcher.h"

namespace syncbn::coordinator {

// A volume that coordinator and pods share (ReadWriteMany), and where both have it.
struct KubeClaim {
  std::string name;
  std::filesystem::path path;

  bool operator==(const KubeClaim&) const = default;
};

struct KubeJobSettings {
  std::string name_space;
  // Holds syncbn, Open MPI, and, for jobs of several pods, ssh and sshd: docker/Dockerfile makes
  // one.
  std::string image;
  std::vector<KubeClaim> claims;
  // syncbn in the image: an absolute path.
  std::string program = "/usr/local/bin/syncbn";
  int processes_per_pod = 1;
  // nvidia.com/gpu of each process.
  int gpus_per_process = 0;
  // Of Kueue, which then lets MPIJobs begin; empty: they begin at once.
  std::string queue;
  // Merged into every MPIJob (RFC 7386): tolerations, image pull secrets, labels.
  nlohmann::json patch;
  // Of mpirun: `name value` each, and variables that ranks get, too.
  std::vector<std::string> mca, exports;
};

// INVALID_ARGUMENT for what cannot work, with the option that says it. `data` is the coordinator's
// folder, which a claim must hold.
void ValidateSettings(const KubeJobSettings& settings, const std::filesystem::path& data);

// "syncbn-1a2b3c4d-17-2": of the store and the attempt, so that whoever creates it twice has
// created it once. Room is left for what the operator appends ("-worker-1023").
std::string MpiJobName(const std::string& marker);

// Labels of everything that an attempt has, and of everything of a store.
inline constexpr const char* kStoreLabel = "syncbn.org/store";
inline constexpr const char* kJobLabel = "syncbn.org/job";
inline constexpr const char* kAttemptLabel = "syncbn.org/attempt";
// An annotation: the attempt's folder.
inline constexpr const char* kFolderAnnotation = "syncbn.org/folder";
// The operator's own, on pods.
inline constexpr const char* kMpiJobLabel = "training.kubeflow.org/job-name";

// Where the processes go: "localhost" for those of the launcher's pod, then the workers by the
// names that the operator's Service gives them.
Placement PodsOf(const KubeJobSettings& settings, const LaunchRequest& request);

// Files beside attempt.json: the hosts for mpirun, and how ssh reaches them.
std::filesystem::path HostfileOf(const std::filesystem::path& folder);
std::filesystem::path SshConfigOf(const std::filesystem::path& folder);
std::string SshConfigText();

// What the supervisor runs, with all its settings.
v1::AttemptSpec PodAttemptSpec(const KubeJobSettings& settings, const LaunchRequest& request);

nlohmann::json MpiJob(const KubeJobSettings& settings, const LaunchRequest& request);

}  // namespace syncbn::coordinator
