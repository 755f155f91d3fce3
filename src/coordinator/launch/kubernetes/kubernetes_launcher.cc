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

// What the server is to be given, for the next try.
std::filesystem::path BodyFile(const std::filesystem::path& folder) {
  return folder / "mpijob.json";
}

// There once the server has it.
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

// When its supervisor began, by its own word.
std::optional<WallTime> SupervisedSince(const AttemptFolder& folder) {
  std::string damage;
  const auto supervisor = ReadOrNote([&] { return folder.Supervisor(); }, damage);
  if (!supervisor || !supervisor->has_start_time()) return std::nullopt;
  return FromProto(supervisor->start_time());
}

void AddWords(v1::ExitRecord& exit, const std::string& words) {
  exit.set_message(exit.message() + (exit.message().empty() ? "" : "; ") + words);
}

std::string NameOf(const AttemptRef& attempt, const AttemptFolder& folder) {
  return MpiJobName(attempt.marker.empty() ? folder.Spec().marker() : attempt.marker);
}

json BodyOf(const AttemptFolder& folder) {
  return KubeAnswer::Parse(ReadFile(BodyFile(folder.path())));
}

}  // namespace

KubernetesLauncher::KubernetesLauncher(Options options)
    : options_(std::move(options)),
      jobs_(options_.access, options_.store_id, options_.times, options_.watch_time) {}

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
  // No supervisor has been asked for.
  folder.WriteExit(NewRecord(v1::ExitRecord::NEVER_RAN, refusal->words));
  throw Error(ErrorCode::kInvalidArgument, "Kubernetes refused the job: " + refusal->words);
}

std::optional<KubeRefusal> KubernetesLauncher::Submit(const AttemptFolder& folder,
                                                      const std::string& name) {
  const std::optional<KubeRefusal> refusal = jobs_.Create(BodyOf(folder));
  if (!refusal) WriteFileAtomically(TakenFile(folder.path()), name + "\n");
  std::lock_guard lock(mutex_);
  refused_.erase(name);
  if (refusal) {
    const milliseconds wait = std::max(options_.retry_time, milliseconds(refusal->wait));
    refused_[name] = {.next_try = Clock::System().Monotonic() + wait, .words = refusal->words};
  }
  return refusal;
}

void KubernetesLauncher::Tidy() {
  {
    const MonotonicTime now = Clock::System().Monotonic();
    std::lock_guard lock(mutex_);
    if (now < next_tidy_) return;
    next_tidy_ = now + options_.tidy_every;
  }
  for (const auto& [name, folder] : jobs_.Folders()) {
    std::error_code none;
    const auto written = std::filesystem::last_write_time(folder / "exit.json", none);
    // Long ago: whoever asks why it ended has had the answer.
    const bool over =
        !none && std::filesystem::file_time_type::clock::now() - written >= options_.delete_time;
    // Its job was deleted. A volume that is away takes more than the folder with it.
    const std::filesystem::path all = folder.parent_path().parent_path().parent_path();
    const bool deleted = !std::filesystem::exists(folder, none) && !none &&
                         std::filesystem::exists(all, none) && !none;
    if (!deleted) ForgetSince(name, "deleted");
    if (over || (deleted && Since(name, "deleted") >= options_.delete_time)) {
      jobs_.DeleteQuietly(name);
      std::lock_guard lock(mutex_);
      since_.erase(name);
    }
  }
}

Observation KubernetesLauncher::Observe(const AttemptRef& attempt) {
  Observation seen = Look(attempt);
  ForgetSince(NameOf(attempt, AttemptFolder(attempt.folder)), "deleted");
  if (seen.kind != Observation::Kind::kEnded && !seen.begin)
    seen.begin = SupervisedSince(AttemptFolder(attempt.folder, attempt.marker));
  return seen;
}

