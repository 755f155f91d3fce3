#include "coordinator/job/job_state.h"

#include <algorithm>

#include "base/check.h"
#include "base/text.h"

namespace syncbn::coordinator {
namespace {

using Time = JobPolicy::Time;
using Verdict = Outcome::Verdict;

// "90 s", "2 h": the largest unit that divides.
std::string Describe(Time time) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(time).count();
  if (seconds >= 86400 && seconds % 86400 == 0) return Plural(seconds / 86400, "day");
  if (seconds >= 3600 && seconds % 3600 == 0) return std::to_string(seconds / 3600) + " h";
  if (seconds >= 60 && seconds % 60 == 0) return std::to_string(seconds / 60) + " min";
  return FormatDouble(std::chrono::duration<double>(time).count()) + " s";
}

// One application: a copy of the status that the handlers change.
class Step {
 public:
  Step(const JobStatus& status, const Event& event, const JobPolicy& policy, Moment now)
      : s_(status), event_(event), policy_(policy), now_(now), end_(now) {}

  Outcome Run() {
    SYNCBN_CHECK_EQ(event_.attempt.has_value(), IsOfAttempt(event_.kind)) << EventName(event_.kind);
    if (event_.attempt && (*event_.attempt != s_.attempt || !s_.attempt_live)) return Superseded();
    switch (event_.kind) {
      case EventKind::kPlaced:
        return Placed();
      case EventKind::kNotStarted:
        return NotStarted();
      case EventKind::kRegistered:
        return Registered();
      case EventKind::kHeartbeat:
        return Heartbeat();
      case EventKind::kSilent:
        return Silent();
      case EventKind::kStalled:
        return Stalled();
      case EventKind::kEnded:
        return Ended();
      case EventKind::kAdopted:
        return Adopted();
      case EventKind::kStateTimer:
        return StateTimer();
      case EventKind::kTimeLimit:
        return TimeLimit();
      case EventKind::kPause:
        return Pause();
      case EventKind::kCancel:
        return Cancel(DesiredState::kCancel, StopLevel::kGraceful);
      case EventKind::kKill:
        return Cancel(DesiredState::kKill, StopLevel::kKill);
      case EventKind::kResume:
        return Resume();
      case EventKind::kRetry:
        return Retry();
    }
    SYNCBN_CHECK(false) << "event " << static_cast<int>(event_.kind);
    return Ignored();
  }

 private:
  Outcome Applied(bool durable = true) {
    return {.verdict = Verdict::kApplied,
            .status = s_,
            .effects = effects_,
            .message = message_,
            .durable = durable};
  }
  Outcome Ignored() const {
    return {.verdict = Verdict::kIgnored, .status = s_, .message = message_};
  }
  Outcome Superseded() const {
    return {.verdict = Verdict::kSuperseded,
            .status = s_,
            .message = "attempt " + std::to_string(*event_.attempt) + " has been given up"};
  }
  Outcome Rejected(std::string_view advice) const {
    return {.verdict = Verdict::kRejected,
            .status = s_,
            .message =
                "the job is " + std::string(JobStateName(s_.state)) + ": " + std::string(advice)};
  }

  bool UnderWay() const {
    return s_.state == JobState::kStarting || s_.state == JobState::kRunning;
  }
  // An attempt that is on its way out, and only the supervisor's report or a timer is awaited.
  bool BeingEnded() const { return s_.attempt_live && !UnderWay(); }

  void Enter(JobState state, std::optional<Time> limit) {
    s_.state = state;
    s_.since = now_.wall;
    s_.deadline.reset();
    if (limit) s_.deadline = now_.durable + *limit;
  }

  // Ends the live attempt through its supervisor.
  void BeginEnding(JobState state, StopLevel level) {
    Enter(state, policy_.stop_limit);
    s_.forced = false;
    effects_.push_back({Effect::Kind::kStop, s_.attempt, level});
  }

