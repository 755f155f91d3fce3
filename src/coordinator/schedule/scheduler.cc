#include "coordinator/schedule/scheduler.h"

#include <algorithm>

#include "base/text.h"
#include "coordinator/launch/pending_text.h"

namespace syncbn::coordinator {
namespace {

// The place that is kept for the first in line.
struct Reservation {
  const WaitingJob* job = nullptr;
  // When it is certain; nothing where a job without a time limit stands in the way.
  std::optional<DurableTime> time;
  // Free at that time beside the first in line.
  std::optional<FreeCapacity> beside;
};

Reservation Reserve(const WaitingJob& job, const FreeCapacity& free,
                    std::vector<RunningJob> running, DurableTime now) {
  Reservation reservation{.job = &job};
  std::erase_if(running, [](const RunningJob& one) { return !one.ends_by; });
  std::stable_sort(running.begin(), running.end(), [](const RunningJob& a, const RunningJob& b) {
    return *a.ends_by < *b.ends_by;
  });
  FreeCapacity then = free;
  for (const RunningJob& one : running) {
    then.Return(one.holding.request, one.holding.placement);
    const std::optional<Placement> place = then.Find(job.request);
    if (!place) continue;
    // One that should have ended already is ending: nothing can be counted on before it has.
    reservation.time = std::max(*one.ends_by, now + std::chrono::microseconds(1));
    then.Take(job.request, *place);
    reservation.beside.emplace(then);
    return reservation;
  }
  return reservation;
}

// Whether a job that would be placed so leaves the reservation as it is.
bool LeavesAlone(const Reservation& reservation, const WaitingJob& job, const Placement& placement,
                 const std::vector<HostCapacity>& hosts, const SchedulerPolicy& policy,
                 DurableTime now) {
  if (reservation.time) {
    if (job.time_limit && now + *job.time_limit + policy.ending_margin <= *reservation.time)
      return true;
    FreeCapacity beside = *reservation.beside;
    beside.Take(job.request, placement);
    for (const Share& share : placement) {
      for (size_t i = 0; i < hosts.size(); ++i) {
        if (hosts[i].name != share.host) continue;
        const bool memory_counts = hosts[i].memory_mib > 0;
        if (beside.free_slots(i) < 0 || (memory_counts && beside.free_memory(i) < 0)) return false;
      }
    }
    return true;
  }
  return std::none_of(placement.begin(), placement.end(), [&](const Share& share) {
    return std::any_of(hosts.begin(), hosts.end(), [&](const HostCapacity& host) {
      return host.name == share.host && Allows(reservation.job->request, host);
    });
  });
}

// A place that leaves the reservation alone, if there is one. The best place may be on the hosts
// that are reserved while another is not, so those are tried without.
std::optional<Placement> FindBeside(const Reservation& reservation, const WaitingJob& job,
                                    const FreeCapacity& free, const SchedulerPolicy& policy,
                                    DurableTime now) {
  const std::vector<HostCapacity>& hosts = free.hosts();
  const std::optional<Placement> best = free.Find(job.request);
  if (!best || LeavesAlone(reservation, job, *best, hosts, policy, now)) return best;
  WaitingJob elsewhere = job;
  for (size_t i = 0; i < hosts.size(); ++i) {
    const bool reserved = reservation.time ? reservation.beside->free_slots(i) < job.request.threads
                                           : Allows(reservation.job->request, hosts[i]);
    if (reserved) elsewhere.request.excluded_hosts.push_back(hosts[i].name);
  }
  const std::optional<Placement> other = free.Find(elsewhere.request);
  if (other && LeavesAlone(reservation, job, *other, hosts, policy, now)) return other;
  return std::nullopt;
}

// Whether the job would fit if every usable host were empty.
bool FitsWhenIdle(const SlotRequest& request, const std::vector<HostCapacity>& hosts) {
  return FreeCapacity(hosts).Find(request).has_value();
}

}  // namespace

Schedule MakeSchedule(const std::vector<HostCapacity>& hosts,
                      const std::vector<RunningJob>& running, std::vector<WaitingJob> waiting,
                      const SchedulerPolicy& policy, DurableTime now) {
  std::stable_sort(waiting.begin(), waiting.end(), [](const WaitingJob& a, const WaitingJob& b) {
    return a.priority != b.priority ? a.priority > b.priority : a.request.job < b.request.job;
  });
  FreeCapacity free(hosts);
  std::vector<RunningJob> holders = running;
  for (const RunningJob& one : running) free.Take(one.holding.request, one.holding.placement);

  Schedule schedule;
  std::optional<Reservation> reservation;
  int position = 0;
  auto wait = [&](const WaitingJob& job, PendingReason reason) {
    reason.position = ++position;
    schedule.waits.push_back({job.request.job, std::move(reason)});
  };
  for (const WaitingJob& job : waiting) {
    if (policy.held) {
      wait(job, {.code = PendingCode::kHeld,
                 .message = "the queue is held: " + *policy.held,
                 .needed_slots = job.request.slots()});
      continue;
    }
    const std::optional<Placement> place =
        reservation ? FindBeside(*reservation, job, free, policy, now) : free.Find(job.request);
    if (place) {
      RunningJob started{.holding = {job.request, *place}};
      if (job.time_limit) started.ends_by = now + *job.time_limit + policy.ending_margin;
      free.Take(job.request, *place);
      holders.push_back(std::move(started));
      // What is free beside the reservation has become less.
      if (reservation) reservation = Reserve(*reservation->job, free, holders, now);
      schedule.starts.push_back({job.request.job, *place});
      continue;
    }
    if (!FitsWhenIdle(job.request, hosts)) {
      wait(job, ExplainHosts(job.request, free));
      continue;
    }
    if (!reservation) {
      reservation = Reserve(job, free, holders, now);
      PendingReason reason = ExplainCapacity(job.request, free, holders);
      reason.latest_start = reservation->time;
      wait(job, std::move(reason));
      continue;
    }
    if (free.Find(job.request)) {
      wait(job, ExplainBehind(job.request, reservation->job->request, reservation->time, free,
                              policy.ending_margin, now));
    } else {
      wait(job, ExplainCapacity(job.request, free, holders));
    }
  }
  return schedule;
}

}  // namespace syncbn::coordinator
