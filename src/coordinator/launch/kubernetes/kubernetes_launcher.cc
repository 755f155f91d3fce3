#include "coordinator/launch/kubernetes/kubernetes_launcher.h"

#include <algorithm>

#include "base/environment.h"
#include "base/error.h"
#include "base/file.h"
#include "coordinator/job/classify.h"
#include "coordinator/launch/mpirun_command.h"
#include "coordinator/launch/output_log.h"
#include "coordinator/launch/rank_relay.h"

namespace syncbn::coordinator {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;

// For the first list of a new launcher.
constexpr milliseconds kFirstList = std::chrono::seconds(5);
constexpr milliseconds kEventsEvery = std::chrono::seconds(15);
// Of the logs of a pod that are kept.
constexpr int kLogLines = 100;
constexpr int kLogBytes = 8192;
constexpr size_t kMostLogs = 4;

// What the server is to be given, for the next try.
std::filesystem::path BodyFile(const std::filesystem::path& folder) {
  return folder / "mpijob.json";
}

// There once the server has it: its uid.
std::filesystem::path TakenFile(const std::filesystem::path& folder) {
  return folder / "mpijob";
}

bool IsTaken(const std::filesystem::path& folder) {
  return std::filesystem::exists(TakenFile(folder));
}

v1::ExitRecord NewRecord(v1::ExitRecord::Cause cause, const std::string& message) {
  v1::ExitRecord record;
  record.set_cause(cause);
  record.set_message(message);
  *record.mutable_end_time() = ToProto(Clock::System().Now());
  return record;
}

// Nothing that Kubernetes could say of it would change what it means.
bool IsFinal(const v1::ExitRecord& exit) {
  const bool clean =
      exit.cause() == v1::ExitRecord::ENDED && exit.exit_code() == 0 && exit.signal() == 0;
  return clean || !exit.batch_state().empty() || exit.cause() == v1::ExitRecord::STOPPED ||
         exit.cause() == v1::ExitRecord::NEVER_RAN || exit.cause() == v1::ExitRecord::NOT_STARTED ||
         exit.cause() == v1::ExitRecord::SUPERVISOR_LOST;
}

bool IsStopped(const AttemptFolder& folder) {
  std::string damage;
  return ReadOrNote([&] { return folder.Stop(); }, damage).has_value() || !damage.empty();
}

bool HasSupervisor(const AttemptFolder& folder) {
  std::string damage;
  return ReadOrNote([&] { return folder.Supervisor(); }, damage).has_value() || !damage.empty();
}

void AddWords(v1::ExitRecord& exit, const std::string& words) {
  exit.set_message(exit.message() + (exit.message().empty() ? "" : "; ") + words);
}

std::string LabelOf(const json& object, const char* label) {
  const json::json_pointer labels("/metadata/labels");
  return object.contains(labels) && object[labels].is_object() ? object[labels].value(label, "")
                                                               : "";
}

}  // namespace

KubernetesLauncher::KubernetesLauncher(Options options)
    : options_(std::move(options)),
      client_((ValidateAccess(options_.access), options_.access), options_.times),
      jobs_({.client = &client_,
             .path = JobsPath(),
             .selector = std::string(kStoreLabel) + "=" + options_.store_id,
             .request = Request("list", "mpijobs"),
             .watch_time = options_.watch_time}),
      pods_({.client = &client_,
             .path = PodsPath(),
             .selector = std::string(kStoreLabel) + "=" + options_.store_id,
             .request = Request("list", "pods"),
             .watch_time = options_.watch_time}) {}

std::string KubernetesLauncher::JobsPath() const {
  return "/apis/kubeflow.org/v2beta1/namespaces/" + options_.access.name_space + "/mpijobs";
}

std::string KubernetesLauncher::PodsPath() const {
  return "/api/v1/namespaces/" + options_.access.name_space + "/pods";
}

KubeRequest KubernetesLauncher::Request(const std::string& verb,
                                        const std::string& resource) const {
  return {.verb = verb,
          .group = resource == "mpijobs" ? "kubeflow.org" : "",
          .resource = resource,
          .name_space = options_.access.name_space};
}

