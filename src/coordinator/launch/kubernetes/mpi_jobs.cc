#include "coordinator/launch/kubernetes/mpi_jobs.h"

#include <algorithm>

#include "base/error.h"
#include "coordinator/launch/kubernetes/mpi_job.h"

namespace syncbn::coordinator {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;

// For the first lists.
constexpr milliseconds kFirstList = std::chrono::seconds(5);
constexpr milliseconds kWarningsEvery = std::chrono::seconds(15);
// Of the logs of a pod that are kept, and of how many pods.
constexpr int kLogLines = 100;
constexpr int kLogBytes = 8192;
constexpr size_t kMostLogs = 4;

std::string NameOf(const json& object) {
  return object.value("/metadata/name"_json_pointer, "");
}

std::string LabelOf(const json& object, const char* label) {
  const json::json_pointer labels("/metadata/labels");
  return object.contains(labels) && object[labels].is_object() ? object[labels].value(label, "")
                                                               : "";
}

// The label in which two objects of one name differ that are not the same attempt's.
const char* DifferentLabel(const json& one, const json& other) {
  for (const char* label : {kStoreLabel, kJobLabel, kAttemptLabel}) {
    if (LabelOf(one, label) != LabelOf(other, label)) return label;
  }
  return nullptr;
}

const KubeAccess& Validated(const KubeAccess& access) {
  ValidateAccess(access);
  return access;
}

}  // namespace

MpiJobs::MpiJobs(const KubeAccess& access, const std::string& store_id, KubeClient::Times times,
                 std::chrono::seconds watch_time)
    : client_(Validated(access), times),
      jobs_({.client = &client_,
             .path = JobsPath(),
             .selector = std::string(kStoreLabel) + "=" + store_id,
             .request = Request("list", "mpijobs"),
             .watch_time = watch_time}),
      pods_({.client = &client_,
             .path = PodsPath(),
             .selector = std::string(kStoreLabel) + "=" + store_id,
             .key = kMpiJobLabel,
             .request = Request("list", "pods"),
             .watch_time = watch_time}) {}

std::string MpiJobs::JobsPath() const {
  return "/apis/kubeflow.org/v2beta1/namespaces/" + client_.access().name_space + "/mpijobs";
}

std::string MpiJobs::PodsPath() const {
  return "/api/v1/namespaces/" + client_.access().name_space + "/pods";
}

KubeRequest MpiJobs::Request(const std::string& verb, const std::string& resource) const {
  return {.verb = verb,
          .group = resource == "mpijobs" ? "kubeflow.org" : "",
          .resource = resource,
          .name_space = client_.access().name_space};
}

void MpiJobs::Refuse(const KubeAnswer& answer, const std::string& verb,
                     const std::string& resource) const {
  const KubeRefusal refusal = MeaningOf(answer, Request(verb, resource));
  throw Error(refusal.final ? ErrorCode::kInvalidArgument : ErrorCode::kUnavailable, refusal.words);
}

std::optional<KubeRefusal> MpiJobs::Create(const json& job) {
  const std::string name = NameOf(job);
  json object;
  try {
    KubeAnswer answer = client_.Call("POST", JobsPath(), job);
    if (IsAlreadyThere(answer)) {
      answer = client_.Call("GET", JobsPath() + "/" + name);
      if (IsObjectMissing(answer)) {
        return KubeRefusal{.words = "there was an MPIJob " + name +
                                    ", and it is gone the next moment: it is created anew"};
      }
    }
    if (!answer.ok()) return MeaningOf(answer, Request("create", "mpijobs"));
    object = answer.Json();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kUnavailable) throw;
    return KubeRefusal{.words = error.message()};
  }
  if (const char* label = DifferentLabel(object, job)) {
    return KubeRefusal{.final = true,
                       .words = "there is an MPIJob " + name + " in the namespace " +
                                client_.access().name_space +
                                " that is not this attempt's (its label " + label +
                                " differs): delete or rename it"};
  }
  if (!object.value("/spec/runLauncherAsWorker"_json_pointer, false)) {
    DeleteQuietly(name);
    return KubeRefusal{.final = true,
                       .words = "the MPI operator of the cluster is too old (it has dropped "
                                "spec.runLauncherAsWorker): install version 0.6 or later"};
  }
  return std::nullopt;
}

bool MpiJobs::Has(const json& job) {
  const KubeAnswer answer = client_.Call("GET", JobsPath() + "/" + NameOf(job));
  if (answer.ok()) return DifferentLabel(answer.Json(), job) == nullptr;
  if (answer.status == 404) return false;
  Refuse(answer, "get", "mpijobs");
}