  // Nothing of the attempt is left, or it is given up.
  void CloseAttempt() {
    const DurableTime start = std::min(s_.attempt_start.value_or(now_.durable), now_.durable);
    if (event_.end_time) end_.wall = std::clamp(*event_.end_time, now_.WallAt(start), now_.wall);
    // Without a duration (of a supervisor that died, or of an older one) by the calendar.
    end_.durable = event_.run_time ? std::min(start + *event_.run_time, now_.durable)
                                   : now_.durable - (now_.wall - end_.wall);
    s_.used = UsedTime(s_, end_.durable);
    if (s_.running_since && end_.durable - *s_.running_since >= policy_.retries_forgotten_after)
      s_.retries = 0;
    s_.attempt_live = false;
    s_.forced = false;
    s_.liveness = Liveness::kUnknown;
    s_.attempt_start.reset();
    s_.running_since.reset();
    s_.cause.reset();
  }

  void End(JobState state) {
    Enter(state, std::nullopt);
    s_.end_time = end_.wall;
  }

  void Queue() { Enter(JobState::kQueued, policy_.queue_limit); }

  // The attempt is closed and nobody wants the job stopped: again after a while, or the end.
  void AfterFailure(Failure failure) {
    const bool retried = IsRetried(failure.failure_class);
    if (retried && s_.retries < policy_.max_retries) {
      const Time backoff = std::min<Time>(
          policy_.last_backoff, policy_.first_backoff * (int64_t{1} << std::min(s_.retries, 30)));
      ++s_.retries;
      Enter(JobState::kRecovering, backoff);
    } else {
      if (retried && s_.retries > 0) {
        failure.message += " (after " + Plural(s_.retries, "restart") + ")";
      }
      End(JobState::kFailed);
    }
    message_ = failure.message;
    s_.failure = std::move(failure);
  }

  Failure MakeFailure(FailureClass failure_class, std::string message) const {
    return {.failure_class = failure_class, .message = std::move(message), .attempt = s_.attempt};
  }

  Outcome Placed() {
    if (s_.state != JobState::kQueued) return Rejected("only a QUEUED job can be placed");
    s_.attempt += 1 + event_.passed_over;
    s_.attempt_live = true;
    s_.attempt_start = now_.durable;
    Enter(JobState::kStarting, policy_.start_limit);
    effects_.push_back({.kind = Effect::Kind::kLaunch, .attempt = s_.attempt});
    return Applied();
  }

  Outcome NotStarted() {
    // Nothing ran, so nothing failed: no retry is used up.
    if (UnderWay()) {
      CloseAttempt();
      Queue();
      return Applied();
    }
    return EndOrdered();
  }

  Outcome Registered() {
    if (s_.state != JobState::kStarting) return Heartbeat();
    s_.running_since = now_.durable;
    s_.liveness = Liveness::kLive;
    Enter(JobState::kRunning, policy_.silence_limit);
    return Applied();
  }

  Outcome Heartbeat() {
    if (s_.state != JobState::kRunning) return Ignored();
    const bool better = s_.liveness != Liveness::kLive;
    s_.liveness = Liveness::kLive;
    s_.deadline = now_.durable + policy_.silence_limit;
    return Applied(better);
  }

  Outcome Silent() {
    if (s_.state != JobState::kRunning || s_.liveness == event_.liveness) return Ignored();
    s_.liveness = event_.liveness;
    return Applied();
  }

  Outcome Stalled() {
    if (s_.state != JobState::kRunning) return Ignored();
    SYNCBN_CHECK(event_.failure.has_value()) << "a stall says which ranks";
    return Recover(*event_.failure);
  }

  // Ends an attempt under way that goes nowhere, to start another.
  Outcome Recover(Failure cause) {
    message_ = cause.message;
    s_.cause = std::move(cause);
    BeginEnding(JobState::kRecovering, StopLevel::kTerminate);
    return Applied();
  }