Observation KubernetesLauncher::Ended(const AttemptFolder& folder, const std::string& name,
                                      v1::ExitRecord exit) {
  if (IsTaken(folder.path())) jobs_.DeleteQuietly(name);
  jobs_.Forget(name);
  std::lock_guard lock(mutex_);
  since_.erase(name);
  refused_.erase(name);
  written_.erase(name);
  return {.kind = Observation::Kind::kEnded, .exit = std::move(exit)};
}

Observation KubernetesLauncher::Close(const AttemptFolder& folder, const std::string& name,
                                      v1::ExitRecord record, bool surely) {
  std::filesystem::create_directories(folder.path());
  const auto lock = folder.TryLock();
  if (!lock && !surely) {
    return {.kind = Observation::Kind::kAlive,
            .detail = "its supervisor lives",
            .written = folder.Written()};
  }
  if (const auto began = SupervisedSince(folder); began && !record.has_start_time())
    *record.mutable_start_time() = ToProto(*began);
  if (folder.WriteExit(record)) return Ended(folder, name, std::move(record));
  // Not to be read yet, perhaps.
  return {.kind = Observation::Kind::kAlive,
          .detail = "has written its exit record",
          .record_awaited = true};
}

milliseconds KubernetesLauncher::Since(const std::string& name, const std::string& what) {
  const MonotonicTime now = Clock::System().Monotonic();
  std::lock_guard lock(mutex_);
  const auto [since, first] = since_[name].emplace(what, now);
  return std::chrono::duration_cast<milliseconds>(now - since->second);
}

void KubernetesLauncher::ForgetSince(const std::string& name, const std::string& what) {
  std::lock_guard lock(mutex_);
  if (const auto known = since_.find(name); known != since_.end()) known->second.erase(what);
}

Observation KubernetesLauncher::Look(const AttemptRef& attempt) {
  const AttemptFolder folder(attempt.folder, attempt.marker);
  const std::string name = NameOf(attempt, folder);
  std::string damage;
  auto exit = ReadOrNote([&] { return folder.Exit(); }, damage);
  if (exit && IsFinal(*exit)) return Ended(folder, name, *std::move(exit));
  if (!exit && !IsTaken(folder.path()) && std::filesystem::exists(BodyFile(folder.path())))
    return ObserveUntaken(attempt);
  std::optional<KubeJobState> state;
  try {
    state = jobs_.Find(name, exit.has_value());
  } catch (const Error& error) {
    if (exit && Since(name, "record") >= options_.delete_time) return Ended(folder, name, *exit);
    return {.kind = Observation::Kind::kUnknown, .detail = error.message()};
  }
  if (exit) return ObserveEnding(folder, name, *std::move(exit), state);
  if (!state && !IsTaken(folder.path()) && damage.empty()) {
    // It was never handed in.
    return Close(folder, name,
                 NewRecord(v1::ExitRecord::NEVER_RAN, "Kubernetes was never given the job"));
  }
  if (!state || state->phase == KubePhase::kEnded)
    return ObserveUnexplained(folder, name, state, damage);
  if (state->deleting && Since(name, "deleting") >= options_.delete_time)
    return ObserveUnexplained(folder, name, state, damage);
  if (state->deleting) {
    return {.kind = Observation::Kind::kAlive,
            .detail = "is being deleted",
            .written = folder.Written(),
            .begin = state->begin,
            .trouble = state->lost ? state->lost->words : ""};
  }
  if (state->lost) return ObserveLost(folder, name, *state);
  ForgetSince(name, "lost");
  if (state->phase == KubePhase::kRunning) {
    std::lock_guard lock(mutex_);
    since_.erase(name);
    return {.kind = Observation::Kind::kAlive,
            .detail = state->nodes,
            .written = folder.Written(),
            .begin = state->begin};
  }
  Observation seen = ObserveWaiting(folder, name, *state);
  seen.begin = state->begin;
  return seen;
}

