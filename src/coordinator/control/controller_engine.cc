// What the controller does by itself: timers, silence, the queue, and the launcher's calls.
#include <algorithm>
#include <latch>

#include "base/check.h"
#include "base/text.h"
#include "coordinator/api_error.h"
#include "coordinator/control/controller.h"
#include "coordinator/control/open_job.h"
#include "coordinator/control/secret.h"
#include "coordinator/launch/attempt_folder.h"

namespace syncbn::coordinator {
namespace {

// Tasks that are of no job.
constexpr int64_t kHousekeeping = 0;
constexpr int64_t kTidying = -2;
// Only after another start of the machine is the mark's own age of any weight.
constexpr std::chrono::minutes kMarkEvery{1};

Placement PlacementOf(const v1::Attempt& attempt) {
  Placement placement;
  for (const v1::HostShare& share : attempt.hosts())
    placement.push_back({share.host(), share.processes()});
  return placement;
}

}  // namespace

void AddHosts(google::protobuf::RepeatedPtrField<std::string>* list,
              const std::vector<std::string>& hosts) {
  for (const std::string& host : hosts) {
    if (std::find(list->begin(), list->end(), host) == list->end()) *list->Add() = host;
  }
}

Controller::Options Controller::Checked(Options options) {
  SYNCBN_CHECK(options.store != nullptr && options.launcher != nullptr);
  return options;
}

Controller::Controller(Options options)
    : options_(Checked(std::move(options))),
      time_(*options_.clock,
            options_.store->Read([](Tables& tables) { return tables.clock.Get(); })),
      calendar_start_(options_.clock->Now()),
      start_(options_.clock->Monotonic()),
      file_system_(options_.file_system) {
  // A job that goes over its time limit is ended for certain only after all of this.
  options_.scheduler.ending_margin =
      std::max(options_.scheduler.ending_margin,
               options_.job_policy.stop_limit + options_.job_policy.force_limit);
  pool_ = std::make_unique<KeyedPool>(options_.launcher_threads);
}

Controller::~Controller() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
  pool_.reset();
}

void Controller::Guarded(const std::string& doing, const std::function<void()>& body) const {
  try {
    body();
    warnings_.Reset(doing);
  } catch (const std::exception& error) {
    // A full disk, a file system that does not answer: what is to be done is still to be done, and
    // is tried again at the next round.
    if (const auto line = warnings_.Warn(doing, error.what(), options_.clock->Monotonic()))
      options_.log(*line);
  }
}

Controller::Applied Controller::ApplyIn(Tables& tables, int64_t job, const Event& event,
                                        const TransitionCause& cause, const Extra& extra) {
  const Moment now = Now();
  Applied applied{.record = tables.jobs.Get(job)};
  bool moved = false;
  {
    std::lock_guard lock(mutex_);
    moved = OverlaySignsOfLife(applied.record);
  }
  applied.outcome =
      Apply(applied.record.status, event, PolicyOf(applied.record, options_.job_policy), now);
  // A sign of life that changes nothing else is no entry of the history.
  if (!applied.outcome.durable) applied.outcome.verdict = Outcome::Verdict::kIgnored;
  if (applied.outcome.verdict != Outcome::Verdict::kApplied) return applied;
  TransitionCause full = cause;
  full.event = EventName(event.kind);
  const std::string& message = applied.outcome.message;
  if (!message.empty() && full.reason != message)
    full.reason += (full.reason.empty() ? "" : ": ") + message;
  tables.jobs.Update(job, applied.outcome.status, full, now.wall);
  // With the last change of all nobody comes back to store it.
  if (moved) tables.jobs.UpdateProgress(job, applied.record.progress);
  for (const Effect& effect : applied.outcome.effects) {
    if (effect.kind != Effect::Kind::kAbandon) continue;
    v1::Job spec = applied.record.spec;
    v1::Attempt attempt = tables.attempts.Get({job, effect.attempt});
    for (const Share& share : PlacementOf(attempt)) {
      AddHosts(spec.mutable_possibly_held_hosts(), {share.host});
      AddHosts(attempt.mutable_possibly_held_hosts(), {share.host});
    }
    tables.jobs.UpdateSpec(job, spec);
    tables.attempts.Update({job, effect.attempt}, attempt);
  }
  if (extra) extra(tables, applied);
  applied.record = tables.jobs.Get(job);
  return applied;
}

bool Controller::OverlaySignsOfLife(JobRecord& record) const {
  const auto found = open_.find(record.id);
  if (found == open_.end()) return false;
  const bool moved = found->second.progress_changed;
  if (moved) record.progress = found->second.record.progress;
  const JobStatus& known = found->second.record.status;
  if (known.state != record.status.state || known.attempt != record.status.attempt) return moved;
  if (known.deadline && record.status.deadline) {
    record.status.deadline = std::max(*known.deadline, *record.status.deadline);
  }
  // The time in a batch system's queue is not that of the attempt.
  if (known.attempt_start && record.status.attempt_start)
    record.status.attempt_start = known.attempt_start;
  return moved;
}

