// When a job's status changes by itself.
#include <algorithm>

#include "coordinator/job/job_state.h"

namespace syncbn::coordinator {

std::optional<DurableTime> NextTimer(const JobStatus& status, const JobPolicy& policy) {
  std::optional<DurableTime> next = status.deadline;
  const bool under_way = status.state == JobState::kStarting || status.state == JobState::kRunning;
  if (under_way && policy.time_limit) {
    const DurableTime limit = *status.attempt_start + (*policy.time_limit - status.used);
    if (!next || limit < *next) next = limit;
  }
  return next;
}

std::optional<EventKind> DueTimer(const JobStatus& status, const JobPolicy& policy,
                                  DurableTime now) {
  const bool under_way = status.state == JobState::kStarting || status.state == JobState::kRunning;
  // The time limit first: what else is due no longer matters then.
  if (under_way && policy.time_limit && UsedTime(status, now) >= *policy.time_limit) {
    return EventKind::kTimeLimit;
  }
  if (status.deadline && now >= *status.deadline) return EventKind::kStateTimer;
  return std::nullopt;
}

JobPolicy::Time UsedTime(const JobStatus& status, DurableTime now) {
  if (!status.attempt_start) return status.used;
  return status.used + std::max(JobPolicy::Time(0), JobPolicy::Time(now - *status.attempt_start));
}

}  // namespace syncbn::coordinator