Observation KubernetesLauncher::ObserveLost(const AttemptFolder& folder, const std::string& name,
                                            const KubeJobState& state) {
  const int64_t written = folder.Written();
  bool writes = false;
  {
    std::lock_guard lock(mutex_);
    const auto [known, first] = written_.emplace(name, written);
    writes = !first && known->second != written;
    known->second = written;
  }
  // What writes is alive: it is Kubernetes alone that cannot reach its node.
  if (writes) ForgetSince(name, "lost");
  const bool waits = state.phase == KubePhase::kWaiting && !HasSupervisor(folder);
  if (Since(name, "lost") < options_.node_time) {
    return {.kind = waits ? Observation::Kind::kWaiting : Observation::Kind::kAlive,
            .detail = state.lost->words,
            .written = written,
            .begin = state.begin,
            .trouble = state.lost->words};
  }
  // Should something of it live on, it ends as soon as it can be told.
  v1::StopOrder order;
  order.set_level(v1::STOP_LEVEL_KILL);
  order.set_reason(state.lost->words);
  *order.mutable_time() = ToProto(Clock::System().Now());
  folder.WriteStop(order);
  v1::ExitRecord record = NewRecord(v1::ExitRecord::SUPERVISOR_LOST, state.lost->words);
  record.set_batch_state(state.lost->reason);
  for (const std::string& node : state.lost_nodes) record.add_unverified_hosts(node);
  return Close(folder, name, std::move(record), /*surely=*/true);
}

Observation KubernetesLauncher::ObserveUntaken(const AttemptRef& attempt) {
  const AttemptFolder folder(attempt.folder, attempt.marker);
  const std::string name = NameOf(attempt, folder);
  const auto end = [&](v1::ExitRecord::Cause cause, const std::string& words) {
    return Close(folder, name, NewRecord(cause, words));
  };
  const std::string waits = "Kubernetes does not take the job now: ";
  Refused last{.words = "it was not heard"};
  {
    std::lock_guard lock(mutex_);
    if (const auto found = refused_.find(name); found != refused_.end()) last = found->second;
  }
  if (IsStopped(folder)) {
    try {
      if (!jobs_.Has(BodyOf(folder))) return end(v1::ExitRecord::NEVER_RAN, waits + last.words);
      WriteFileAtomically(TakenFile(folder.path()), name + "\n");
    } catch (const Error& error) {
      return {.kind = Observation::Kind::kUnknown, .detail = error.message()};
    }
    return Look(attempt);
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
    jobs_.DeleteQuietly(name);
    return {.kind = Observation::Kind::kWaiting, .detail = "Kubernetes: is being deleted"};
  }
  if (state.obstacle) {
    if (!state.obstacle->hopeless && Since(name, "obstacle") < options_.obstacle_time)
      return {.kind = Observation::Kind::kWaiting, .detail = "Kubernetes: " + state.words};
    return Close(folder, name,
                 NewRecord(v1::ExitRecord::NOT_STARTED, "Kubernetes: " + state.words));
  }
  ForgetSince(name, "obstacle");
  std::string words = state.words;
  if (state.without_pods && !state.suspended) {
    const std::string warnings = jobs_.WarningsOf(name);
    if (!warnings.empty()) words += ": " + warnings;
  }
  return {.kind = Observation::Kind::kWaiting, .detail = "Kubernetes: " + words};
}

Observation KubernetesLauncher::ObserveEnding(const AttemptFolder& folder, const std::string& name,
                                              v1::ExitRecord exit,
                                              const std::optional<KubeJobState>& state) {
  std::optional<KubeEnd> end = state ? state->end : jobs_.EndOf(name);
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
  if (!settled && Since(name, "record") < options_.settle_time)
    return {.kind = Observation::Kind::kAlive,
            .detail = "Kubernetes clears up",
            .record_awaited = true};
  if (end) {
    exit.set_batch_state(end->reason);
    AddWords(exit, end->words);
    // Kept: the pods go.
    folder.AmendExit(exit);
  }
  return Ended(folder, name, std::move(exit));
}

