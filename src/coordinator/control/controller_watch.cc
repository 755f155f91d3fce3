// How the controller watches attempts under way: their timers, their silence, and its own absence.
#include <algorithm>

#include "base/ranges_text.h"
#include "base/text.h"
#include "coordinator/control/controller.h"
#include "coordinator/control/open_job.h"

namespace syncbn::coordinator {
namespace {

// Looks at silent ranks are made one after another, as one key: where hosts do not answer they take
// long, and must not keep the launcher's threads from what can be done.
constexpr int64_t kLooks = -1;

// "ranks 2 and 3 on node2". Ranks are placed in the order of the shares.
Failure MissingRanks(const std::vector<int>& ranks, const Placement& placement) {
  Failure failure{.ranks = ranks};
  if (ranks.empty()) return failure;
  std::vector<std::string> hosts;
  int first = 0;
  for (const Share& share : placement) {
    const int end = first + share.processes;
    const bool missing = std::any_of(ranks.begin(), ranks.end(),
                                     [&](int rank) { return first <= rank && rank < end; });
    if (missing) hosts.push_back(share.host);
    first = end;
  }
  failure.message = (ranks.size() == 1 ? "rank " : "ranks ") + RangesText(ranks) +
                    (hosts.empty() ? "" : " on " + Join(hosts, ", "));
  if (hosts.size() == 1) failure.host = hosts[0];
  return failure;
}

}  // namespace

void Controller::OpenJob::ForgetAttempt() {
  monitor.reset();
  started = false;
  start_failure.reset();
  waiting.clear();
  in_queue = false;
  record_awaited = false;
  unheard.clear();
  unseen.clear();
  written = 0;
  last_written.reset();
  looking = false;
  last_look = {};
  lost_points.clear();
}

void Controller::OpenJob::BeganAt(Moment now, WallTime begin) {
  // By the clock of another host, but never before it was placed. Where nobody could be asked for a
  // while it may have begun earlier than was thought.
  const DurableTime start = now.durable - (now.wall - begin);
  record.status.attempt_start = std::clamp(start, std::min(placed, now.durable), now.durable);
}

void Controller::OpenJob::WaitsInQueue(Moment now, std::optional<WallTime> begin,
                                       JobPolicy::Time start_limit) {
  BeganAt(now, begin.value_or(now.wall));
  record.status.deadline = now.durable + start_limit;
}

bool Controller::ExcuseOwnPause(MonotonicTime now) {
  const auto gap = now - last_tick_;
  last_tick_ = now;
  if (gap <= options_.longest_tick) return false;
  const auto pause = std::chrono::duration_cast<std::chrono::microseconds>(gap);
  options_.log(
      "this process did not run for " +
      std::to_string(std::chrono::duration_cast<std::chrono::seconds>(gap).count()) +
      " s (it was stopped, or the machine was too busy): what it did not hear in that time "
      "is held against nobody");
  // Not all of it, so that timers go on where it is always so.
  const auto excused = pause - options_.longest_tick;
  std::lock_guard lock(mutex_);
  for (auto& [id, open] : open_) {
    if (!open.record.status.attempt_live) continue;
    *open.record.status.deadline += excused;
    open.monitor->Excuse(excused, now);
    if (open.last_written) *open.last_written += excused;
  }
  return true;
}

bool Controller::GetsMoreTimeToStart(OpenJob& open, DurableTime now, MonotonicTime monotonic) {
  const JobPolicy& policy = options_.job_policy;
  JobStatus& status = open.record.status;
  // Training is never ended because it is not heard, but what is never heard does end.
  const bool says_something =
      open.last_written && monotonic - *open.last_written < policy.start_limit / 2;
  if (!says_something || now - *status.attempt_start >= policy.silence_limit) return false;
  status.deadline = now + policy.start_limit;
  if (!open.unheard.empty()) return true;
  open.unheard =
      MissingRanks(open.monitor->Missing(), open.placement).message +
      " cannot be heard, but what they leave on disk grows: they cannot reach the coordinator at " +
      options_.worker_address() +
      " (its --advertise, --worker-ca); what they report is taken in at "
      "their end";
  options_.log(AttemptName(open.record.id, status.attempt) + ": " + open.unheard);
  return true;
}

bool Controller::StaysPaused(int64_t job, DurableTime now) {
  std::optional<bool> held;
  Guarded(JobName(job) + ": looking for its study", [&] {
    held = options_.store->Read([&](Tables& tables) { return tables.studies.HoldsPaused(job); });
  });
  if (!held) return true;  // not known: at the next tick
  if (!*held) return false;
  std::lock_guard lock(mutex_);
  const auto open = open_.find(job);
  if (open == open_.end() || open->second.record.status.state != JobState::kPaused) return true;
  open->second.record.status.deadline = now + options_.job_policy.pause_limit;
  return true;
}

void Controller::ApplyDueEvents(Moment now, MonotonicTime monotonic) {
  struct Due {
    int64_t job;
    Event event;
    std::string actor;
    bool paused = false;
  };
  std::vector<Due> due;
  std::vector<AttemptId> looks;
  {
    std::lock_guard lock(mutex_);
    for (auto& [id, open] : open_) {
      const JobStatus& status = open.record.status;
      JobPolicy policy = PolicyOf(open.record, options_.job_policy);
      // It ended within its limit, or it would have been ended for that: the record says how.
      if (open.record_awaited) policy.time_limit.reset();
      if (const auto timer = DueTimer(status, policy, now.durable)) {
        Event event{.kind = *timer};
        if (status.state == JobState::kStarting && *timer == EventKind::kStateTimer) {
          if (GetsMoreTimeToStart(open, now.durable, monotonic)) continue;
          event.failure = MissingRanks(open.monitor->Missing(), open.placement);
          event.address = options_.worker_address();
          // What the launcher said of it tells more than any guess.
          event.launcher_words = open.start_failure ? open.start_failure->message : open.waiting;
        }
        due.push_back({id, std::move(event), "timer", status.state == JobState::kPaused});
        continue;
      }
      if (status.state != JobState::kRunning || open.record_awaited) continue;
      const RankMonitor::Assessment assessment = open.monitor->Assess(monotonic);
      if (assessment.nobody_heard && !open.looking &&
          monotonic - open.last_look >= open.monitor->policy().stall_after / 20) {
        open.looking = true;
        open.last_look = monotonic;
        looks.push_back({id, status.attempt});
      }
      if (assessment.stall) {
        Event event{.kind = EventKind::kStalled, .attempt = status.attempt};
        event.failure = *assessment.stall;
        event.failure->attempt = status.attempt;
        due.push_back({id, std::move(event), "monitor"});
      } else if (assessment.liveness != status.liveness) {
        const bool better = assessment.liveness == Liveness::kLive;
        Event event{.kind = better ? EventKind::kHeartbeat : EventKind::kSilent,
                    .attempt = status.attempt};
        event.liveness = assessment.liveness;
        due.push_back({id, std::move(event), "monitor"});
      }
    }
  }
  for (const AttemptId id : looks) {
    pool_->Post(kLooks, [this, id] { LookAtRanks(id); });
  }
  for (const Due& one : due) {
    if (one.paused && StaysPaused(one.job, now.durable)) continue;
    Guarded(JobName(one.job) + ": " + std::string(EventName(one.event.kind)),
            [&] { ApplyEvent(one.job, one.event, {.actor = one.actor}); });
  }
}

void Controller::LookAtRanks(AttemptId id) {
  std::optional<RankActivity> activity;
  try {
    activity = options_.launcher->LookAtRanks(RefOf(id));
  } catch (const std::exception& error) {
    options_.log("looking at the ranks of " + AttemptName(id.job, id.attempt) + ": " +
                 error.what());
  }
  std::lock_guard lock(mutex_);
  const auto found = open_.find(id.job);
  if (found == open_.end() || found->second.record.status.attempt != id.attempt) return;
  found->second.looking = false;
  if (found->second.monitor) found->second.monitor->Saw(activity, options_.clock->Monotonic());
}

void Controller::ObserveAll() {
  std::vector<AttemptId> attempts;
  {
    std::lock_guard lock(mutex_);
    for (const auto& [id, open] : open_) {
      if (open.started && open.record.status.attempt_live)
        attempts.push_back({id, open.record.status.attempt});
    }
  }
  for (const AttemptId id : attempts) {
    if (!pool_->IsIdle(id.job)) continue;
    pool_->Post(id.job, [this, id] {
      Guarded("observing " + AttemptName(id.job, id.attempt),
              [&] { HandleObservation(id, Observe(RefOf(id))); });
    });
  }
}

}  // namespace syncbn::coordinator
