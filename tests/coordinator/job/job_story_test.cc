// Stories of jobs: budgets, time limits, orders that nobody follows, texts.
#include <gtest/gtest.h>

#include "coordinator/job/job_state.h"

namespace syncbn::coordinator {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

Failure MakeFailure(FailureClass failure_class) {
  return {.failure_class = failure_class, .message = "because", .attempt = 2};
}

class JobStory : public ::testing::Test {
 protected:
  Outcome Do(Event event) {
    if (IsOfAttempt(event.kind) && !event.attempt) event.attempt = status.attempt;
    Outcome outcome = Apply(status, event, policy, now);
    status = outcome.status;
    return outcome;
  }
  Outcome End(FailureClass failure_class) {
    return Do({.kind = EventKind::kEnded,
               .outcome = AttemptOutcome::kFailed,
               .failure = MakeFailure(failure_class)});
  }
  void StartAndRun(std::chrono::microseconds time) {
    Do({.kind = EventKind::kPlaced});
    Do({.kind = EventKind::kRegistered});
    now += time;
  }
  void LetTimerPass() {
    now += *NextTimer(status, policy) - now.durable;
    Do({.kind = *DueTimer(status, policy, now.durable)});
  }

  JobPolicy policy;
  // Other numbers, so that none can stand for the other.
  Moment now = {WallTime(hours(24 * 365 * 50)), DurableTime(hours(1000))};
  JobStatus status = NewJob(policy, now);
};

TEST_F(JobStory, RetriesWaitTenTwentyFortySecondsThenTheJobFails) {
  for (int wait : {10, 20, 40}) {
    StartAndRun(minutes(1));
    End(FailureClass::kInfra);
    ASSERT_EQ(status.state, JobState::kRecovering);
    EXPECT_EQ(*status.deadline - now.durable, seconds(wait));
    LetTimerPass();
    ASSERT_EQ(status.state, JobState::kQueued);
  }
  StartAndRun(minutes(1));
  const Outcome outcome = End(FailureClass::kInfra);
  EXPECT_EQ(status.state, JobState::kFailed);
  EXPECT_EQ(status.failure->message, "because (after 3 restarts)");
  EXPECT_EQ(outcome.message, status.failure->message);
  EXPECT_EQ(status.attempt, 4);
}

TEST_F(JobStory, TheWaitBetweenRetriesIsAtMostSixMinutes) {
  policy.max_retries = 40;
  std::vector<int64_t> waits;
  for (int i = 0; i < 40; ++i) {
    StartAndRun(minutes(1));
    End(FailureClass::kStall);
    waits.push_back(std::chrono::duration_cast<seconds>(*status.deadline - now.durable).count());
    LetTimerPass();
  }
  EXPECT_EQ(waits[5], 320);
  EXPECT_EQ(waits[6], 360);
  EXPECT_EQ(waits.back(), 360);
}

TEST_F(JobStory, AnAttemptThatRanForLongRefillsTheBudget) {
  StartAndRun(minutes(1));
  End(FailureClass::kInfra);
  LetTimerPass();
  StartAndRun(hours(2));
  End(FailureClass::kInfra);
  EXPECT_EQ(status.retries, 1);
  EXPECT_EQ(*status.deadline - now.durable, seconds(10));
}

TEST_F(JobStory, WhatEndedUnseenEndedThenAndNotWhenItWasSeen) {
  StartAndRun(minutes(10));
  const WallTime start = now.wall - minutes(10), end = now.wall;
  now += hours(8);
  Do({.kind = EventKind::kEnded, .end_time = end});
  EXPECT_EQ(status.state, JobState::kSucceeded);
  EXPECT_EQ(status.end_time, end);
  EXPECT_EQ(status.since, now.wall);
  EXPECT_EQ(status.used, end - start);

  // The eight hours in which nobody looked do not refill the budget, and the wait begins now.
  status = NewJob(policy, now);
  StartAndRun(minutes(1));
  End(FailureClass::kInfra);
  EXPECT_EQ(status.end_time, std::nullopt);
  LetTimerPass();
  StartAndRun(minutes(1));
  const WallTime second_end = now.wall;
  now += hours(8);
  Do({.kind = EventKind::kEnded,
      .outcome = AttemptOutcome::kFailed,
      .failure = MakeFailure(FailureClass::kInfra),
      .end_time = second_end});
  EXPECT_EQ(status.retries, 2);
  EXPECT_EQ(*status.deadline - now.durable, seconds(20));
  EXPECT_EQ(status.used, minutes(2));
}

TEST_F(JobStory, AnEndThatAnotherHostsClockPutsOutsideTheAttemptIsMovedIntoIt) {
  for (const auto shift : {-hours(1), hours(1)}) {
    status = NewJob(policy, now);
    StartAndRun(minutes(1));
    Do({.kind = EventKind::kEnded, .end_time = now.wall + shift});
    EXPECT_EQ(status.end_time, shift < hours(0) ? now.wall - minutes(1) : now.wall);
    EXPECT_EQ(status.used, shift < hours(0) ? minutes(0) : minutes(1));
  }
}

TEST_F(JobStory, ACalendarThatIsSetEndsNothingAndCountsForNothing) {
  policy.time_limit = minutes(50);
  StartAndRun(minutes(10));
  for (const auto step : {hours(1), -hours(5), hours(12)}) {
    now.wall += step;
    EXPECT_FALSE(DueTimer(status, policy, now.durable).has_value());
    EXPECT_EQ(UsedTime(status, now.durable), minutes(10));
  }
  // The supervisor has counted by a clock that nobody sets; its calendar is for people.
  now += minutes(5);
  Do({.kind = EventKind::kEnded, .end_time = now.wall - hours(7), .run_time = minutes(13)});
  EXPECT_EQ(status.used, minutes(13));
  EXPECT_EQ(status.end_time, now.wall - minutes(15)) << "within the attempt, by today's calendar";
}

TEST_F(JobStory, AnAttemptOfAnotherHostsCountIsNoLongerThanItWasHere) {
  StartAndRun(minutes(1));
  Do({.kind = EventKind::kEnded, .end_time = now.wall, .run_time = hours(9)});
  EXPECT_EQ(status.used, minutes(1));
}

TEST_F(JobStory, AnEndedJobHasAnEndTimeAndARetriedOneNoLonger) {
  StartAndRun(minutes(1));
  End(FailureClass::kUser);
  EXPECT_EQ(status.end_time, now.wall);
  now += minutes(5);
  Do({.kind = EventKind::kRetry});
  EXPECT_EQ(status.end_time, std::nullopt);
  now += minutes(1);
  Do({.kind = EventKind::kCancel});
  EXPECT_EQ(status.end_time, now.wall);
}

TEST_F(JobStory, ConfigUserAndOomAreNotRetried) {
  for (FailureClass failure_class :
       {FailureClass::kConfig, FailureClass::kUser, FailureClass::kOom}) {
    status = NewJob(policy, now);
    StartAndRun(seconds(5));
    End(failure_class);
    EXPECT_EQ(status.state, JobState::kFailed);
    EXPECT_EQ(status.failure->message, "because");
  }
}

TEST_F(JobStory, AnAttemptThatNeverRanCostsNoRetry) {
  Do({.kind = EventKind::kPlaced});
  Do({.kind = EventKind::kNotStarted});
  EXPECT_EQ(status.state, JobState::kQueued);
  EXPECT_EQ(status.retries, 0);
  Do({.kind = EventKind::kPlaced});
  EXPECT_EQ(status.attempt, 2);
}

TEST_F(JobStory, TheTimeLimitCountsAllAttemptsButNoWaiting) {
  policy.time_limit = minutes(10);
  StartAndRun(minutes(6));
  End(FailureClass::kInfra);
  EXPECT_EQ(status.used, minutes(6));
  now += hours(5);
  Do({.kind = EventKind::kStateTimer});
  now += hours(5);
  StartAndRun(minutes(3));
  EXPECT_FALSE(DueTimer(status, policy, now.durable).has_value());
  EXPECT_EQ(*NextTimer(status, policy), now.durable + minutes(1));
  now += minutes(1);
  ASSERT_EQ(DueTimer(status, policy, now.durable), EventKind::kTimeLimit);
  const Outcome outcome = Do({.kind = EventKind::kTimeLimit});
  EXPECT_EQ(outcome.message, "the time limit of 10 min has passed");
  EXPECT_EQ(status.state, JobState::kCancelling);
  Do({.kind = EventKind::kEnded, .outcome = AttemptOutcome::kStopped});
  EXPECT_EQ(status.state, JobState::kFailed);
  EXPECT_EQ(status.failure->failure_class, FailureClass::kTimeout);
  EXPECT_EQ(status.failure->message, "the time limit of 10 min has passed");
}

TEST_F(JobStory, RetryAfterATimeLimitGivesTheWholeTimeAgainAndResumeDoesNot) {
  policy.time_limit = minutes(10);
  StartAndRun(minutes(4));
  Do({.kind = EventKind::kPause});
  Do({.kind = EventKind::kEnded, .outcome = AttemptOutcome::kStopped});
  Do({.kind = EventKind::kResume});
  EXPECT_EQ(status.used, minutes(4));
  Do({.kind = EventKind::kCancel});
  Do({.kind = EventKind::kRetry});
  EXPECT_EQ(status.used, minutes(0));
}

TEST_F(JobStory, AStalledAttemptIsEndedAndItsOwnReasonIsKept) {
  StartAndRun(minutes(5));
  Failure stall = MakeFailure(FailureClass::kStall);
  stall.ranks = {3};
  Do({.kind = EventKind::kStalled, .failure = stall});
  // Killing it makes mpirun look like a crash: that is not what is told.
  End(FailureClass::kInfra);
  EXPECT_EQ(status.state, JobState::kRecovering);
  EXPECT_EQ(*status.failure, stall);
}

TEST_F(JobStory, HeartbeatsKeepARunningJobAliveAndNeedNotBeStored) {
  StartAndRun(minutes(0));
  for (int i = 0; i < 100; ++i) {
    now += hours(5);
    ASSERT_FALSE(DueTimer(status, policy, now.durable).has_value());
    EXPECT_FALSE(Do({.kind = EventKind::kHeartbeat}).durable);
  }
  Do({.kind = EventKind::kSilent, .liveness = Liveness::kStale});
  EXPECT_TRUE(Do({.kind = EventKind::kHeartbeat}).durable) << "it is live again: that is shown";
  LetTimerPass();
  EXPECT_EQ(status.state, JobState::kRecovering);
  EXPECT_EQ(status.cause->message, "no rank was heard for 6 h");
}

TEST_F(JobStory, HeartbeatsDoNotPostponeTheEndOfAnAttemptThatIsBeingEnded) {
  StartAndRun(minutes(0));
  Do({.kind = EventKind::kCancel});
  const auto deadline = status.deadline;
  now += seconds(10);
  Do({.kind = EventKind::kHeartbeat});
  Do({.kind = EventKind::kRegistered});
  EXPECT_EQ(status.deadline, deadline);
}

TEST_F(JobStory, ACancelThatNobodyFollowsEndsInThreeAndAHalfMinutes) {
  StartAndRun(minutes(1));
  const DurableTime asked = now.durable;
  Do({.kind = EventKind::kCancel});
  LetTimerPass();
  LetTimerPass();
  EXPECT_EQ(status.state, JobState::kCancelled);
  EXPECT_EQ(now.durable - asked, minutes(3) + seconds(30));
}

TEST_F(JobStory, AdoptedOrdersAreGivenAgainAtTheLevelThatWasAskedFor) {
  StartAndRun(minutes(1));
  Do({.kind = EventKind::kKill});
  EXPECT_EQ(Do({.kind = EventKind::kAdopted}).effects.at(0).level, StopLevel::kKill);
}

TEST_F(JobStory, PauseWhileRecoveringShowsWhyTheAttemptWasEnded) {
  StartAndRun(minutes(1));
  Do({.kind = EventKind::kStalled, .failure = MakeFailure(FailureClass::kStall)});
  Do({.kind = EventKind::kPause});
  Do({.kind = EventKind::kEnded, .outcome = AttemptOutcome::kStopped});
  EXPECT_EQ(status.state, JobState::kPaused);
  EXPECT_EQ(status.failure->failure_class, FailureClass::kStall);
}

TEST_F(JobStory, RefusalsSayWhatTheStateIsAndWhatToDo) {
  StartAndRun(minutes(1));
  Do({.kind = EventKind::kPause});
  EXPECT_EQ(Do({.kind = EventKind::kResume}).message,
            "the job is PAUSING: resume it once it is PAUSED");
  EXPECT_EQ(Do({.kind = EventKind::kRetry}).message,
            "the job is PAUSING: only a FAILED or CANCELLED job can be retried");
  Do({.kind = EventKind::kEnded, .outcome = AttemptOutcome::kStopped});
  EXPECT_EQ(Do({.kind = EventKind::kRetry}).message, "the job is PAUSED: resume it instead");
  EXPECT_EQ(Do({.kind = EventKind::kPlaced}).message,
            "the job is PAUSED: only a QUEUED job can be placed");
  Do({.kind = EventKind::kCancel});
  EXPECT_EQ(Do({.kind = EventKind::kCancel}).verdict, Outcome::Verdict::kIgnored) << "as it was told";
  EXPECT_EQ(Do({.kind = EventKind::kPause}).message, "the job is CANCELLED: it has ended");
  EXPECT_EQ(Do({.kind = EventKind::kResume}).message,
            "the job is CANCELLED: only a PAUSED job can be resumed");
}

}  // namespace
}  // namespace syncbn::coordinator
