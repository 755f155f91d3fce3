// Every (state, event) pair of the job state machine, with what must happen written down.
#include "coordinator/job/job_state.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>
#include <sstream>

#include "tests/coordinator/job/job_state_table.h"

namespace syncbn::coordinator {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

// Other numbers, so that none can stand for the other.
const Moment kNow = {WallTime(hours(24 * 365 * 50)), DurableTime(hours(1000))};

Moment After(Moment moment, std::chrono::microseconds time) {
  return moment += time;
}

JobPolicy PolicyWithTimeLimit() {
  JobPolicy policy;
  policy.time_limit = hours(10);
  return policy;
}

Failure MakeFailure(FailureClass failure_class) {
  return {.failure_class = failure_class, .message = "because", .attempt = 2};
}

// The situations a job can be in. A state that awaits the end of an attempt comes with and without
// force; RECOVERING comes with the attempt still there and without.
struct Situation {
  std::string name;
  JobStatus status;
};

std::vector<Situation> Situations() {
  JobStatus idle{
      .attempt = 2, .since = kNow.wall, .deadline = kNow.durable + hours(1), .used = minutes(5)};
  JobStatus live = idle;
  live.attempt_live = true;
  live.attempt_start = kNow.durable - minutes(1);
  live.liveness = Liveness::kStale;
  auto with = [](JobStatus status, JobState state, DesiredState desired, bool forced = false) {
    status.state = state;
    status.desired = desired;
    status.forced = forced;
    return status;
  };
  auto caused = [](JobStatus status, FailureClass failure_class) {
    status.cause = MakeFailure(failure_class);
    return status;
  };
  const auto run = DesiredState::kRun, pause = DesiredState::kPause, cancel = DesiredState::kCancel;
  JobStatus running = with(live, JobState::kRunning, run);
  running.running_since = kNow.durable - seconds(30);
  JobStatus ended = with(idle, JobState::kSucceeded, run);
  ended.deadline.reset();
  return {
      {"QUEUED", with(idle, JobState::kQueued, run)},
      {"STARTING", with(live, JobState::kStarting, run)},
      {"RUNNING", running},
      {"PAUSING", with(live, JobState::kPausing, pause)},
      {"PAUSING-FORCED", with(live, JobState::kPausing, pause, true)},
      {"PAUSED", with(idle, JobState::kPaused, pause)},
      {"RECOVERING-LIVE", caused(with(live, JobState::kRecovering, run), FailureClass::kStall)},
      {"RECOVERING-FORCED",
       caused(with(live, JobState::kRecovering, run, true), FailureClass::kStall)},
      {"RECOVERING", with(idle, JobState::kRecovering, run)},
      {"CANCELLING", with(live, JobState::kCancelling, cancel)},
      {"CANCELLING-FORCED", with(live, JobState::kCancelling, cancel, true)},
      {"CANCELLING-LATE", caused(with(live, JobState::kCancelling, run), FailureClass::kTimeout)},
      {"SUCCEEDED", ended},
      {"FAILED", with(ended, JobState::kFailed, run)},
      {"CANCELLED", with(ended, JobState::kCancelled, cancel)},
  };
}

// The events; an attempt's end comes in its four kinds.
std::vector<std::pair<std::string, Event>> Events() {
  std::vector<std::pair<std::string, Event>> events;
  for (int kind = 0; kind <= static_cast<int>(EventKind::kRetry); ++kind) {
    Event event{.kind = static_cast<EventKind>(kind)};
    if (IsOfAttempt(event.kind)) event.attempt = 2;
    if (event.kind == EventKind::kSilent) event.liveness = Liveness::kUnreachable;
    if (event.kind == EventKind::kStalled) event.failure = MakeFailure(FailureClass::kStall);
    const std::string name(EventName(event.kind));
    if (event.kind != EventKind::kEnded) {
      events.emplace_back(name, event);
      continue;
    }
    events.emplace_back(name + ":COMPLETED", event);
    event.outcome = AttemptOutcome::kStopped;
    events.emplace_back(name + ":STOPPED", event);
    event.outcome = AttemptOutcome::kFailed;
    event.failure = MakeFailure(FailureClass::kInfra);
    events.emplace_back(name + ":INFRA", event);
    event.failure = MakeFailure(FailureClass::kUser);
    events.emplace_back(name + ":USER", event);
  }
  return events;
}

// "STATE effects", with "(live)" where a RECOVERING job still has an attempt; or the verdict alone.
std::string Render(const Outcome& outcome) {
  switch (outcome.verdict) {
    case Outcome::Verdict::kIgnored:
      return "ignored";
    case Outcome::Verdict::kSuperseded:
      return "superseded";
    case Outcome::Verdict::kRejected:
      return "rejected";
    case Outcome::Verdict::kApplied:
      break;
  }
  std::string text(JobStateName(outcome.status.state));
  if (outcome.status.state == JobState::kRecovering && outcome.status.attempt_live)
    text += "(live)";
  for (const Effect& effect : outcome.effects) {
    switch (effect.kind) {
      case Effect::Kind::kLaunch:
        text += " launch";
        break;
      case Effect::Kind::kForceStop:
        text += " force";
        break;
      case Effect::Kind::kAbandon:
        text += " abandon";
        break;
      case Effect::Kind::kStop:
        text += effect.level == StopLevel::kGraceful    ? " stop"
                : effect.level == StopLevel::kTerminate ? " terminate"
                                                        : " kill";
    }
  }
  if (!outcome.durable) text += " (volatile)";
  return text;
}

std::map<std::pair<std::string, std::string>, std::string> ParseTable() {
  std::map<std::pair<std::string, std::string>, std::string> table;
  std::istringstream lines(kTable);
  std::string line, situation;
  while (std::getline(lines, line)) {
    if (line.empty()) continue;
    if (line[0] != ' ') {
      situation = line;
      continue;
    }
    std::istringstream words(line);
    std::string event, expected;
    words >> event;
    std::getline(words >> std::ws, expected);
    EXPECT_TRUE(table.emplace(std::pair(situation, event), expected).second)
        << situation << " " << event;
  }
  return table;
}

void CheckInvariants(const JobStatus& s) {
  using S = JobState;
  EXPECT_EQ(s.deadline.has_value(), !IsEnded(s.state))
      << "a timer leaves every state that is not an end";
  const bool must_live = s.state == S::kStarting || s.state == S::kRunning ||
                         s.state == S::kPausing || s.state == S::kCancelling;
  const bool may_live = must_live || s.state == S::kRecovering;
  EXPECT_TRUE(!must_live || s.attempt_live);
  EXPECT_TRUE(may_live || !s.attempt_live);
  EXPECT_EQ(s.attempt_start.has_value(), s.attempt_live);
  EXPECT_TRUE(s.attempt_live ||
              (!s.forced && !s.cause && s.liveness == Liveness::kUnknown && !s.running_since));
  if (s.state == S::kRecovering) {
    EXPECT_EQ(s.cause.has_value(), s.attempt_live);
  }
  if (s.state == S::kFailed) {
    EXPECT_TRUE(s.failure.has_value());
  }
  if (s.state == S::kSucceeded) {
    EXPECT_FALSE(s.failure.has_value());
  }
  if (s.state == S::kCancelled) {
    EXPECT_GE(s.desired, DesiredState::kCancel);
  }
  if (s.state == S::kQueued || s.state == S::kStarting || s.state == S::kRunning) {
    EXPECT_EQ(s.desired, DesiredState::kRun);
  }
}

TEST(JobState, EveryPairOfStateAndEventDoesWhatTheTableSays) {
  const auto table = ParseTable();
  const JobPolicy policy = PolicyWithTimeLimit();
  size_t used = 0;
  for (const Situation& situation : Situations()) {
    for (const auto& [name, event] : Events()) {
      SCOPED_TRACE(situation.name + " " + name);
      const Outcome outcome = Apply(situation.status, event, policy, After(kNow, seconds(1)));
      // No attempt lives there, so whatever speaks of one is late.
      const bool late = event.attempt && !situation.status.attempt_live;
      const auto entry = table.find({situation.name, name});
      ASSERT_EQ(entry == table.end(), late)
          << "missing in the table, or there although it cannot be";
      EXPECT_EQ(Render(outcome), late ? "superseded" : entry->second);
      used += late ? 0 : 1;
      if (outcome.verdict == Outcome::Verdict::kApplied) {
        CheckInvariants(outcome.status);
      } else {
        EXPECT_EQ(outcome.status, situation.status) << "only an applied event changes anything";
        EXPECT_TRUE(outcome.effects.empty());
        EXPECT_EQ(outcome.message.empty(), outcome.verdict == Outcome::Verdict::kIgnored);
      }
    }
  }
  EXPECT_EQ(used, table.size()) << "the table has entries for pairs that do not exist";
}

TEST(JobState, AnEventOfAnotherAttemptIsSupersededInEveryState) {
  for (const Situation& situation : Situations()) {
    for (auto [name, event] : Events()) {
      if (!event.attempt) continue;
      for (int attempt : {1, 3}) {
        event.attempt = attempt;
        const Outcome outcome = Apply(situation.status, event, PolicyWithTimeLimit(), kNow);
        EXPECT_EQ(Render(outcome), "superseded") << situation.name << " " << name;
        EXPECT_EQ(outcome.message, "attempt " + std::to_string(attempt) + " has been given up");
      }
    }
  }
}

TEST(JobState, TimersAloneEndEveryAttemptInEverySituation) {
  const JobPolicy policy;
  for (const Situation& situation : Situations()) {
    JobStatus status = situation.status;
    Moment now = kNow;
    const auto wait_until = [&](DurableTime time) {
      now += std::max(time, now.durable) - now.durable;
    };
    int steps = 0;
    while (status.attempt_live) {
      SCOPED_TRACE(situation.name);
      const std::optional<DurableTime> next = NextTimer(status, policy);
      ASSERT_TRUE(next.has_value());
      wait_until(*next);
      const auto due = DueTimer(status, policy, now.durable);
      ASSERT_TRUE(due.has_value());
      status = Apply(status, {.kind = *due}, policy, now).status;
      ASSERT_LT(++steps, 5);
    }
    // Without anybody's help a job that is not resumed or placed ends as well.
    while (!IsEnded(status.state)) {
      wait_until(*NextTimer(status, policy));
      status = Apply(status, {.kind = *DueTimer(status, policy, now.durable)}, policy, now).status;
      ASSERT_LT(++steps, 9);
    }
    EXPECT_FALSE(NextTimer(status, policy).has_value());
  }
}

// All statuses that differ in what decides, reached from a new job by any events in any order.
TEST(JobState, TheInvariantsHoldInEveryReachableStatus) {
  JobPolicy policy = PolicyWithTimeLimit();
  policy.max_retries = 2;
  auto key = [](const JobStatus& s) {
    std::ostringstream out;
    out << int(s.state) << int(s.desired) << int(s.liveness) << s.attempt_live << s.forced
        << s.retries << s.cause.has_value() << (s.cause ? int(s.cause->failure_class) : 0)
        << s.failure.has_value() << s.running_since.has_value();
    return out.str();
  };
  std::set<std::string> seen;
  std::vector<JobStatus> open = {NewJob(policy, kNow)};
  std::set<JobState> states;
  while (!open.empty()) {
    const JobStatus status = open.back();
    open.pop_back();
    if (!seen.insert(key(status)).second) continue;
    states.insert(status.state);
    for (auto [name, event] : Events()) {
      if (event.attempt) event.attempt = status.attempt;
      if (event.kind == EventKind::kTimeLimit && IsEnded(status.state)) continue;
      const Outcome outcome =
          Apply(status, event, policy, After(kNow, status.since + seconds(1) - kNow.wall));
      if (outcome.verdict != Outcome::Verdict::kApplied) continue;
      SCOPED_TRACE(key(status) + " " + name);
      CheckInvariants(outcome.status);
      EXPECT_GE(outcome.status.attempt, status.attempt);
      const bool back = event.kind == EventKind::kResume || event.kind == EventKind::kRetry;
      EXPECT_TRUE(back || outcome.status.desired >= status.desired)
          << "desired only gets more severe";
      open.push_back(outcome.status);
    }
  }
  EXPECT_EQ(states.size(), 10u);
  EXPECT_GT(seen.size(), 50u);
}

// Any order of events, thousands of times: attempts never overlap, and it always ends.
TEST(JobState, RandomStoriesNeverHaveTwoLiveAttemptsAndAlwaysEnd) {
  std::mt19937 random(7);
  const auto events = Events();
  JobPolicy policy = PolicyWithTimeLimit();
  for (int story = 0; story < 3000; ++story) {
    Moment now = kNow;
    JobStatus status = NewJob(policy, now);
    int launched = 0, closed = 0;
    auto apply = [&](const Event& event) {
      const Outcome outcome = Apply(status, event, policy, now);
      for (const Effect& effect : outcome.effects) launched += effect.kind == Effect::Kind::kLaunch;
      closed += status.attempt_live && !outcome.status.attempt_live;
      status = outcome.status;
      ASSERT_EQ(launched - closed, status.attempt_live ? 1 : 0);
      ASSERT_EQ(launched, status.attempt);
    };
    for (int i = 0; i < 40; ++i) {
      now += seconds(random() % 200);
      while (auto due = DueTimer(status, policy, now.durable)) apply({.kind = *due});
      Event event = events[random() % events.size()].second;
      if (event.kind == EventKind::kTimeLimit || event.kind == EventKind::kStateTimer) continue;
      if (event.attempt) event.attempt = status.attempt - static_cast<int>(random() % 4 == 0);
      apply(event);
      if (HasFatalFailure()) return;
    }
    for (int i = 0; i < 12 && !IsEnded(status.state); ++i) {
      now += std::max(*NextTimer(status, policy), now.durable) - now.durable;
      apply({.kind = *DueTimer(status, policy, now.durable)});
    }
    ASSERT_TRUE(IsEnded(status.state));
  }
}

}  // namespace
}  // namespace syncbn::coordinator