void KubernetesLauncher::Refuse(const KubeAnswer& answer, const std::string& verb,
                                const std::string& resource) const {
  const KubeRefusal refusal = MeaningOf(answer, Request(verb, resource));
  throw Error(refusal.final ? ErrorCode::kInvalidArgument : ErrorCode::kUnavailable, refusal.words);
}

void KubernetesLauncher::Start(const LaunchRequest& asked) {
  LaunchRequest request = asked;
  SetVariable(request.environment, kRankRelayVariable, "1");
  const AttemptFolder folder(request.attempt.folder);
  KubeJobSettings job = options_.job;
  job.exports = OperatorSettings();
  const v1::AttemptSpec spec = PodAttemptSpec(job, request);
  folder.Create(spec);
  WriteFileAtomically(HostfileOf(folder.path()), HostfileText(PodsOf(job, request)));
  WriteFileAtomically(SshConfigOf(folder.path()), SshConfigText());
  WriteFileAtomically(BodyFile(folder.path()), MpiJob(job, request).dump(2) + "\n");
  const auto refusal = Submit(folder, MpiJobName(request.marker));
  if (!refusal || !refusal->final) return;
  folder.WriteExit(NewRecord(v1::ExitRecord::NEVER_RAN, refusal->words));
  throw Error(ErrorCode::kInvalidArgument, "Kubernetes refused the job: " + refusal->words);
}

std::optional<KubeRefusal> KubernetesLauncher::Submit(const AttemptFolder& folder,
                                                      const std::string& name) {
  const auto refuse = [&](KubeRefusal refusal, std::optional<std::chrono::seconds> after) {
    std::lock_guard lock(mutex_);
    const milliseconds wait =
        std::max(options_.retry_time, milliseconds(after.value_or(std::chrono::seconds(0))));
    refused_[name] = {.next_try = Clock::System().Monotonic() + wait, .words = refusal.words};
    return refusal;
  };
  try {
    const json body = KubeAnswer::Parse(ReadFile(BodyFile(folder.path())));
    KubeAnswer answer = client_.Call("POST", JobsPath(), body);
    if (IsAlreadyThere(answer)) answer = client_.Call("GET", JobsPath() + "/" + name);
    if (!answer.ok())
      return refuse(MeaningOf(answer, Request("create", "mpijobs")), answer.retry_after);
    const json object = answer.Json();
    for (const char* label : {kStoreLabel, kJobLabel, kAttemptLabel}) {
      if (LabelOf(object, label) == LabelOf(body, label)) continue;
      return refuse(
          {.final = true,
           .words = "there is an MPIJob " + name + " in the namespace " +
                    options_.access.name_space + " that is not this attempt's (its label " + label +
                    " differs): delete or rename it"},
          {});
    }
    if (!object.value("/spec/runLauncherAsWorker"_json_pointer, false)) {
      DeleteQuietly(name);
      return refuse({.final = true,
                     .words = "the MPI operator of the cluster is too old (it has dropped "
                              "spec.runLauncherAsWorker): install version 0.6 or later"},
                    {});
    }
    WriteFileAtomically(TakenFile(folder.path()),
                        object.value("/metadata/uid"_json_pointer, "") + "\n");
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kUnavailable) throw;
    // It may have been heard: then the next try finds it.
    return refuse({.words = error.message()}, {});
  }
  std::lock_guard lock(mutex_);
  refused_.erase(name);
  return std::nullopt;
}

