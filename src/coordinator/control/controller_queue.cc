// The controller's queue: what the scheduler is asked, and what follows from its answer.
#include <algorithm>

#include "coordinator/control/controller.h"
#include "coordinator/control/open_job.h"
#include "coordinator/control/secret.h"

namespace syncbn::coordinator {

std::vector<HostCapacity> Controller::HostsNow(Moment now) const {
  std::vector<HostCapacity> hosts = options_.hosts;
  for (HostCapacity& host : hosts) {
    const auto found = health_.find(host.name);
    if (found != health_.end()) host.unusable = WhyUnusable(found->second, now);
  }
  return hosts;
}

std::optional<DurableTime> Controller::EndsBy(const JobRecord& record) const {
  const JobStatus& status = record.status;
  const JobPolicy policy = PolicyOf(record, options_.job_policy);
  if (status.state != JobState::kStarting && status.state != JobState::kRunning) {
    return *status.deadline + policy.force_limit;
  }
  if (!policy.time_limit) return std::nullopt;
  return *status.attempt_start + (*policy.time_limit - status.used) +
         options_.scheduler.ending_margin;
}

void Controller::RunSchedule(Moment now) {
  std::vector<HostCapacity> hosts;
  std::vector<RunningJob> running;
  std::vector<WaitingJob> waiting;
  std::map<int64_t, int64_t> revisions;
  {
    std::lock_guard lock(mutex_);
    hosts = HostsNow(now);
    for (const auto& [id, open] : open_) {
      const JobStatus& status = open.record.status;
      const SlotRequest request = RequestOf(id, open.record.spec.resources());
      if (status.attempt_live) {
        running.push_back({.holding = {request, open.placement}, .ends_by = EndsBy(open.record)});
      } else if (status.state == JobState::kQueued) {
        WaitingJob job{.request = request, .priority = open.record.spec.resources().priority()};
        if (const auto limit = PolicyOf(open.record, options_.job_policy).time_limit)
          job.time_limit = *limit - status.used;
        waiting.push_back(std::move(job));
        revisions[id] = open.record.revision;
      }
    }
  }
  Schedule schedule;
  if (options_.places) {
    schedule = MakeSchedule(hosts, running, std::move(waiting), options_.scheduler, now.durable);
  } else {
    for (const WaitingJob& job : waiting) schedule.starts.push_back({.job = job.request.job});
  }
  for (const Schedule::Start& start : schedule.starts) {
    Guarded("placing " + JobName(start.job),
            [&] { Place(start.job, revisions.at(start.job), start.placement, now); });
  }
  std::lock_guard lock(mutex_);
  waits_ = std::move(schedule.waits);
}

void Controller::Place(int64_t job, int64_t revision, const Placement& placement, Moment now) {
  const std::string token = NewSecret();
  const int next =
      options_.store->Read([&](Tables& tables) { return tables.jobs.Get(job).status.attempt; }) + 1;
  // After a backup was restored, attempts that it does not know may have left their folders.
  int number = next;
  while (std::filesystem::exists(FolderOf({job, number}))) ++number;
  const Applied applied = options_.store->Write([&](Tables& tables) {
    // Paused and resumed with other resources meanwhile, perhaps.
    if (tables.jobs.Get(job).revision != revision) return Applied();
    const std::string reason =
        number == next ? ""
                       : "attempts before " + std::to_string(number) +
                             " have folders that this store does not know: passed over";
    return ApplyIn(tables, job, {.kind = EventKind::kPlaced, .passed_over = number - next},
                   {.actor = "scheduler", .reason = reason},
                   [&](Tables& in, Applied& placed) {
                     v1::Attempt attempt;
                     attempt.set_name(AttemptName(job, number));
                     *attempt.mutable_start_time() = ToProto(now.wall);
                     for (const Share& share : placement) {
                       v1::HostShare& host = *attempt.add_hosts();
                       host.set_host(share.host);
                       host.set_processes(share.processes);
                     }
                     in.attempts.Begin({job, number}, attempt, HashSecret(token));
                   });
  });
  // Cancelled meanwhile, perhaps.
  if (applied.outcome.verdict != Outcome::Verdict::kApplied) return;
  {
    std::lock_guard lock(mutex_);
    const auto open = open_.find(job);
    if (open == open_.end()) return;
    open->second.placement = placement;
    open->second.token = token;
  }
  OnCommit(applied);
}

}  // namespace syncbn::coordinator