Observation KubernetesLauncher::ObserveUnexplained(const AttemptFolder& folder,
                                                   const std::string& name,
                                                   const std::optional<KubeJobState>& state,
                                                   const std::string& damage) {
  const bool supervised = HasSupervisor(folder), stopped = IsStopped(folder);
  const bool over = !supervised && stopped;
  // It has been waited for, too, as long as the object did not go.
  const milliseconds waited = std::max(
      Since(name, "record"), state && state->deleting ? Since(name, "deleting") : milliseconds(0));
  // A damaged record was the last that its supervisor wrote.
  if (!over && damage.empty() && waited < options_.record_time) {
    return {.kind = Observation::Kind::kAlive,
            .detail = "has ended in Kubernetes; its exit record is waited for",
            .written = folder.Written(),
            .record_awaited = true};
  }
  const bool lost_folder = !std::filesystem::exists(folder.path() / "attempt.json");
  std::filesystem::create_directories(folder.path());
  // A supervisor that lives on, on a node that nobody hears, holds the lock.
  const bool surely = waited >= options_.delete_time;
  if (!surely && !folder.TryLock()) {
    return {.kind = Observation::Kind::kAlive,
            .detail = "is gone from Kubernetes, but its supervisor lives",
            .written = folder.Written()};
  }
  const bool ran = supervised || lost_folder || !damage.empty();
  v1::ExitRecord record = NewRecord(
      ran       ? v1::ExitRecord::SUPERVISOR_LOST
      : stopped ? v1::ExitRecord::STOPPED
                : v1::ExitRecord::NOT_STARTED,
      state ? "Kubernetes: " + (state->words.empty() ? "the MPIJob is being deleted" : state->words)
            : "the MPIJob " + name + " is not in Kubernetes any more: somebody has deleted it");
  // The wait for a record is not the attempt's time.
  *record.mutable_end_time() = ToProto(Clock::System().Now() - waited);
  if (!damage.empty()) AddWords(record, damage);
  if (state && state->suspended) {
    record.set_batch_state("Suspended");
  } else if (state && state->end) {
    record.set_batch_state(state->end->reason);
  } else if (state && state->lost) {
    record.set_batch_state(state->lost->reason);
    AddWords(record, state->lost->words);
  } else if (!stopped && (!state || state->deleting)) {
    record.set_batch_state("Deleted");
  }
  if (state && state->deleting && !state->nodes.empty()) record.add_unverified_hosts(state->nodes);
  std::string logs;
  if (state && !stopped) {
    logs = jobs_.LogsOf(state->telling_pods);
    record.set_output_tail(logs);
  }
  Observation seen = Close(folder, name, std::move(record), surely);
  if (seen.kind == Observation::Kind::kEnded && !logs.empty()) {
    // For who reads the job's log; behind what its supervisor may have written.
    OutputLog log({.path = folder.output_log(), .tagged = true});
    log.Add(0, logs);
    log.Finish();
  }
  return seen;
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
  jobs_.Delete(NameOf(attempt, folder));
}

std::optional<RankActivity> KubernetesLauncher::LookAtRanks(const AttemptRef& attempt) {
  return RankActivity{.written = AttemptFolder(attempt.folder).Written()};
}

Observation KubernetesLauncher::Force(const AttemptRef& attempt) {
  const AttemptFolder folder(attempt.folder, attempt.marker);
  if (!IsTaken(folder.path()) && std::filesystem::exists(BodyFile(folder.path())))
    return Observe(attempt);
  const std::string name = NameOf(attempt, folder);
  try {
    jobs_.Delete(name);
    jobs_.KillPods(name);
  } catch (const Error& error) {
    return {.kind = Observation::Kind::kUnknown, .detail = error.message()};
  }
  return Observe(attempt);
}

}  // namespace syncbn::coordinator