std::optional<KubeJobState> KubernetesLauncher::Find(const std::string& name, bool surely) {
  for (KubeWatch* watch : {&jobs_, &pods_}) {
    const std::string trouble = watch->Trouble(kFirstList);
    if (!trouble.empty()) throw Error(ErrorCode::kUnavailable, trouble);
  }
  const std::vector<json> pods = pods_.Select(kMpiJobLabel, name);
  // Pods that are taken away are gone soon, and their reasons with them.
  std::optional<KubeEnd> end = EndOfPods(pods);
  {
    std::lock_guard lock(mutex_);
    if (end) {
      KubeEnd& known = ends_[name];
      if (known.reason != "OOMKilled") known = *end;
      end = known;
    } else if (const auto known = ends_.find(name); known != ends_.end()) {
      end = known->second;
    }
  }
  const auto read = [&](const json& job) {
    KubeJobState state = ReadMpiJob(job, pods);
    if (end) state.end = end;
    return state;
  };
  if (!surely) {
    if (const auto job = jobs_.Find(name)) {
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

void KubernetesLauncher::Delete(const std::string& name) {
  const KubeAnswer answer = client_.Call("DELETE", JobsPath() + "/" + name,
                                         {{"kind", "DeleteOptions"},
                                          {"apiVersion", "v1"},
                                          // It is there until its pods are not.
                                          {"propagationPolicy", "Foreground"}});
  if (!answer.ok() && answer.status != 404 && answer.status != 409)
    Refuse(answer, "delete", "mpijobs");
}

void KubernetesLauncher::DeleteQuietly(const std::string& name) {
  try {
    Delete(name);
  } catch (const Error&) {
    // Tidy() finds it.
  }
}

void KubernetesLauncher::Tidy() {
  {
    const MonotonicTime now = Clock::System().Monotonic();
    std::lock_guard lock(mutex_);
    if (now < next_tidy_) return;
    next_tidy_ = now + options_.tidy_every;
  }
  for (const json& object : jobs_.All()) {
    const json::json_pointer folder_at("/metadata/annotations/syncbn.org~1folder");
    if (object.contains("/metadata/deletionTimestamp"_json_pointer) || !object.contains(folder_at))
      continue;
    const auto exit = std::filesystem::path(object[folder_at].get<std::string>()) / "exit.json";
    std::error_code none;
    const auto written = std::filesystem::last_write_time(exit, none);
    // Long ago: whoever asks why it ended has had the answer.
    if (none || std::filesystem::file_time_type::clock::now() - written < options_.delete_time)
      continue;
    DeleteQuietly(object.value("/metadata/name"_json_pointer, ""));
  }
}

Observation KubernetesLauncher::Observe(const AttemptRef& attempt) {
  Tidy();
  return Look(attempt);
}

Observation KubernetesLauncher::Ended(const AttemptFolder& folder, const std::string& name,
                                      v1::ExitRecord exit) {
  if (IsTaken(folder.path())) DeleteQuietly(name);
  std::lock_guard lock(mutex_);
  since_.erase(name);
  refused_.erase(name);
  events_.erase(name);
  ends_.erase(name);
  return {.kind = Observation::Kind::kEnded, .exit = std::move(exit)};
}

milliseconds KubernetesLauncher::Since(const std::string& name, const std::string& what) {
  const MonotonicTime now = Clock::System().Monotonic();
  std::lock_guard lock(mutex_);
  const auto [since, first] = since_[name].emplace(what, now);
  return std::chrono::duration_cast<milliseconds>(now - since->second);
}

void KubernetesLauncher::Forget(const std::string& name) {
  std::lock_guard lock(mutex_);
  since_.erase(name);
}

Observation KubernetesLauncher::Look(const AttemptRef& attempt) {
  const AttemptFolder folder(attempt.folder, attempt.marker);
  const std::string name =
      MpiJobName(attempt.marker.empty() ? folder.Spec().marker() : attempt.marker);
  std::string damage;
  auto exit = ReadOrNote([&] { return folder.Exit(); }, damage);
  if (exit && IsFinal(*exit)) return Ended(folder, name, *std::move(exit));
  if (!exit && !IsTaken(folder.path()) && std::filesystem::exists(BodyFile(folder.path())))
    return ObserveUntaken(attempt);
  std::optional<KubeJobState> state;
  try {
    state = Find(name, exit.has_value());
  } catch (const Error& error) {
    if (exit && Since(name, "record") >= options_.delete_time) return Ended(folder, name, *exit);
    return {.kind = Observation::Kind::kUnknown, .detail = error.message()};
  }
  if (exit) return ObserveEnding(folder, name, *std::move(exit), state);
  if (!state && !IsTaken(folder.path()) && damage.empty()) {
    // It was never handed in.
    v1::ExitRecord record =
        NewRecord(v1::ExitRecord::NEVER_RAN, "Kubernetes was never given the job");
    std::filesystem::create_directories(folder.path());
    folder.WriteExit(record);
    return Ended(folder, name, std::move(record));
  }
  if (!state || state->phase == KubePhase::kEnded)
    return ObserveUnexplained(folder, name, state, damage);
  if (state->deleting && Since(name, "deleting") >= options_.delete_time)
    return ObserveUnexplained(folder, name, state, damage);
  if (state->deleting)
    return {.kind = Observation::Kind::kAlive,
            .detail = "is being deleted",
            .written = folder.Written()};
  if (state->phase == KubePhase::kRunning) {
    Forget(name);
    return {.kind = Observation::Kind::kAlive, .detail = state->nodes, .written = folder.Written()};
  }
  return ObserveWaiting(folder, name, *state);
}

Observation KubernetesLauncher::ObserveUntaken(const AttemptRef& attempt) {
  const AttemptFolder folder(attempt.folder, attempt.marker);
  const std::string name =
      MpiJobName(attempt.marker.empty() ? folder.Spec().marker() : attempt.marker);
  const auto end = [&](v1::ExitRecord::Cause cause, const std::string& words) {
    v1::ExitRecord record = NewRecord(cause, words);
    folder.WriteExit(record);
    return Ended(folder, name, std::move(record));
  };
  const std::string waits = "Kubernetes does not take the job now: ";
  Refused last{.words = "it was not heard"};
  {
    std::lock_guard lock(mutex_);
    if (const auto found = refused_.find(name); found != refused_.end()) last = found->second;
  }
  if (IsStopped(folder)) {
    try {
      const KubeAnswer answer = client_.Call("GET", JobsPath() + "/" + name);
      if (answer.ok()) {
        WriteFileAtomically(TakenFile(folder.path()), "\n");
        return Look(attempt);
      }
      // Without the operator, or without its namespace, it is not there either.
      if (answer.status == 404) return end(v1::ExitRecord::NEVER_RAN, waits + last.words);
      Refuse(answer, "get", "mpijobs");
    } catch (const Error& error) {
      return {.kind = Observation::Kind::kUnknown, .detail = error.message()};
    }
  }
  if (Clock::System().Monotonic() < last.next_try)
    return {.kind = Observation::Kind::kWaiting, .detail = waits + last.words};
  const auto refusal = Submit(folder, name);
  if (refusal && refusal->final)
    return end(v1::ExitRecord::NOT_STARTED, "Kubernetes refused the job: " + refusal->words);
  return {.kind = Observation::Kind::kWaiting,
          .detail = refusal ? waits + refusal->words : "Kubernetes has taken it"};
}

Observation KubernetesLauncher::ObserveWaiting(const AttemptFolder& folder, const std::string& name,
                                               const KubeJobState& state) {
  const bool supervised = HasSupervisor(folder);
  // Suspended while it ran: its pods are gone, and would be made again.
  if (supervised && state.suspended) return ObserveUnexplained(folder, name, state, "");
  if (supervised) {
    return {.kind = Observation::Kind::kAlive, .detail = state.words, .written = folder.Written()};
  }
  if (IsStopped(folder)) {
    DeleteQuietly(name);
    return {.kind = Observation::Kind::kWaiting, .detail = "Kubernetes: is being deleted"};
  }
  if (state.obstacle) {
    if (!state.obstacle->hopeless && Since(name, "obstacle") < options_.obstacle_time)
      return {.kind = Observation::Kind::kWaiting, .detail = "Kubernetes: " + state.words};
    v1::ExitRecord record = NewRecord(v1::ExitRecord::NOT_STARTED, "Kubernetes: " + state.words);
    folder.WriteExit(record);
    return Ended(folder, name, std::move(record));
  }
  {
    std::lock_guard lock(mutex_);
    since_[name].erase("obstacle");
  }
  std::string words = state.words;
  if (state.without_pods && !state.suspended) {
    const std::string events = EventsOf(name);
    if (!events.empty()) words += ": " + events;
  }
  return {.kind = Observation::Kind::kWaiting, .detail = "Kubernetes: " + words};
}

Observation KubernetesLauncher::ObserveEnding(const AttemptFolder& folder, const std::string& name,
                                              v1::ExitRecord exit,
                                              const std::optional<KubeJobState>& state) {
  std::optional<KubeEnd> end;
  if (state) {
    end = state->end;
  } else {
    std::lock_guard lock(mutex_);
    if (const auto known = ends_.find(name); known != ends_.end()) end = known->second;
  }
  const bool gone = !state || state->deleting;
  // Its ranks were told to leave, and not by an order.
  const bool told =
      exit.cause() == v1::ExitRecord::HOST_SHUTDOWN || exit.exit_code() == kExitStopped;
  if (told && gone) {
    end = KubeEnd{"Deleted",
                  "the MPIJob " + name + " was deleted, by somebody else than the coordinator"};
  } else if (told && state->suspended) {
    end = KubeEnd{"Suspended", "the MPIJob was " + state->words};
  }
  // What became of its pods is known a moment after the launcher's has ended.
  const bool settled = end || gone || state->phase == KubePhase::kEnded;
  if (!settled && Since(name, "record") < options_.record_time)
    return {.kind = Observation::Kind::kAlive, .detail = "Kubernetes clears up"};
  if (end) {
    exit.set_batch_state(end->reason);
    AddWords(exit, end->words);
    // Kept: the pods go.
    folder.WriteExit(exit);
  }
  return Ended(folder, name, std::move(exit));
}

Observation KubernetesLauncher::ObserveUnexplained(const AttemptFolder& folder,
                                                   const std::string& name,
                                                   const std::optional<KubeJobState>& state,
                                                   const std::string& damage) {
  const bool supervised = HasSupervisor(folder), stopped = IsStopped(folder);
  const bool over = !supervised && stopped;
  // A damaged record was the last that its supervisor wrote.
  if (!over && damage.empty() && Since(name, "record") < options_.record_time) {
    return {.kind = Observation::Kind::kAlive,
            .detail = "has ended in Kubernetes; its exit record is waited for",
            .written = folder.Written()};
  }
  const bool lost_folder = !std::filesystem::exists(folder.path() / "attempt.json");
  std::filesystem::create_directories(folder.path());
  // From now on no supervisor can begin. One that lives on, on a node that nobody hears, holds it.
  const auto lock = folder.TryLock();
  if (!lock && Since(name, "record") < options_.delete_time) {
    return {.kind = Observation::Kind::kAlive,
            .detail = "is gone from Kubernetes, but its supervisor lives",
            .written = folder.Written()};
  }
  if (lock) {
    std::string unused;
    if (auto exit = ReadOrNote([&] { return folder.Exit(); }, unused))
      return {.kind = Observation::Kind::kAlive, .detail = "has written its exit record"};
  }
  const bool ran = supervised || lost_folder || !damage.empty();
  v1::ExitRecord record = NewRecord(
      ran       ? v1::ExitRecord::SUPERVISOR_LOST
      : stopped ? v1::ExitRecord::STOPPED
                : v1::ExitRecord::NOT_STARTED,
      state ? "Kubernetes: " + (state->words.empty() ? "the MPIJob is being deleted" : state->words)
            : "the MPIJob " + name + " is not in Kubernetes any more: somebody has deleted it");
  if (!damage.empty()) AddWords(record, damage);
  if (state && state->suspended) {
    record.set_batch_state("Suspended");
  } else if (state && state->end) {
    record.set_batch_state(state->end->reason);
  } else if (!stopped && (!state || state->deleting)) {
    record.set_batch_state("Deleted");
  }
  if (state && state->deleting && !state->nodes.empty()) record.add_unverified_hosts(state->nodes);
  if (state && !stopped) {
    const std::string logs = LogsOf(state->telling_pods);
    record.set_output_tail(logs);
    if (!logs.empty()) {
      // For who reads the job's log; behind what its supervisor may have written.
      OutputLog log({.path = folder.output_log(), .tagged = true});
      log.Add(0, logs);
      log.Finish();
    }
  }
  folder.WriteExit(record);
  return Ended(folder, name, std::move(record));
}

std::string KubernetesLauncher::LogsOf(const std::vector<std::string>& pods) {
  std::string text;
  for (size_t i = 0; i < pods.size() && i < kMostLogs; ++i) {
    try {
      const KubeAnswer answer = client_.Call(
          "GET", PodsPath() + "/" + pods[i] + "/log?tailLines=" + std::to_string(kLogLines) +
                     "&limitBytes=" + std::to_string(kLogBytes));
      const std::string& lines = answer.ok() ? answer.body : "";
      if (lines.empty()) continue;
      text += "log of pod " + pods[i] + ":\n" + lines + (lines.ends_with('\n') ? "" : "\n");
    } catch (const Error&) {
      // What happened is known without it.
    }
  }
  return text;
}

std::string KubernetesLauncher::EventsOf(const std::string& name) {
  const MonotonicTime now = Clock::System().Monotonic();
  {
    std::lock_guard lock(mutex_);
    auto& since = since_[name];
    const auto asked = since.find("events");
    if (asked != since.end() && now - asked->second < kEventsEvery) return events_[name];
    since["events"] = now;
  }
  std::string newest, words;
  try {
    // The operator's of the MPIJob, the Job controller's of its launcher.
    for (const std::string& object : {name, name + "-launcher"}) {
      const KubeAnswer answer =
          client_.Call("GET", "/api/v1/namespaces/" + options_.access.name_space +
                                  "/events?limit=50&fieldSelector=" +
                                  UrlEncode("involvedObject.name=" + object + ",type=Warning"));
      if (!answer.ok()) continue;  // a help only; the role may not allow it
      const json list = answer.Json();
      if (!list.contains("items")) continue;
      for (const json& event : list["items"]) {
        const json& time = event.value("lastTimestamp", json());
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
  return events_[name] = words;
}

void KubernetesLauncher::Stop(const AttemptRef& attempt, StopLevel level,
                              const std::string& reason) {
  v1::StopOrder order;
  order.set_level(static_cast<v1::StopLevel>(level));
  order.set_reason(reason);
  *order.mutable_time() = ToProto(Clock::System().Now());
  const AttemptFolder folder(attempt.folder, attempt.marker);
  folder.WriteStop(order);
  // One that the server has not taken is closed by the next look at it; without a supervisor nobody
  // reads the order.
  if (!IsTaken(folder.path()) || HasSupervisor(folder)) return;
  Delete(MpiJobName(attempt.marker.empty() ? folder.Spec().marker() : attempt.marker));
}

std::optional<RankActivity> KubernetesLauncher::LookAtRanks(const AttemptRef& attempt) {
  return RankActivity{.written = AttemptFolder(attempt.folder).Written()};
}

Observation KubernetesLauncher::Force(const AttemptRef& attempt) {
  const AttemptFolder folder(attempt.folder, attempt.marker);
  if (!IsTaken(folder.path()) && std::filesystem::exists(BodyFile(folder.path())))
    return Observe(attempt);
  const std::string name =
      MpiJobName(attempt.marker.empty() ? folder.Spec().marker() : attempt.marker);
  try {
    Delete(name);
    for (const json& pod : pods_.Select(kMpiJobLabel, name)) {
      // A second, and not none: so the pod is there until its node says that nothing of it is.
      const KubeAnswer answer = client_.Call(
          "DELETE", PodsPath() + "/" + pod.value("/metadata/name"_json_pointer, ""),
          {{"kind", "DeleteOptions"}, {"apiVersion", "v1"}, {"gracePeriodSeconds", 1}});
      if (!answer.ok() && answer.status != 404) Refuse(answer, "delete", "pods");
    }
  } catch (const Error& error) {
    return {.kind = Observation::Kind::kUnknown, .detail = error.message()};
  }
  return Observe(attempt);
}

}  // namespace syncbn::coordinator
