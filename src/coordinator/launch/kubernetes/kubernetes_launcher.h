// The launcher `kubernetes`: an attempt is an MPIJob of Kubeflow's MPI operator (v2beta1). The
// cluster chooses the nodes and keeps the queue.
//
//   coordinator -- REST, watches -- API server -- MPI operator -- pods
//        \___________ the attempt's folder, on a shared volume __/
//
// The supervisor is the container of the launcher's pod, and does there what it does elsewhere: it
// waits for the workers' names, starts mpirun, keeps the output, follows orders to stop, writes the
// exit record. So the log, the spools, a checkpoint before the end and the classes of failures are
// those of the other launchers. The folder is on a volume that coordinator and pods have at the
// same path: a claim that is ReadWriteMany, on a file system with locks (NFS 4, CephFS).
//
// An object is named after store, job and attempt (MpiJobName), so that it is created once however
// often it is asked for: an answer that did not come is asked for again, and 409 means that it is
// there. A supervisor that finds that another was there before it does not start, since Kubernetes
// may start a pod twice.
//
// What the server does not take now (no right, no room, no operator, no answer) is handed in again,
// as a job in a queue; what it says is the reason for which the job waits. What it will never take
// (422) fails the job.
//
// State comes from the MPIJob's conditions and its pods, by two watches for all jobs together. That
// something has ended, or is gone, is believed only of the server's own answer to a GET. As long as
// the server cannot be asked an attempt is in no known state, never failed; if its supervisor has
// written that it ended well, it has. An attempt one of whose nodes does not answer any more is
// alive as long as it still writes, and for a while more; then it has failed with that node.
//
// Who writes the record of an end first, supervisor or coordinator, has written it: none replaces
// another's. Where the supervisor may yet have written one it is waited for as long as a shared
// file system may hide it (NFS shows a folder as it was up to 60 s ago, and more by its options).
//
// Where the supervisor left no word, the pods' logs are fetched, and their reasons (OOMKilled,
// Evicted, the image that could not be pulled, ...) are part of the exit record.
//
// To stop, the order in the folder is enough once there is a supervisor; before, and by force, the
// MPIJob is deleted, and its pods with it. Objects of attempts that are over are deleted: their
// logs are in the folder. One whose deletion failed, or whose folder is gone with its job, goes
// later (Tidy).
//
// Rights: create, get, list, watch, delete mpijobs.kubeflow.org; list, watch, delete pods; get
// pods/log; list events (launch/kubernetes/access.yaml).
#pragma once

#include <map>
#include <mutex>

#include "coordinator/launch/attempt_folder.h"
#include "coordinator/launch/kubernetes/mpi_job.h"
#include "coordinator/launch/kubernetes/mpi_jobs.h"
#include "coordinator/launch/launcher.h"

namespace syncbn::coordinator {

class KubernetesLauncher : public Launcher {
 public:
  struct Options {
    KubeAccess access;
    KubeJobSettings job;
    // Of whose objects this launcher has the care.
    std::string store_id;
    KubeClient::Times times;
    std::chrono::seconds watch_time{60};
    // Between two tries to hand in what was not taken.
    std::chrono::milliseconds retry_time = std::chrono::seconds(10);
    // Between the end in Kubernetes' eyes and the end of the wait for an exit record, which may
    // take a while to be seen on a shared file system.
    std::chrono::milliseconds record_time = std::chrono::minutes(2);
    // The other way round, for what pods say.
    std::chrono::milliseconds settle_time = std::chrono::seconds(15);
    // A pod that cannot begin (no image, no secret) is given so long.
    std::chrono::milliseconds obstacle_time = std::chrono::minutes(5);
    // After that an object that is being deleted counts as gone, and its nodes as not verified.
    std::chrono::milliseconds delete_time = std::chrono::minutes(3);
    // After that a node that does not answer is lost, unless something of the attempt still writes.
    std::chrono::milliseconds node_time = std::chrono::minutes(5);
    // Between two looks for objects whose attempts are long over.
    std::chrono::milliseconds tidy_every = std::chrono::seconds(30);
  };

  // INVALID_ARGUMENT for settings that cannot work. Asks nothing yet.
  explicit KubernetesLauncher(Options options);

  std::string Name() const override { return "kubernetes"; }
  bool ChoosesHosts() const override { return true; }
  LauncherDelays Delays() const override {
    return {.word = options_.record_time, .force = options_.delete_time + options_.record_time};
  }
  void Start(const LaunchRequest& request) override;
  Observation Observe(const AttemptRef& attempt) override;
  void Stop(const AttemptRef& attempt, StopLevel level, const std::string& reason) override;
  // By what they leave on the shared disk.
  std::optional<RankActivity> LookAtRanks(const AttemptRef& attempt) override;
  Observation Force(const AttemptRef& attempt) override;
  void Tidy() override;

 private:
  Observation Look(const AttemptRef& attempt);
  Observation ObserveUntaken(const AttemptRef& attempt);
  Observation ObserveWaiting(const AttemptFolder& folder, const std::string& name,
                             const KubeJobState& state);
  // Of an attempt whose supervisor has written how it ended, other than well.
  Observation ObserveEnding(const AttemptFolder& folder, const std::string& name,
                            v1::ExitRecord exit, const std::optional<KubeJobState>& state);
  // Of one that is over, or gone, without an exit record.
  Observation ObserveUnexplained(const AttemptFolder& folder, const std::string& name,
                                 const std::optional<KubeJobState>& state,
                                 const std::string& damage);
  // Of one on a node that does not answer.
  Observation ObserveLost(const AttemptFolder& folder, const std::string& name,
                          const KubeJobState& state);
  // Writes the record, unless there is one: the one that is there counts. From then on no
  // supervisor can begin. With `surely` also where one lives, as far as its lock tells.
  Observation Close(const AttemptFolder& folder, const std::string& name, v1::ExitRecord record,
                    bool surely = false);
  Observation Ended(const AttemptFolder& folder, const std::string& name, v1::ExitRecord exit);

  // Hands the attempt in. Nothing when the server has it.
  std::optional<KubeRefusal> Submit(const AttemptFolder& folder, const std::string& name);
  // How long ago `what` was first asked about for this attempt.
  std::chrono::milliseconds Since(const std::string& name, const std::string& what);
  void ForgetSince(const std::string& name, const std::string& what);

  const Options options_;
  std::mutex mutex_;
  std::map<std::string, std::map<std::string, MonotonicTime>> since_;  // by MPIJob and what
  std::map<std::string, int64_t> written_;  // of those on lost nodes, when it last changed
  struct Refused {
    MonotonicTime next_try;
    std::string words;
  };
  std::map<std::string, Refused> refused_;  // by MPIJob
  MonotonicTime next_tidy_{};
  MpiJobs jobs_;
};

}  // namespace syncbn::coordinator