Outcome Controller::ApplyEvent(int64_t job, const Event& event, TransitionCause cause,
                               const Extra& extra) {
  // Also on a full disk: a job that does not come to its end cannot be deleted.
  const Applied applied = options_.store->Write(
      [&](Tables& tables) { return ApplyIn(tables, job, event, cause, extra); },
      Store::Use::kMakesRoom);
  if (applied.outcome.verdict == Outcome::Verdict::kApplied) OnCommit(applied);
  return applied.outcome;
}

void Controller::OnCommit(const Applied& applied) {
  const JobRecord& record = applied.record;
  std::lock_guard lock(mutex_);
  if (revisions_.Advance(record.id, record.revision, IsEnded(record.status.state))) {
    Remember(record);
    schedule_due_ = true;
    wake_.notify_one();
  }
  for (const Effect& effect : applied.outcome.effects)
    PerformEffect(record, effect, applied.outcome.message);
}

void Controller::Remember(const JobRecord& record) {
  if (IsEnded(record.status.state)) {
    open_.erase(record.id);
    return;
  }
  OpenJob& open = open_[record.id];
  const bool known = open.record.id != 0;
  const bool other_attempt = open.record.status.attempt != record.status.attempt;
  // The store's progress may be a little older.
  const v1::Progress progress = known ? open.record.progress : record.progress;
  open.record = record;
  open.record.progress = progress;
  if (!record.status.attempt_live || other_attempt) {
    open.ForgetAttempt();
  }
  if (!record.status.attempt_live) {
    open.placement.clear();
  } else if (!open.monitor) {
    open.placed = *record.status.attempt_start;
    open.monitor.emplace(RequestOf(record.id, record.spec.resources()).processes,
                         MonitorPolicyOf(record.spec, options_.monitor),
                         options_.clock->Monotonic());
  }
}

void Controller::PerformEffect(const JobRecord& record, const Effect& effect,
                               const std::string& reason) {
  const AttemptId id{record.id, effect.attempt};
  const AttemptRef attempt = RefOf(id);
  const std::string name = AttemptName(id.job, id.attempt);
  switch (effect.kind) {
    case Effect::Kind::kLaunch:
      pool_->Post(id.job, [this, id] { Launch(id); });
      break;
    case Effect::Kind::kStop: {
      const StopLevel level = effect.level;
      const std::string why =
          reason.empty() ? "the job is to " + std::string(DesiredStateName(record.status.desired))
                         : reason;
      pool_->Post(id.job, [this, attempt, level, why, name] {
        Guarded("stopping " + name, [&] { options_.launcher->Stop(attempt, level, why); });
      });
      break;
    }
    case Effect::Kind::kForceStop:
      pool_->Post(id.job, [this, attempt, id, name] {
        Guarded("ending " + name + " by force",
                [&] { HandleObservation(id, options_.launcher->Force(attempt)); });
      });
      break;
    case Effect::Kind::kAbandon:
      options_.log(name + " was given up; its hosts may hold processes");
      strays_[{id.job, id.attempt}] = {.known = true};
      break;
  }
}

void Controller::Start() {
  std::vector<JobRecord> jobs;
  options_.store->Read([&](Tables& tables) {
    jobs = tables.jobs.Open();
    std::lock_guard lock(mutex_);
    for (HostHealth& health : tables.hosts.All()) health_[health.name] = std::move(health);
    for (const JobRecord& record : jobs) {
      OpenJob& open = open_[record.id];
      open.record = record;
      revisions_.Advance(record.id, record.revision, false);
      if (!record.status.attempt_live) continue;
      const v1::Attempt attempt = tables.attempts.Get({record.id, record.status.attempt});
      open.placement = PlacementOf(attempt);
      open.placed = *record.status.attempt_start;
      open.monitor.emplace(RequestOf(record.id, record.spec.resources()).processes,
                           MonitorPolicyOf(record.spec, options_.monitor),
                           options_.clock->Monotonic());
      for (const v1::RankRecord& rank : attempt.ranks()) {
        if (rank.pid() > 0)
          open.monitor->Register(rank.rank(), rank.host(), options_.clock->Monotonic());
        if (rank.outcome() != v1::ATTEMPT_OUTCOME_UNSPECIFIED)
          open.monitor->Exited(rank.rank(), options_.clock->Monotonic());
      }
    }
  });
  std::vector<AttemptId> live;
  for (const JobRecord& record : jobs) {
    if (record.status.attempt_live) live.push_back({record.id, record.status.attempt});
  }
  std::latch looked_at(static_cast<std::ptrdiff_t>(live.size()));
  for (const AttemptId id : live) {
    pool_->Post(id.job, [this, id, &looked_at] {
      Guarded("looking for " + AttemptName(id.job, id.attempt), [&] { Adopt(id); });
      looked_at.count_down();
    });
  }
  looked_at.wait();
  FindStrays();
  Guarded("storing the time", [&] { StoreClock(); });
  const MonotonicTime now = options_.clock->Monotonic();
  last_tick_ = last_schedule_ = last_observation_ = last_progress_ = last_retention_ = last_mark_ =
      now;
  thread_ = std::thread([this] { Loop(); });
}

