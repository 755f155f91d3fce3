// What users and workers ask of the controller. What it does by itself is in controller_engine.cc.
#include "coordinator/control/controller.h"

#include <google/protobuf/util/time_util.h>

#include <algorithm>

#include "base/check.h"
#include "base/text.h"
#include "coordinator/api_error.h"
#include "coordinator/control/open_job.h"
#include "coordinator/control/secret.h"
#include "coordinator/control/spool_ingest.h"

namespace syncbn::coordinator {
namespace {

// What a worker is to do, from what is to become of its attempt.
DesiredState DesiredOf(const JobStatus& status) {
  switch (status.state) {
    case JobState::kPausing:
      return DesiredState::kPause;
    case JobState::kCancelling:
      return std::max(status.desired, DesiredState::kCancel);
    case JobState::kRecovering:
      return DesiredState::kKill;
    default:
      return DesiredState::kRun;
  }
}

void CheckEtag(const JobRecord& record, const std::string& etag) {
  if (etag.empty() || etag == Etag(record.revision)) return;
  throw ApiError(ErrorCode::kAborted, "ETAG_MISMATCH",
                 JobName(record.id) + " has changed since it was read: look at it again",
                 {{"etag", Etag(record.revision)}});
}

void CheckApplied(const JobRecord& record, const Outcome& outcome) {
  if (outcome.verdict != Outcome::Verdict::kRejected) return;
  throw ApiError(ErrorCode::kFailedPrecondition, "WRONG_STATE",
                 JobName(record.id) + ": " + outcome.message,
                 {{"state", std::string(JobStateName(record.status.state))}});
}

// `steps` are those of the whole run; 0 where they are not known.
bool IsStepOf(int64_t step, int64_t steps) {
  return steps == 0 || step <= steps;
}

void CheckStep(const std::string& field, int64_t step, int64_t steps) {
  if (IsStepOf(step, steps)) return;
  ThrowFieldInvalid(
      field, field + " is " + std::to_string(step) + ", but the run has " + Plural(steps, "step"));
}

void CheckDeletable(const JobRecord& record) {
  if (IsEnded(record.status.state)) return;
  const std::string state(JobStateName(record.status.state));
  throw ApiError(ErrorCode::kFailedPrecondition, "WRONG_STATE",
                 JobName(record.id) + " is " + state +
                     ": only a job that has ended can be deleted; cancel it first",
                 {{"state", state}});
}

// What is kept of a trial's job is its study's: it looks at the job's first end, and removes its
// output when it has the result.
void CheckRetryIsItsUsers(const Tables& tables, const JobRecord& record) {
  const std::optional<TrialOfStudy> trial = tables.studies.OfJob(record.id);
  if (!trial) return;
  throw ApiError(ErrorCode::kFailedPrecondition, "WRONG_STATE",
                 JobName(record.id) + " is a trial of " + StudyName(trial->study) +
                     ", which would not take its result: 'syncbn study retry " +
                     std::to_string(trial->study) + "' runs the failed trials of the study anew",
                 {{"state", std::string(JobStateName(record.status.state))}});
}

void CheckStudyIsDoneWith(const Tables& tables, const JobRecord& record) {
  const std::optional<TrialOfStudy> trial = tables.studies.OfJob(record.id);
  if (!trial || IsEnded(trial->state)) return;
  throw ApiError(ErrorCode::kFailedPrecondition, "WRONG_STATE",
                 JobName(record.id) + " is a trial of " + StudyName(trial->study) +
                     ", which has not ended and may have to look at it: wait for the study to end, "
                     "or cancel it first",
                 {{"state", std::string(JobStateName(record.status.state))}});
}

}  // namespace

v1::Job ParseJob(const std::string& bytes) {
  v1::Job job;
  SYNCBN_CHECK(job.ParseFromString(bytes)) << "a kept answer is damaged";
  return job;
}

v1::PendingReason ToProto(const PendingReason& reason, Moment now) {
  v1::PendingReason proto;
  proto.set_code(static_cast<v1::PendingReason::Code>(reason.code));
  proto.set_message(reason.message);
  proto.set_position(reason.position);
  proto.set_needed_slots(reason.needed_slots);
  proto.set_free_slots(reason.free_slots);
  constexpr int kMostBlocking = 20;
  for (const int64_t job : reason.blocking_jobs) {
    if (proto.blocking_jobs_size() < kMostBlocking) proto.add_blocking_jobs(JobName(job));
  }
  if (reason.latest_start)
    *proto.mutable_latest_start() = ToProto(now.WallAt(*reason.latest_start));
  return proto;
}

SlotRequest RequestOf(int64_t job, const v1::Resources& resources) {
  return {.job = job,
          .processes = std::max(1, resources.processes()),
          .threads = std::max(1, resources.threads_per_process()),
          .memory_mib = resources.memory_mib_per_process(),
          .tags = {resources.host_tags().begin(), resources.host_tags().end()},
          .hosts = {resources.hosts().begin(), resources.hosts().end()},
          .excluded_hosts = {resources.excluded_hosts().begin(), resources.excluded_hosts().end()},
          .max_per_host = resources.max_processes_per_host()};
}

void Controller::CheckFits(int64_t job, const v1::Resources& resources) const {
  if (!options_.places) return;
  if (const auto why = WhyNeverFits(RequestOf(job, resources), options_.hosts)) {
    throw ApiError(ErrorCode::kInvalidArgument, "NEVER_FITS",
                   "the job can never run here: " + *why);
  }
}

v1::Job Controller::Act(int64_t job, const VerbRequest& verb, const RequestInfo& info) {
  const Moment now = Now();
  const Event event{.kind = verb.verb};
  if (verb.resources) CheckFits(job, *verb.resources);
  if (info.validate_only) {
    JobRecord record = options_.store->Read([&](Tables& tables) {
      JobRecord one = tables.jobs.Get(job);
      CheckEtag(one, verb.etag);
      if (verb.verb == EventKind::kRetry) CheckRetryIsItsUsers(tables, one);
      return one;
    });
    const Outcome outcome = Apply(record.status, event, PolicyOf(record, options_.job_policy), now);
    CheckApplied(record, outcome);
    record.status = outcome.status;
    if (verb.resources) *record.spec.mutable_resources() = *verb.resources;
    return ToProto(record, now);
  }
  std::optional<Applied> applied;
  const std::string answer = options_.store->Mutate(
      info.key, now.wall,
      [&](Tables& tables) {
        const JobRecord before = tables.jobs.Get(job);
        CheckEtag(before, verb.etag);
        if (verb.verb == EventKind::kRetry) {
          CheckRetryIsItsUsers(tables, before);
          CheckQuota(tables, before.spec.submitter(), 0);
        }
        applied = ApplyIn(tables, job, event,
                          {info.key.actor, std::string(EventName(verb.verb)), verb.reason}, {});
        CheckApplied(before, applied->outcome);
        if (verb.resources) {
          v1::Job spec = applied->record.spec;
          *spec.mutable_resources() = *verb.resources;
          tables.jobs.UpdateSpec(job, spec);
          applied->record = tables.jobs.Get(job);
        }
        return ToProto(applied->record, now).SerializeAsString();
      },
      Store::Use::kMakesRoom);
  if (applied) OnCommit(*applied);
  return ParseJob(answer);
}

void Controller::Delete(int64_t job, const std::string& etag, const RequestInfo& info) {
  const WallTime now = options_.clock->Now();
  const auto look = [&](Tables& tables) {
    const JobRecord record = tables.jobs.Get(job);
    CheckEtag(record, etag);
    CheckDeletable(record);
    CheckStudyIsDoneWith(tables, record);
  };
  if (info.validate_only) {
    return options_.store->Read(look);
  }
  bool deletable = false;
  const auto forget = [&](Tables& tables) {
    look(tables);
    deletable = true;
    tables.jobs.Delete(job, {info.key.actor, "DELETE", ""}, now);
    return std::string();
  };
  // Numbers of jobs are never given twice, so this is right for a repeated request, too.
  const auto remove_files = [&] {
    std::error_code ignored;
    std::filesystem::remove_all(options_.store->folder() / JobName(job), ignored);
  };
  try {
    options_.store->Mutate(info.key, now, forget, Store::Use::kMakesRoom);
  } catch (const ApiError& error) {
    // Its own files make the room in which it can be forgotten.
    if (error.reason() != "STORE_FULL" || !deletable) throw;
    remove_files();
    options_.store->Mutate(info.key, now, forget, Store::Use::kMakesRoom);
  }
  remove_files();
}

v1::Job Controller::View(const JobRecord& record) const {
  std::lock_guard lock(mutex_);
  const Moment now = Now();
  JobRecord newest = record;
  OverlaySignsOfLife(newest);
  v1::Job job = ToProto(newest, now);
  const auto open = open_.find(record.id);
  if (open != open_.end()) {
    *job.mutable_progress() = open->second.record.progress;
    const bool starting = record.status.state == JobState::kStarting;
    const std::string& why =
        starting && open->second.waiting.empty() ? open->second.unheard : open->second.waiting;
    if (!why.empty()) job.mutable_pending()->set_message(why);
  }
  if (record.status.state != JobState::kQueued) return job;
  for (const Schedule::Wait& wait : waits_) {
    if (wait.job == record.id) *job.mutable_pending() = ToProto(wait.reason, now);
  }
  return job;
}

std::vector<Schedule::Wait> Controller::Queue() const {
  std::lock_guard lock(mutex_);
  return waits_;
}

Controller::HostView Controller::ViewOfHost(HostCapacity host) const {
  HostView view;
  const auto known = health_.find(host.name);
  view.health = known == health_.end() ? HostHealth{.name = host.name} : known->second;
  for (const auto& [id, open] : open_) {
    const SlotRequest request = RequestOf(id, open.record.spec.resources());
    for (const Share& share : open.placement) {
      if (share.host != host.name) continue;
      view.used_slots += share.processes * request.threads;
      view.used_memory_mib += share.processes * request.memory_mib;
      view.uses.push_back({id, share.processes, share.processes * request.threads});
    }
  }
  view.capacity = std::move(host);
  return view;
}

std::vector<Controller::HostView> Controller::Hosts() const {
  std::lock_guard lock(mutex_);
  std::vector<HostView> views;
  for (HostCapacity& host : HostsNow(Now())) {
    views.push_back(ViewOfHost(std::move(host)));
  }
  return views;
}

Controller::HostView Controller::SetDrained(const std::string& host, bool drained,
                                            const std::string& reason, const RequestInfo& info) {
  const auto known = std::find_if(options_.hosts.begin(), options_.hosts.end(),
                                  [&](const HostCapacity& one) { return one.name == host; });
  if (known == options_.hosts.end())
    throw ApiError(ErrorCode::kNotFound, "HOST_NOT_FOUND", "there is no host '" + host + "'");
  const Moment now = Now();
  std::optional<HostHealth> changed;
  if (!info.validate_only) {
    options_.store->Mutate(info.key, now.wall, [&](Tables& tables) {
      // Restoring forgets everything, also an exclusion.
      HostHealth next{.name = host};
      if (drained) {
        next = tables.hosts.Get(host);
        next.drained = true;
        next.reason = reason;
      }
      tables.hosts.Put(next);
      changed = next;
      return std::string();
    });
  }
  std::lock_guard lock(mutex_);
  if (changed) {
    health_[host] = *changed;
    schedule_due_ = true;
    wake_.notify_one();
  }
  for (HostCapacity& one : HostsNow(now)) {
    if (one.name == host) return ViewOfHost(std::move(one));
  }
  return ViewOfHost(*known);
}

bool Controller::IsTokenOf(AttemptId id, const std::string& token) const {
  const std::string hash =
      options_.store->Read([&](Tables& tables) { return tables.attempts.TokenHash(id); });
  return SecretsEqual(hash, HashSecret(token));
}

Controller::OpenJob& Controller::LiveAttempt(AttemptId id) {
  const auto found = open_.find(id.job);
  if (found == open_.end() || !found->second.record.status.attempt_live ||
      found->second.record.status.attempt != id.attempt) {
    throw ApiError(ErrorCode::kAborted, "ATTEMPT_SUPERSEDED",
                   AttemptName(id.job, id.attempt) + " has been given up: its workers must leave");
  }
  return found->second;
}

int64_t Controller::Register(AttemptId id, int rank, const Registration& registration) {
  {
    std::lock_guard lock(mutex_);
    OpenJob& open = LiveAttempt(id);
    const int asked = RequestOf(id.job, open.record.spec.resources()).processes;
    if (registration.processes != asked) {
      ThrowFieldInvalid("processes", AttemptName(id.job, id.attempt) + " was started with " +
                                         ProcessesText(asked) + ", but rank " +
                                         std::to_string(rank) + " sees " +
                                         std::to_string(registration.processes));
    }
    open.monitor->Register(rank, registration.host, options_.clock->Monotonic());
    if (registration.total_steps > 0) {
      open.record.progress.set_total_steps(registration.total_steps);
      open.progress_changed = true;
    }
  }
  const int64_t acknowledged = options_.store->Write([&](Tables& tables) {
    tables.attempts.PutRank(id, rank, registration.host, registration.pid);
    return tables.metrics.Acknowledged({id.job, id.attempt, rank});
  });
  bool complete = false;
  {
    std::lock_guard lock(mutex_);
    OpenJob& open = LiveAttempt(id);
    complete = open.record.status.state == JobState::kStarting && open.monitor->AllRegistered();
  }
  // Not before the last rank is in the store, so that nothing is missing after a restart.
  if (complete) {
    ApplyEvent(id.job, {.kind = EventKind::kRegistered, .attempt = id.attempt},
               {.actor = "workers"}, [&](Tables& tables, Applied&) {
                 v1::Attempt attempt = tables.attempts.Get(id);
                 *attempt.mutable_running_time() = ToProto(options_.clock->Now());
                 tables.attempts.Update(id, attempt);
               });
  }
  return acknowledged;
}

Controller::HeartbeatAnswer Controller::Heartbeat(AttemptId id, int rank,
                                                  const WorkerReport& report) {
  std::lock_guard lock(mutex_);
  OpenJob& open = LiveAttempt(id);
  // It would stay: of checkpoints the newest is kept.
  const int64_t steps = open.record.progress.total_steps();
  CheckStep("step", report.heartbeat.step, steps);
  if (report.checkpoint_step) CheckStep("checkpoint_step", *report.checkpoint_step, steps);
  open.monitor->Heartbeat(rank, report.heartbeat, options_.clock->Monotonic());
  JobStatus& status = open.record.status;
  if (status.state == JobState::kRunning) {
    // A sign of life moves the deadline only here: it need not be stored.
    status.deadline = Now().durable + options_.job_policy.silence_limit;
  }
  v1::Progress& progress = open.record.progress;
  if (const auto slowest = open.monitor->Slowest()) {
    progress.set_step(slowest->step);
    progress.set_epoch(slowest->epoch);
    progress.set_phase(slowest->phase);
  }
  if (report.checkpoint_step) {
    progress.set_checkpoint_step(std::max(progress.checkpoint_step(), *report.checkpoint_step));
  }
  open.Lose(rank, report.lost_points);
  *progress.mutable_report_time() = ToProto(options_.clock->Now());
  open.progress_changed = true;
  return {DesiredOf(status), !open.monitor->IsRegistered(rank)};
}

int64_t Controller::ReportMetrics(AttemptId id, int rank, const v1::MetricBatch& batch) {
  {
    std::lock_guard lock(mutex_);
    LiveAttempt(id).monitor->CheckRank(rank);
  }
  return options_.store->Write([&](Tables& tables) {
    return tables.metrics.Insert({id.job, id.attempt, rank}, batch, options_.clock->Now());
  });
}

void Controller::OpenJob::AdvanceTo(const v1::RankExit& exit) {
  v1::Progress& progress = record.progress;
  if (exit.total_steps() > 0 && exit.total_steps() != progress.total_steps()) {
    progress.set_total_steps(exit.total_steps());
    progress_changed = true;
  }
  const bool step_fits = IsStepOf(exit.step(), progress.total_steps());
  if (step_fits && exit.outcome() != v1::ATTEMPT_OUTCOME_FAILED && exit.step() > progress.step()) {
    progress.set_step(exit.step());
    progress.set_epoch(std::max(progress.epoch(), exit.epoch()));
    progress_changed = true;
  }
  if (exit.has_checkpoint_step() && IsStepOf(exit.checkpoint_step(), progress.total_steps()) &&
      exit.checkpoint_step() > progress.checkpoint_step()) {
    progress.set_checkpoint_step(exit.checkpoint_step());
    progress_changed = true;
  }
}

void Controller::OpenJob::Lose(int rank, int64_t points) {
  int64_t& known = lost_points[rank];
  known = std::max(known, points);
  int64_t all = 0;
  for (const auto& [each, lost] : lost_points) all += lost;
  record.progress.set_lost_points(std::max(record.progress.lost_points(), all));
}

void Controller::OpenJob::LostInStore(int64_t points) {
  if (points <= record.progress.lost_points()) return;
  record.progress.set_lost_points(points);
  progress_changed = true;
}

void Controller::ReportExit(AttemptId id, int rank, const v1::RankExit& exit) {
  {
    std::lock_guard lock(mutex_);
    OpenJob& open = LiveAttempt(id);
    open.monitor->Exited(rank, options_.clock->Monotonic());
    open.AdvanceTo(exit);
  }
  const int64_t lost = options_.store->Write([&](Tables& tables) {
    PutRankExit(tables, id, rank, exit);
    return tables.metrics.LostPoints(id.job);
  });
  std::lock_guard lock(mutex_);
  const auto found = open_.find(id.job);
  if (found != open_.end()) found->second.LostInStore(lost);
}

AttemptRef Controller::RefOf(AttemptId id) const {
  return {.id = id,
          .folder = FolderOf(id),
          .marker = options_.store->id() + "/" + AttemptName(id.job, id.attempt)};
}

std::filesystem::path Controller::FolderOf(AttemptId id) const {
  return options_.store->folder() / AttemptName(id.job, id.attempt);
}

}  // namespace syncbn::coordinator