  Outcome Ended() {
    if (event_.outcome == AttemptOutcome::kCompleted) {
      CloseAttempt();
      s_.failure.reset();
      End(JobState::kSucceeded);
      return Applied();
    }
    if (BeingEnded()) {
      const bool own_fault = event_.outcome == AttemptOutcome::kFailed && event_.failure &&
                             !IsRetried(event_.failure->failure_class);
      if (own_fault && s_.state != JobState::kCancelling) {
        // It would fail again after the pause or the restart: say so now.
        CloseAttempt();
        AfterFailure(*event_.failure);
        return Applied();
      }
      if (event_.outcome == AttemptOutcome::kFailed && event_.failure) s_.failure = event_.failure;
      return EndOrdered();
    }
    Failure failure = event_.failure.value_or(
        MakeFailure(FailureClass::kInfra,
                    "its workers were told to leave by their host, not by this coordinator"));
    CloseAttempt();
    AfterFailure(std::move(failure));
    return Applied();
  }

  // The attempt that was being ended is gone: what it was ended for happens now.
  Outcome EndOrdered() {
    std::optional<Failure> cause = s_.cause;
    CloseAttempt();
    switch (s_.state) {
      case JobState::kPausing:
        Enter(JobState::kPaused, policy_.pause_limit);
        break;
      case JobState::kCancelling:
        if (s_.desired >= DesiredState::kCancel) {
          End(JobState::kCancelled);
        } else {
          SYNCBN_CHECK(cause.has_value()) << "CANCELLING without a request or a cause";
          AfterFailure(*cause);
        }
        break;
      case JobState::kRecovering:
        SYNCBN_CHECK(cause.has_value()) << "RECOVERING with a live attempt without a cause";
        AfterFailure(*cause);
        break;
      default:
        SYNCBN_CHECK(false) << "attempt ended on order in state " << JobStateName(s_.state);
    }
    return Applied();
  }

  Outcome Adopted() {
    // The time in which nobody was there to hear the workers does not count against them.
    switch (s_.state) {
      case JobState::kStarting:
        s_.deadline = now_.durable + policy_.start_limit;
        break;
      case JobState::kRunning:
        s_.deadline = now_.durable + policy_.silence_limit;
        break;
      default:
        // The order may have been lost with the coordinator that was about to give it.
        BeginEnding(s_.state, OrderedLevel());
    }
    return Applied();
  }

  StopLevel OrderedLevel() const {
    if (s_.desired == DesiredState::kKill) return StopLevel::kKill;
    return s_.state == JobState::kRecovering ? StopLevel::kTerminate : StopLevel::kGraceful;
  }

  Outcome StateTimer() {
    if (IsEnded(s_.state)) return Ignored();
    if (BeingEnded()) {
      if (!s_.forced) {
        s_.forced = true;
        s_.deadline = now_.durable + policy_.force_limit;
        effects_.push_back({.kind = Effect::Kind::kForceStop, .attempt = s_.attempt});
        message_ =
            "the supervisor has not ended the attempt within " + Describe(policy_.stop_limit);
        return Applied();
      }
      effects_.push_back({.kind = Effect::Kind::kAbandon, .attempt = s_.attempt});
      Outcome outcome = EndOrdered();
      outcome.message =
          "the attempt could not be verified to have ended; its hosts may hold processes";
      return outcome;
    }
    switch (s_.state) {
      case JobState::kQueued:
        EndLate("waited in the queue for " + Describe(policy_.queue_limit));
        break;
      case JobState::kPaused:
        EndLate("was paused for " + Describe(policy_.pause_limit));
        break;
      case JobState::kRecovering:
        Queue();
        break;
      case JobState::kStarting:
        return Recover(NotRegistered());
      case JobState::kRunning:
        return Recover(MakeFailure(FailureClass::kStall,
                                   "no rank was heard for " + Describe(policy_.silence_limit)));
      default:
        SYNCBN_CHECK(false) << "timer in state " << JobStateName(s_.state);
    }
    return Applied();
  }