void Controller::Adopt(AttemptId id) {
  {
    // Also when the look now fails: the next ones may not.
    std::lock_guard lock(mutex_);
    open_.at(id.job).started = true;
  }
  const Observation seen = Observe(RefOf(id));
  HandleObservation(id, seen);
  if (seen.kind == Observation::Kind::kEnded) return;
  ApplyEvent(id.job, {.kind = EventKind::kAdopted, .attempt = id.attempt},
             {.actor = "startup", .reason = "found running when the coordinator was started"});
  bool complete = false;
  {
    std::lock_guard lock(mutex_);
    const OpenJob& open = open_.at(id.job);
    complete = open.record.status.state == JobState::kStarting && open.monitor->AllRegistered();
  }
  if (complete)
    ApplyEvent(id.job, {.kind = EventKind::kRegistered, .attempt = id.attempt},
               {.actor = "startup"});
}

void Controller::Loop() {
  std::unique_lock lock(mutex_);
  while (!stop_) {
    lock.unlock();
    Guarded("watching", [&] { Tick(); });
    lock.lock();
    if (stop_) return;
    // Woken early by changes, so that a job that can start does not wait for the next tick.
    if (!schedule_due_) wake_.wait_for(lock, options_.tick);
  }
}

void Controller::Tick() {
  const Moment now = Now();
  const MonotonicTime monotonic = options_.clock->Monotonic();
  // What has ended meanwhile is looked at before anything is ended for being late.
  const bool paused = ExcuseOwnPause(monotonic);
  if (!paused) Guarded("timers", [&] { ApplyDueEvents(now, monotonic); });
  bool schedule = false;
  {
    std::lock_guard lock(mutex_);
    // Now and then in any case: exclusions end by themselves.
    schedule = schedule_due_ || monotonic - last_schedule_ >= std::chrono::seconds(5);
    schedule_due_ = false;
  }
  if (schedule) {
    last_schedule_ = monotonic;
    Guarded("scheduling", [&] { RunSchedule(now); });
  }
  if (paused || monotonic - last_observation_ >= options_.observe_every) {
    last_observation_ = monotonic;
    Guarded("the data folder", [&] { options_.store->CheckInPlace(); });
    ObserveAll();
    EndStrays(monotonic);
    if (pool_->IsIdle(kTidying))
      pool_->Post(kTidying, [this] { Guarded("tidying up", [&] { options_.launcher->Tidy(); }); });
  }
  if (monotonic - last_progress_ >= options_.store_progress_every) {
    last_progress_ = monotonic;
    Guarded("storing progress", [&] { StoreProgress(); });
  }
  if (monotonic - last_mark_ >= kMarkEvery) {
    last_mark_ = monotonic;
    Guarded("storing the time", [&] { StoreClock(); });
  }
  if (monotonic - last_retention_ >= options_.retention_every && pool_->IsIdle(kHousekeeping)) {
    last_retention_ = monotonic;
    pool_->Post(kHousekeeping, [this] { Guarded("retention", [&] { RunRetention(); }); });
  }
}

void Controller::StoreProgress() {
  std::vector<std::pair<int64_t, v1::Progress>> changed;
  {
    std::lock_guard lock(mutex_);
    for (auto& [id, open] : open_) {
      if (open.progress_changed) changed.emplace_back(id, open.record.progress);
      open.progress_changed = false;
    }
  }
  if (changed.empty()) return;
  options_.store->Write([&](Tables& tables) {
    for (const auto& [id, progress] : changed) tables.jobs.UpdateProgress(id, progress);
  });
}

void Controller::StoreClock() {
  // Nothing is added, and what ends jobs looks at it.
  options_.store->Write([&](Tables& tables) { tables.clock.Put(time_.MarkNow()); },
                        Store::Use::kMakesRoom);
}

void Controller::RunRetention() {
  // A calendar that was set ahead does not make anything old: it goes on from that of the start.
  const WallTime calendar = calendar_start_ + std::chrono::duration_cast<std::chrono::microseconds>(
                                                  options_.clock->Monotonic() - start_);
  const WallTime now = std::min(options_.clock->Now(), calendar);
  RetentionStep step{.more = true};
  while (step.more) {
    {
      std::lock_guard lock(mutex_);
      if (stop_) return;
    }
    step = Forget(*options_.store, options_.retention, now);
    for (const int64_t job : step.deleted_jobs) {
      std::error_code ignored;
      std::filesystem::remove_all(options_.store->folder() / JobName(job), ignored);
    }
    for (const int64_t study : step.deleted_studies) {
      const std::string what = "the output folder of " + StudyName(study);
      Guarded("removing " + what, [&] {
        file_system_.Run(what, [folder = StudyOutput(options_.output_root, study)] {
          std::error_code ignored;
          std::filesystem::remove_all(folder, ignored);
        });
      });
    }
  }
}

}  // namespace syncbn::coordinator
