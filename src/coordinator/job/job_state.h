// The life of a job as a pure function: (status, event, policy, now) -> (status, effects).
//
// Limits and used time are durable times (base/clock.h); calendar times are for people.
// Nothing here reads a clock, a file or a process. The caller loads a status, applies an event,
// stores the new status in one transaction, and carries out the effects only after that; an effect
// lost in a crash is asked for again by kAdopted. Every state that is not an end has a timer that
// leaves it.
//
//   QUEUED -> STARTING -> RUNNING -> SUCCEEDED
//      ^         |           |-----> FAILED                 ended by itself, no retry
//      |         |-----------|-----> RECOVERING -> QUEUED   ended, or being ended, to be retried
//      |         |-----------|-----> PAUSING -> PAUSED -> QUEUED
//      |         |-----------|-----> CANCELLING -> CANCELLED (FAILED after a time limit)
//      +-- retry: FAILED, CANCELLED
//
// While an attempt is being ended (PAUSING, RECOVERING with a live attempt, CANCELLING) its
// supervisor climbs the ladder of stop_ladder.h by itself. When that takes longer than
// policy.stop_limit the machine asks for force; when that takes longer than policy.force_limit it
// gives the attempt up and names its hosts as possibly holding processes. So it always ends.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "coordinator/job/failure.h"

namespace syncbn::coordinator {

// Numbers are those of syncbn.v1.Job.State.
enum class JobState {
  kQueued = 1,
  kStarting,
  kRunning,
  kPausing,
  kPaused,
  kRecovering,
  kCancelling,
  kSucceeded,
  kFailed,
  kCancelled,
};
// syncbn.v1.Job.DesiredState; a larger number is more severe.
enum class DesiredState { kRun = 1, kPause, kCancel, kKill };
// syncbn.v1.Job.Liveness.
enum class Liveness { kUnknown = 0, kLive, kStale, kUnreachable };
// syncbn.v1.AttemptOutcome.
enum class AttemptOutcome { kCompleted = 1, kStopped, kFailed };
// syncbn.v1.StopLevel.
enum class StopLevel { kGraceful = 1, kTerminate, kKill };

std::string_view JobStateName(JobState state);
std::string_view DesiredStateName(DesiredState state);
bool IsEnded(JobState state);

struct JobPolicy {
  using Time = std::chrono::microseconds;
  Time start_limit = std::chrono::minutes(2);      // STARTING: until all ranks have registered
  Time silence_limit = std::chrono::hours(6);      // RUNNING: without any sign of life
  Time stop_limit = std::chrono::minutes(3);       // the supervisor's whole ladder, with a margin
  Time force_limit = std::chrono::seconds(30);     // force from outside, until it is given up
  Time queue_limit = std::chrono::hours(24 * 30);  // QUEUED
  Time pause_limit = std::chrono::hours(24 * 30);  // PAUSED
  Time first_backoff = std::chrono::seconds(10);   // doubles with every retry ...
  Time last_backoff = std::chrono::minutes(6);     // ... up to this
  int max_retries = 3;
  Time retries_forgotten_after =
      std::chrono::hours(1);       // an attempt that ran this long refills the budget
  std::optional<Time> time_limit;  // STARTING and RUNNING, over all attempts
};

struct JobStatus {
  JobState state = JobState::kQueued;
  DesiredState desired = DesiredState::kRun;
  Liveness liveness = Liveness::kUnknown;
  int attempt = 0;            // number of the newest
  bool attempt_live = false;  // it may have processes
  bool forced = false;        // force from outside has been asked for
  int retries = 0;
  WallTime since;                            // of the present state
  std::optional<WallTime> end_time;          // of the job, where it has ended
  std::optional<DurableTime> deadline;       // when the present state is left by itself
  std::optional<DurableTime> attempt_start;  // of the live attempt
  std::optional<DurableTime> running_since;  // all its ranks had registered
  JobPolicy::Time used{0};                // by attempts that have ended
  std::optional<Failure> cause;           // why the live attempt is being ended, if not on request
  std::optional<Failure> failure;         // of the last attempt that failed

  bool operator==(const JobStatus&) const = default;
};

enum class EventKind {
  kPlaced,      // the scheduler has slots for it
  kNotStarted,  // the attempt certainly never ran and never will
  kRegistered,  // all ranks have registered
  kHeartbeat,   // a sign of life
  kSilent,      // `liveness` of the attempt has got worse
  kStalled,     // no progress; `failure` names the ranks
  kEnded,       // nothing of the attempt is left; `outcome`, and `failure` where it failed
  kAdopted,     // the coordinator was restarted and found the attempt alive
  kStateTimer,  // `deadline` has passed
  kTimeLimit,   // the job's time limit has passed
  kPause,
  kCancel,
  kKill,
  kResume,
  kRetry,
};
std::string_view EventName(EventKind kind);
// kNotStarted .. kAdopted: they speak of one attempt and must name it.
bool IsOfAttempt(EventKind kind);

struct Event {
  EventKind kind;
  std::optional<int> attempt = {};  // where IsOfAttempt(kind)
  Liveness liveness = Liveness::kUnknown;
  AttemptOutcome outcome = AttemptOutcome::kCompleted;
  std::optional<Failure> failure;
  // With kNotStarted and kEnded: when the attempt ended, by the calendar of the host that says so,
  // and how long it had lasted. The coordinator may have been away. The time that is passed to
  // Apply otherwise.
  std::optional<WallTime> end_time = {};
  std::optional<JobPolicy::Time> run_time = {};
  int passed_over = 0;  // with kPlaced: numbers of attempts that are not to be given
  // With kStateTimer in STARTING: where the workers were told to find the coordinator.
  std::string address = {};
  std::string launcher_words = {};  // and what the launcher last said of it, if anything
};

// What to do after the new status is durable.
struct Effect {
  enum class Kind {
    kLaunch,     // start the attempt's supervisor
    kStop,       // order it to end the attempt, at `level`
    kForceStop,  // end supervisor and processes from outside, then report kEnded
    kAbandon,    // name the attempt's hosts as possibly holding processes
  };
  Kind kind;
  int attempt = 0;
  StopLevel level = StopLevel::kGraceful;

  bool operator==(const Effect&) const = default;
};

struct Outcome {
  enum class Verdict {
    kApplied,     // status is new, effects are due
    kIgnored,     // right, and nothing to do
    kSuperseded,  // speaks of an attempt that is not the live one: its sender must leave
    kRejected,    // does not apply in this state; `message` says why
  };
  Verdict verdict = Verdict::kIgnored;
  JobStatus status;
  std::vector<Effect> effects;
  std::string message;
  // Whether the status must be stored now. A sign of life alone need not be.
  bool durable = true;
};

// The status of a new job.
JobStatus NewJob(const JobPolicy& policy, Moment now);

Outcome Apply(const JobStatus& status, const Event& event, const JobPolicy& policy, Moment now);

// The timer event that is due, if any: to be applied until there is none.
std::optional<EventKind> DueTimer(const JobStatus& status, const JobPolicy& policy,
                                  DurableTime now);

// When DueTimer will next return something.
std::optional<DurableTime> NextTimer(const JobStatus& status, const JobPolicy& policy);

// Time in STARTING and RUNNING so far.
JobPolicy::Time UsedTime(const JobStatus& status, DurableTime now);

}  // namespace syncbn::coordinator