std::optional<KubeJobState> MpiJobs::Find(const std::string& name, bool surely) {
  for (KubeWatch* watch : {&jobs_, &pods_}) {
    const std::string trouble = watch->Trouble(kFirstList);
    if (!trouble.empty()) throw Error(ErrorCode::kUnavailable, trouble);
  }
  const KubePods pods = pods_.Select(name);
  if (const auto end = EndOfPods(pods)) {
    std::lock_guard lock(mutex_);
    KubeEnd& known = ends_[name];
    if (known.reason != "OOMKilled") known = *end;
  }
  const auto read = [&](const json& job) {
    KubeJobState state = ReadMpiJob(job, pods, Clock::System().Now());
    if (auto end = EndOf(name)) state.end = std::move(end);
    return state;
  };
  if (!surely) {
    if (const KubeObject job = jobs_.Find(name)) {
      KubeJobState state = read(*job);
      if (state.phase != KubePhase::kEnded) return state;
    }
  }
  const KubeAnswer answer = client_.Call("GET", JobsPath() + "/" + name);
  if (IsObjectMissing(answer)) return std::nullopt;
  if (!answer.ok())
    throw Error(ErrorCode::kUnavailable, MeaningOf(answer, Request("get", "mpijobs")).words);
  return read(answer.Json());
}

std::optional<KubeEnd> MpiJobs::EndOf(const std::string& name) {
  std::lock_guard lock(mutex_);
  const auto known = ends_.find(name);
  if (known == ends_.end()) return std::nullopt;
  return known->second;
}

void MpiJobs::Forget(const std::string& name) {
  std::lock_guard lock(mutex_);
  ends_.erase(name);
  warnings_.erase(name);
}

void MpiJobs::Delete(const std::string& name) {
  const KubeAnswer answer = client_.Call("DELETE", JobsPath() + "/" + name,
                                         {{"kind", "DeleteOptions"},
                                          {"apiVersion", "v1"},
                                          {"propagationPolicy", "Foreground"}});
  if (!answer.ok() && answer.status != 404 && answer.status != 409)
    Refuse(answer, "delete", "mpijobs");
}

void MpiJobs::DeleteQuietly(const std::string& name) {
  try {
    Delete(name);
  } catch (const Error&) {
    // It is found again.
  }
}

void MpiJobs::KillPods(const std::string& name) {
  for (const KubeObject& pod : pods_.Select(name)) {
    // A second, and not none: so the pod is there until its node says that nothing of it is.
    const KubeAnswer answer =
        client_.Call("DELETE", PodsPath() + "/" + NameOf(*pod),
                     {{"kind", "DeleteOptions"}, {"apiVersion", "v1"}, {"gracePeriodSeconds", 1}});
    if (!answer.ok() && answer.status != 404) Refuse(answer, "delete", "pods");
  }
}

std::map<std::string, std::filesystem::path> MpiJobs::Folders() const {
  std::map<std::string, std::filesystem::path> folders;
  for (const KubeObject& one : jobs_.All()) {
    const json& object = *one;
    const json::json_pointer folder("/metadata/annotations/syncbn.org~1folder");
    if (object.contains("/metadata/deletionTimestamp"_json_pointer) || !object.contains(folder))
      continue;
    folders[NameOf(object)] = object[folder].get<std::string>();
  }
  return folders;
}

std::string MpiJobs::WarningsOf(const std::string& name) {
  {
    const MonotonicTime now = Clock::System().Monotonic();
    std::lock_guard lock(mutex_);
    const auto [known, first] = warnings_.try_emplace(name, Warnings{.asked = now});
    if (!first && now - known->second.asked < kWarningsEvery) return known->second.words;
    known->second.asked = now;
  }
  std::string newest, words;
  try {
    // The operator's of the MPIJob, the Job controller's of its launcher.
    for (const std::string& object : {name, name + "-launcher"}) {
      const KubeAnswer answer =
          client_.Call("GET", "/api/v1/namespaces/" + client_.access().name_space +
                                  "/events?limit=50&fieldSelector=" +
                                  UrlEncode("involvedObject.name=" + object + ",type=Warning"));
      if (!answer.ok()) continue;  // a help only; the role may not allow it
      const json list = answer.Json();
      if (!list.contains("items")) continue;
      for (const json& event : list["items"]) {
        const json time = event.value("lastTimestamp", json());
        const std::string when = time.is_string() ? time.get<std::string>() : "";
        if (when < newest) continue;
        newest = when;
        words = event.value("message", "");
      }
    }
  } catch (const Error&) {
    return "";
  }
  std::replace(words.begin(), words.end(), '\n', ' ');
  std::lock_guard lock(mutex_);
  return warnings_[name].words = words;
}

std::string MpiJobs::LogsOf(const std::vector<std::string>& pods) {
  std::string text;
  for (size_t i = 0; i < pods.size() && i < kMostLogs; ++i) {
    try {
      const KubeAnswer answer = client_.Call(
          "GET", PodsPath() + "/" + pods[i] + "/log?tailLines=" + std::to_string(kLogLines) +
                     "&limitBytes=" + std::to_string(kLogBytes));
      const std::string lines = answer.ok() ? answer.body : "";
      if (lines.empty()) continue;
      text += "log of pod " + pods[i] + ":\n" + lines + (lines.ends_with('\n') ? "" : "\n");
    } catch (const Error&) {
      // What happened is known without it.
    }
  }
  return text;
}

}  // namespace syncbn::coordinator