  // The event tells which ranks are missing, where the coordinator knows.
  Failure NotRegistered() const {
    Failure failure = event_.failure.value_or(Failure{});
    const std::string missing = failure.message.empty() ? "" : " (missing: " + failure.message + ")";
    failure.failure_class = FailureClass::kInfra;
    failure.message =
        "not all ranks had registered after " + Describe(policy_.start_limit) + missing + ": " +
        (!event_.launcher_words.empty()
             ? event_.launcher_words
             : "either they did not start, or they cannot reach the coordinator" +
                   (event_.address.empty() ? "" : " at " + event_.address) +
                   " (its --advertise, --worker-ca)");
    failure.attempt = s_.attempt;
    return failure;
  }

  void EndLate(std::string message) {
    message_ = message;
    s_.failure = MakeFailure(FailureClass::kTimeout, std::move(message));
    End(JobState::kFailed);
  }

  Outcome TimeLimit() {
    if (!UnderWay()) return Ignored();
    SYNCBN_CHECK(policy_.time_limit.has_value());
    message_ = "the time limit of " + Describe(*policy_.time_limit) + " has passed";
    s_.cause = MakeFailure(FailureClass::kTimeout, message_);
    BeginEnding(JobState::kCancelling, StopLevel::kGraceful);
    return Applied();
  }

  Outcome Pause() {
    if (IsEnded(s_.state)) return Rejected("it has ended");
    if (s_.state == JobState::kCancelling) return Rejected("it is being ended for good");
    if (s_.desired == DesiredState::kPause) return Ignored();
    s_.desired = DesiredState::kPause;
    if (UnderWay()) {
      BeginEnding(JobState::kPausing, StopLevel::kGraceful);
    } else if (s_.attempt_live) {
      // It is being ended already, to recover: the ladder goes on, only what follows is different.
      s_.failure = s_.cause;
      s_.cause.reset();
      s_.state = JobState::kPausing;
      s_.since = now_.wall;
    } else {
      Enter(JobState::kPaused, policy_.pause_limit);
    }
    return Applied();
  }

  Outcome Cancel(DesiredState desired, StopLevel level) {
    if (s_.state == JobState::kCancelled) return Ignored();
    if (IsEnded(s_.state)) return Rejected("it has ended");
    if (desired <= s_.desired) return Ignored();
    s_.desired = desired;
    if (s_.attempt_live) {
      BeginEnding(JobState::kCancelling, level);
    } else {
      End(JobState::kCancelled);
    }
    return Applied();
  }

  Outcome Resume() {
    if (s_.state == JobState::kPausing) return Rejected("resume it once it is PAUSED");
    if (s_.state != JobState::kPaused) return Rejected("only a PAUSED job can be resumed");
    return StartAnew();
  }

  Outcome Retry() {
    if (s_.state == JobState::kPaused) return Rejected("resume it instead");
    if (s_.state != JobState::kFailed && s_.state != JobState::kCancelled) {
      return Rejected("only a FAILED or CANCELLED job can be retried");
    }
    // A job that ran out of time gets its time limit anew.
    s_.used = Time(0);
    return StartAnew();
  }

  Outcome StartAnew() {
    s_.desired = DesiredState::kRun;
    s_.retries = 0;
    s_.end_time.reset();
    Queue();
    return Applied();
  }

  JobStatus s_;
  const Event& event_;
  const JobPolicy& policy_;
  Moment now_;
  Moment end_;  // of the attempt that is closed in this step
  std::vector<Effect> effects_;
  std::string message_;
};

}  // namespace

JobStatus NewJob(const JobPolicy& policy, Moment now) {
  return {.since = now.wall, .deadline = now.durable + policy.queue_limit};
}

Outcome Apply(const JobStatus& status, const Event& event, const JobPolicy& policy, Moment now) {
  return Step(status, event, policy, now).Run();
}

}  // namespace syncbn::coordinator
