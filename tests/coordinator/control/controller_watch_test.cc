// How the controller watches attempts: by which clock, in silence, and after it was stopped itself.
#include "coordinator/control/newest_revisions.h"
#include "coordinator/launch/attempt_folder.h"
#include "tests/coordinator/control/controller_fixture.h"

namespace syncbn::coordinator {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class WatchTest : public ControllerTest {
 protected:
  WatchTest() {
    launcher.on_observe = [this](const AttemptRef&) { ++looks_; };
  }
  ~WatchTest() override { End(); }
  // Until timers were looked at, and attempts observed, at the present time.
  void LetItLook() {
    const int before = looks_;
    WaitUntil("it has looked", [&] { return looks_ >= before + 10 || launcher.AllAlive() == 0; });
  }
  static v1::Job WithLimit(std::chrono::seconds limit) {
    v1::Job spec = TestSpec();
    spec.mutable_resources()->mutable_time_limit()->set_seconds(limit.count());
    return spec;
  }
  static v1::RankExit Completed() {
    v1::RankExit exit;
    exit.set_outcome(v1::ATTEMPT_OUTCOME_COMPLETED);
    return exit;
  }

  std::atomic<int> looks_ = 0;
};

TEST_F(WatchTest, ACalendarThatIsSetEndsNothingAndTheTimeLimitIsTheTimeThatPassed) {
  const int64_t job = SubmitRunning(WithLimit(minutes(50)));
  clock.Advance(minutes(10));
  for (const auto step : {hours(1), hours(12), -hours(20)}) {
    clock.SetWall(clock.Now() + step);
    LetItLook();
    EXPECT_EQ(StateOf(job), JobState::kRunning);
    EXPECT_EQ(View(job).used_time().seconds(), 600);
  }
  // Nor over an absence.
  End();
  clock.SetWall(clock.Now() + hours(30));
  clock.Advance(minutes(5));
  controller();
  LetItLook();
  EXPECT_EQ(StateOf(job), JobState::kRunning);
  EXPECT_EQ(View(job).used_time().seconds(), 900);
  clock.Advance(minutes(36));
  WaitForState(job, JobState::kFailed);
  EXPECT_EQ(View(job).failure().class_(), v1::Failure::TIMEOUT);
}

TEST_F(WatchTest, ACalendarThatIsSetNeitherShortensNorLengthensTheWaitBeforeARestart) {
  const int64_t job = SubmitRunning();
  launcher.End({job, 1}, FakeLauncher::Killed());
  WaitForState(job, JobState::kRecovering);
  clock.SetWall(clock.Now() + hours(1));
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(StateOf(job), JobState::kRecovering);
  EXPECT_EQ(FromProto(View(job).retry_time()), clock.Now() + seconds(10)) << "by today's calendar";
  clock.SetWall(clock.Now() - hours(48));
  clock.Advance(seconds(11));
  WaitForAttempt(job, 2);
}

TEST_F(WatchTest, ACalendarThatIsSetAheadMakesNoEndedJobOldEnoughToBeForgotten) {
  options.retention.ended_jobs = hours(24);
  options.retention_every = std::chrono::milliseconds(0);
  const int64_t job = SubmitRunning();
  launcher.End({job, 1}, FakeLauncher::Ended(0));
  WaitForState(job, JobState::kSucceeded);
  clock.SetWall(clock.Now() + hours(24 * 400));
  const int64_t other = SubmitRunning();
  LetItLook();
  EXPECT_EQ(StateOf(job), JobState::kSucceeded);
  clock.Advance(hours(25));
  WaitUntil("it is forgotten", [&] { return ErrorOf([&] { Get(job); }) != ""; });
  Act(other, EventKind::kKill);
}

TEST_F(WatchTest, ACoordinatorThatWasStoppedHoldsItAgainstNobody) {
  options.longest_tick = seconds(5);
  v1::Job spec = WithLimit(hours(10));
  spec.mutable_resources()->set_processes(2);
  const int64_t running = SubmitRunning(spec), starting = Submit();
  WaitForAttempt(starting, 1);
  // Stopped for longer than any silence is borne, it wakes before anybody has spoken.
  clock.Advance(hours(7));
  LetItLook();
  EXPECT_EQ(StateOf(running), JobState::kRunning);
  EXPECT_EQ(View(running).liveness(), v1::Job::LIVE);
  EXPECT_EQ(StateOf(starting), JobState::kStarting);
  EXPECT_THAT(lines, Contains(HasSubstr("this process did not run for 25200 s")));
  // What the job used it used.
  EXPECT_EQ(View(running).used_time().seconds(), 7 * 3600);
  clock.Advance(hours(4));
  LetItLook();
  WaitUntil("its own time is up", [&] { return StateOf(running) == JobState::kFailed; });
  // Every such leap counts a little, so that nothing is excused for ever.
  for (int i = 0; i < 30 && StateOf(starting) == JobState::kStarting; ++i) {
    clock.Advance(minutes(1));
    LetItLook();
  }
  EXPECT_NE(StateOf(starting), JobState::kStarting);
}

TEST_F(WatchTest, TheTimeInABatchSystemsQueueIsNotThatOfTheJob) {
  launcher.waiting = true;
  // The clock leaps over many looks.
  options.job_policy.start_limit = hours(2);
  const int64_t job = Submit(WithLimit(hours(1)));
  WaitForAttempt(job, 1);
  for (int i = 0; i < 3; ++i) {
    clock.Advance(minutes(50));
    LetItLook();
    EXPECT_EQ(StateOf(job), JobState::kStarting);
    EXPECT_EQ(View(job).used_time().seconds(), 0) << "nor does it look like that";
  }
  // Nor does it become a start because the batch system cannot be asked.
  launcher.silent = true;
  for (int i = 0; i < 3; ++i) {
    LetItLook();
    clock.Advance(minutes(50));
    LetItLook();
    EXPECT_EQ(StateOf(job), JobState::kStarting);
  }
  launcher.silent = false;
  LetItLook();
  // The next coordinator does not count it either.
  End();
  clock.Advance(hours(2));
  controller();
  LetItLook();
  EXPECT_EQ(StateOf(job), JobState::kStarting);
  launcher.waiting = false;
  LetItLook();
  Register({job, 1});
  EXPECT_EQ(StateOf(job), JobState::kRunning);
  EXPECT_EQ(View(job).used_time().seconds(), 0);
}

TEST_F(WatchTest, AQueueThatCannotBeAskedAfterARestartEndsNoStartAndItsTimeIsNotUsed) {
  options.places = false;
  launcher.waiting = true;
  options.job_policy.start_limit = hours(2);
  const int64_t job = Submit(WithLimit(hours(1)));
  WaitForAttempt(job, 1);
  LetItLook();
  End();
  launcher.silent = true;
  clock.Advance(hours(3));
  controller();
  for (int i = 0; i < 5; ++i) {
    clock.Advance(minutes(50));
    LetItLook();
    EXPECT_EQ(StateOf(job), JobState::kStarting);
  }
  // It began meanwhile, as is seen when the queue can be asked again: the job has used that time.
  launcher.began = (clock.Now() - minutes(20)).time_since_epoch().count();
  launcher.silent = launcher.waiting = false;
  LetItLook();
  EXPECT_EQ(View(job).used_time().seconds(), 20 * 60);
  Register({job, 1});
  launcher.lost = true;
  WaitUntil("it is said",
            [&] { return View(job).pending().message() == "the node n1 does not answer"; });
  EXPECT_EQ(StateOf(job), JobState::kRunning);
  launcher.lost = false;
  WaitUntil("and taken back", [&] { return View(job).pending().message().empty(); });
  launcher.End({job, 1}, FakeLauncher::Ended(0));
  WaitForState(job, JobState::kSucceeded);
  EXPECT_EQ(View(job).used_time().seconds(), 20 * 60);
}

// The limit of a start would only say that nobody registered, and start the job again.
TEST_F(WatchTest, TheRecordOfAnEndIsWaitedForLongerThanAStartMayTake) {
  options.places = false;
  const int64_t job = Submit();
  WaitForAttempt(job, 1);
  launcher.awaited = true;
  for (int i = 0; i < 4; ++i) {
    LetItLook();
    clock.Advance(seconds(110));
  }
  LetItLook();
  EXPECT_EQ(StateOf(job), JobState::kStarting);
  EXPECT_EQ(View(job).pending().message(), "its exit record is waited for");
  EXPECT_EQ(View(job).used_time().seconds(), 0);
  v1::ExitRecord refused;
  refused.set_cause(v1::ExitRecord::NOT_STARTED);
  refused.set_message("syncbn: no such file");
  *refused.mutable_end_time() = ToProto(clock.Now());
  launcher.End({job, 1}, refused);
  WaitForState(job, JobState::kFailed);
  EXPECT_THAT(View(job).failure().message(), HasSubstr("syncbn: no such file"));
}

TEST_F(WatchTest, TheWaitForTheRecordOfAnEndIsNoTimeOfTheJobs) {
  options.places = false;
  const int64_t job = SubmitRunning(WithLimit(minutes(10)));
  clock.Advance(minutes(9));
  LetItLook();
  launcher.awaited = true;
  LetItLook();
  const WallTime end = clock.Now();
  // Longer than the limit leaves, and than ranks may be silent.
  for (int i = 0; i < 4; ++i) {
    clock.Advance(minutes(5));
    LetItLook();
    EXPECT_EQ(StateOf(job), JobState::kRunning);
  }
  // Nobody can be asked: it has ended all the same.
  launcher.silent = true;
  clock.Advance(minutes(5));
  LetItLook();
  EXPECT_EQ(StateOf(job), JobState::kRunning);
  launcher.silent = false;
  v1::ExitRecord record = FakeLauncher::Ended(1, "ValueError: of the program's own");
  *record.mutable_end_time() = ToProto(end);
  launcher.End({job, 1}, record);
  WaitForState(job, JobState::kFailed);
  EXPECT_EQ(View(job).failure().class_(), v1::Failure::USER) << View(job).failure().message();
  EXPECT_EQ(View(job).used_time().seconds(), 9 * 60);
}

TEST_F(WatchTest, AnEndThatWasNoneAfterAllIsHeldToTheTimeLimitAgain) {
  options.places = false;
  const int64_t job = SubmitRunning(WithLimit(minutes(10)));
  launcher.awaited = true;
  LetItLook();
  clock.Advance(minutes(11));
  LetItLook();
  EXPECT_EQ(StateOf(job), JobState::kRunning);
  launcher.awaited = false;
  WaitForState(job, JobState::kFailed);
  EXPECT_EQ(View(job).failure().class_(), v1::Failure::TIMEOUT);
}

TEST_F(WatchTest, AnAttemptThatWasGivenUpIsEndedWhileItsJobIsAtTheNext) {
  launcher.obedient = false;
  launcher.unreachable = true;
  const int64_t job = Submit();
  WaitForAttempt(job, 1);
  // One whose folder is gone was deleted with its job.
  AttemptFolder(store.folder() / AttemptName(job, 1)).Create({});
  LetItLook();
  clock.Advance(seconds(121));
  WaitForState(job, JobState::kRecovering);
  WaitUntil("it is told", [&] { return !launcher.Get({job, 1}).stops.empty(); });
  clock.Advance(minutes(4));
  WaitUntil("force is tried", [&] { return launcher.Get({job, 1}).forced == 1; });
  clock.Advance(seconds(31));
  WaitUntil("it is given up", [&] { return !Get(job).status.attempt_live; });
  clock.Advance(seconds(11));
  WaitForAttempt(job, 2);
  Register({job, 2});
  EXPECT_EQ(StateOf(job), JobState::kRunning);
  launcher.unreachable = false;
  clock.Advance(seconds(31));
  WaitUntil("it is ended", [&] { return !launcher.IsAlive({job, 1}); });
  EXPECT_TRUE(launcher.IsAlive({job, 2}));
  launcher.End({job, 2}, FakeLauncher::Ended(0));
  WaitForState(job, JobState::kSucceeded);
}

TEST_F(WatchTest, WhatNeverLeftTheQueueHasUsedNothing) {
  options.places = false;
  launcher.waiting = true;
  const int64_t job = Submit();
  WaitForAttempt(job, 1);
  LetItLook();
  End();
  clock.Advance(hours(3));
  v1::ExitRecord refused;
  refused.set_cause(v1::ExitRecord::NOT_STARTED);
  *refused.mutable_end_time() = ToProto(clock.Now());
  launcher.End({job, 1}, refused);
  controller();
  WaitForState(job, JobState::kFailed);
  EXPECT_EQ(View(job).used_time().seconds(), 0);
}

TEST_F(WatchTest, AJobThatTrainsUnheardIsNotEndedAndSaysWhereItsWorkersLookForTheCoordinator) {
  const int64_t job = Submit();
  WaitForAttempt(job, 1);
  for (int i = 0; i < 12; ++i) {
    LetItLook();
    ++launcher.written;
    LetItLook();
    clock.Advance(seconds(50));
  }
  LetItLook();
  EXPECT_EQ(StateOf(job), JobState::kStarting);
  EXPECT_EQ(
      View(job).pending().message(),
      "rank 0 on node1 cannot be heard, but what they leave on disk grows: they cannot reach the "
      "coordinator at here:7700 (its --advertise, --worker-ca); what they report is taken in at "
      "their end");
  launcher.End({job, 1}, FakeLauncher::Ended(0));
  WaitForState(job, JobState::kSucceeded);
  // One that says nothing is ended as before.
  const int64_t mute = Submit();
  WaitForAttempt(mute, 1);
  LetItLook();
  clock.Advance(seconds(121));
  WaitForState(mute, JobState::kRecovering);
}

TEST_F(WatchTest, ALoneRankThatFreezesIsAStallAndItsJobStartsAgain) {
  launcher.activity = RankActivity{1, seconds(9)};
  const int64_t job = SubmitRunning();
  controller().Heartbeat({job, 1}, 0, {.heartbeat = {.step = 4, .progress = 4}});
  for (int i = 0; i < 32 && StateOf(job) == JobState::kRunning; ++i) {
    const int before = launcher.Looks();
    clock.Advance(seconds(31));
    if (i == 0) continue;
    WaitUntil("it looks at the rank",
              [&] { return launcher.Looks() > before || StateOf(job) != JobState::kRunning; });
  }
  WaitForState(job, JobState::kRecovering);
  WaitUntil("it has ended", [&] { return !Get(job).status.attempt_live; });
  EXPECT_EQ(View(job).failure().class_(), v1::Failure::STALL);
  EXPECT_THAT(View(job).failure().message(),
              HasSubstr("the processors have done nothing for them"));
  clock.Advance(seconds(11));
  WaitForAttempt(job, 2);
}

TEST_F(WatchTest, ALauncherThatDoesNotEndAfterItsRanksIsEndedAndTheJobHasSucceeded) {
  launcher.obedient = false;
  const int64_t job = SubmitRunning();
  controller().ReportExit({job, 1}, 0, Completed());
  clock.Advance(seconds(121));
  WaitUntil("it is told", [&] { return !launcher.Get({job, 1}).stops.empty(); });
  launcher.End({job, 1}, FakeLauncher::Stopped());
  WaitForState(job, JobState::kSucceeded);
  EXPECT_THAT(launcher.Get({job, 1}).stops, ElementsAre(StopLevel::kTerminate));
}

TEST_F(WatchTest, TheNextCoordinatorKnowsWhichRanksHaveLeft) {
  v1::Job spec = TestSpec();
  spec.mutable_resources()->set_processes(2);
  const int64_t job = SubmitRunning(spec);
  controller().ReportExit({job, 1}, 0, Completed());
  End();
  controller();
  for (int i = 0; i < 3; ++i) {
    clock.Advance(seconds(20));
    controller().Heartbeat({job, 1}, 1, {.heartbeat = {.step = i, .progress = i}});
    LetItLook();
    EXPECT_EQ(View(job).liveness(), v1::Job::LIVE);
  }
}

TEST_F(WatchTest, AnAttemptThatCanNeverBeObservedEndsAllTheSameAndIsNotComplainedOfAtEveryLook) {
  launcher.on_observe = [this](const AttemptRef&) {
    ++looks_;
    throw std::runtime_error("temp_directory_path: Not a directory");
  };
  launcher.unreachable = true;
  const int64_t job = SubmitRunning();
  LetItLook();
  Act(job, EventKind::kCancel);
  clock.Advance(minutes(4));
  WaitUntil("force is tried", [&] { return launcher.Get({job, 1}).forced == 1; });
  clock.Advance(seconds(31));
  WaitForState(job, JobState::kCancelled);
  std::lock_guard lock(mutex);
  const auto complaints = std::count_if(lines.begin(), lines.end(), [](const std::string& line) {
    return line.find("Not a directory") != std::string::npos;
  });
  // Again only after something else was tried.
  EXPECT_GE(complaints, 1);
  EXPECT_LE(complaints, 2);
}

TEST_F(WatchTest, PointsThatWereLostAtTheEndAreCountedInTheStoreAndInTheProgressAlike) {
  v1::Job spec = TestSpec();
  spec.mutable_resources()->set_processes(2);
  const int64_t job = SubmitRunning(spec);
  controller().ReportMetrics({job, 1}, 0, TestBatch(1, 6));
  v1::MetricBatch gap = TestBatch(10, 3);
  gap.set_lost_before(3);
  controller().ReportMetrics({job, 1}, 0, gap);
  // The disk filled up in the last seconds: no batch tells of what follows 12, or of rank 1 at all.
  v1::RankExit exit = Completed();
  exit.set_lost_points(8);
  exit.set_last_sequence(17);
  controller().ReportExit({job, 1}, 0, exit);
  controller().ReportExit({job, 1}, 0, exit);
  exit.set_lost_points(2);
  exit.set_last_sequence(2);
  controller().ReportExit({job, 1}, 1, exit);
  const auto listed = [&] {
    return store.Read([&](Tables& tables) { return tables.metrics.ListSeries(job).lost_points(); });
  };
  EXPECT_EQ(listed(), 10);
  EXPECT_EQ(View(job).progress().lost_points(), 10);
  launcher.End({job, 1}, FakeLauncher::Ended(0));
  WaitForState(job, JobState::kSucceeded);
  EXPECT_EQ(listed(), 10);
  EXPECT_EQ(View(job).progress().lost_points(), 10);
}

TEST(NewestRevisions, OlderOnesAreKnownAndJobsThatEndedLongAgoAreForgotten) {
  NewestRevisions revisions(3);
  for (int64_t job = 1; job <= 1000; ++job) {
    EXPECT_TRUE(revisions.Advance(job, 1, false));
    EXPECT_TRUE(revisions.Advance(job, 3, true));
    EXPECT_FALSE(revisions.Advance(job, 2, false)) << "noted late";
    EXPECT_LE(revisions.size(), 4u);
  }
  // One that was retried is not forgotten for its first end.
  EXPECT_TRUE(revisions.Advance(1000, 4, false));
  for (int64_t job = 1001; job <= 1010; ++job) revisions.Advance(job, 1, true);
  EXPECT_FALSE(revisions.Advance(1000, 3, true));
}

}  // namespace
}  // namespace syncbn::coordinator
