// The MPIJobs of a store on an API server: what a launcher does with them, by their names. Knows
// nothing of attempts' folders.
//
// Two watches, of MPIJobs and of pods, keep what is there (kube_watch.h), pods by their MPIJob.
// Thread-safe. What cannot be asked now is UNAVAILABLE, with the reason and what to do.
#pragma once

#include <map>
#include <mutex>

#include "base/clock.h"
#include "coordinator/launch/kubernetes/kube_watch.h"
#include "coordinator/launch/kubernetes/mpi_job_state.h"

namespace syncbn::coordinator {

class MpiJobs {
 public:
  // INVALID_ARGUMENT for an access that cannot work. Asks nothing yet but for the watches.
  MpiJobs(const KubeAccess& access, const std::string& store_id, KubeClient::Times times,
          std::chrono::seconds watch_time);

  // Nothing when the server has it, from now or from an earlier call; otherwise why not. An answer
  // that did not come is a refusal that is not final: the same call again finds out.
  std::optional<KubeRefusal> Create(const nlohmann::json& job);
  // Whether the server has it. Without the operator, or without the namespace, it has not.
  bool Has(const nlohmann::json& job);

  // Nothing where the server says that there is no such MPIJob. It is asked where what is held says
  // that it is not there, or has ended, and with `surely` in any case.
  std::optional<KubeJobState> Find(const std::string& name, bool surely);
  // What its pods said first of their end, as long as it is not forgotten: they go, and their reasons
  // with them.
  std::optional<KubeEnd> EndOf(const std::string& name);
  void Forget(const std::string& name);

  // With all it has made, and not before that is gone. Nothing is done where it is not there.
  void Delete(const std::string& name);
  // The same where nobody waits for it: what fails is left to somebody who tidies.
  void DeleteQuietly(const std::string& name);
  // Its pods, without the time that they would be given.
  void KillPods(const std::string& name);
  // Objects that are not being deleted, by name, with the annotation `syncbn.org/folder`.
  std::map<std::string, std::filesystem::path> Folders() const;

  // What warnings about an MPIJob without pods say, asked now and then; empty: nothing.
  std::string WarningsOf(const std::string& name);
  // The last lines of some pods, each led by its name; of those that can be had.
  std::string LogsOf(const std::vector<std::string>& pods);

 private:
  std::string JobsPath() const;
  std::string PodsPath() const;
  KubeRequest Request(const std::string& verb, const std::string& resource) const;
  // Throws what the answer means: UNAVAILABLE, or INVALID_ARGUMENT where it is final.
  [[noreturn]] void Refuse(const KubeAnswer& answer, const std::string& verb,
                           const std::string& resource) const;

  KubeClient client_;
  std::mutex mutex_;
  std::map<std::string, KubeEnd> ends_;
  struct Warnings {
    MonotonicTime asked;
    std::string words;
  };
  std::map<std::string, Warnings> warnings_;
  // Last: their threads use the client.
  KubeWatch jobs_, pods_;
};

}  // namespace syncbn::coordinator
