// What the controller does by itself: orders, failures, silence, and its successor's first look.
#include <random>

#include "coordinator/api_error.h"
#include "coordinator/launch/attempt_folder.h"
#include "tests/coordinator/control/controller_fixture.h"

namespace syncbn::coordinator {
namespace {

using std::chrono::seconds;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST_F(ControllerTest, FailuresOfTheMachineryAreRetriedWithGrowingDelaysUntilTheBudgetIsSpent) {
  v1::Job spec = TestSpec();
  spec.mutable_resources()->set_max_retries(2);
  const int64_t job = Submit(spec);
  for (const int delay : {10, 20}) {
    WaitUntil("an attempt lives", [&] { return launcher.AllAlive() == 1; });
    launcher.End({job, Get(job).status.attempt}, FakeLauncher::Killed());
    WaitForState(job, JobState::kRecovering);
    EXPECT_EQ(FromProto(View(job).retry_time()), clock.Now() + seconds(delay));
    clock.Advance(seconds(delay - 1));
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_EQ(StateOf(job), JobState::kRecovering);
    clock.Advance(seconds(2));
  }
  WaitForAttempt(job, 3);
  launcher.End({job, 3}, FakeLauncher::Killed());
  WaitForState(job, JobState::kFailed);
  EXPECT_THAT(View(job).failure().message(), HasSubstr("(after 2 restarts)"));
  EXPECT_EQ(View(job).failure().class_(), v1::Failure::INFRA);
  EXPECT_EQ(Ends(job), 1);
  // By hand it gets a new budget.
  Act(job, EventKind::kRetry);
  WaitForAttempt(job, 4);
  launcher.End({job, 4}, FakeLauncher::Ended(0));
  WaitForState(job, JobState::kSucceeded);
}

TEST_F(ControllerTest, AFailureOfTheProgramIsNotRetried) {
  const int64_t job = SubmitRunning();
  launcher.End({job, 1}, FakeLauncher::Ended(3));
  WaitForState(job, JobState::kFailed);
  EXPECT_EQ(View(job).failure().class_(), v1::Failure::USER);
  EXPECT_EQ(AttemptOf(job, 1).failure().class_(), v1::Failure::USER);
  EXPECT_EQ(View(job).failure().attempt(), 1);
}

TEST_F(ControllerTest, WhatWorkersCouldNotDeliverIsTakenInBeforeTheirEndIsJudged) {
  options.ingest_spool = [this](const AttemptRef& attempt) {
    v1::RankExit exit;
    exit.set_outcome(v1::ATTEMPT_OUTCOME_FAILED);
    exit.set_error_code("INVALID_ARGUMENT");
    exit.set_message("no data in /data/cifar");
    controller_->ReportExit(attempt.id, 0, exit);
    EXPECT_EQ(controller_->ReportMetrics(attempt.id, 0, TestBatch(1, 6)), 6);
  };
  const int64_t job = SubmitRunning();
  launcher.End({job, 1}, FakeLauncher::Ended(2));
  WaitForState(job, JobState::kFailed);
  EXPECT_EQ(View(job).failure().class_(), v1::Failure::CONFIG);
  EXPECT_EQ(View(job).failure().message(), "rank 0: no data in /data/cifar");
  EXPECT_EQ(AllPoints(store, job).size(), 6u);
}

TEST_F(ControllerTest, TheProgressOfAJobThatEndedUnseenIsThatOfItsSpool) {
  options.ingest_spool = [this](const AttemptRef& attempt) {
    v1::RankExit exit;
    exit.set_outcome(v1::ATTEMPT_OUTCOME_COMPLETED);
    exit.set_step(2000);
    exit.set_checkpoint_step(1995);
    exit.set_total_steps(2000);
    exit.set_epoch(4);
    store.Write([&](Tables& tables) { tables.attempts.PutRankExit(attempt.id, 0, exit); });
  };
  const int64_t job = SubmitRunning();
  launcher.End({job, 1}, FakeLauncher::Ended(0));
  WaitForState(job, JobState::kSucceeded);
  EXPECT_EQ(View(job).progress().step(), 2000);
  EXPECT_EQ(View(job).progress().checkpoint_step(), 1995);
  EXPECT_EQ(View(job).progress().total_steps(), 2000);
  EXPECT_EQ(View(job).progress().epoch(), 4);
}

TEST_F(ControllerTest, AnAttemptThatTheStoreDoesNotKnowIsEndedAndNamed) {
  // As after a backup from before it was restored.
  const AttemptRef unknown{{77, 1}, store.folder() / "jobs/77/attempts/1"};
  AttemptFolder(unknown.folder).Create({});
  launcher.Start({.attempt = unknown});
  const int64_t job = SubmitRunning();
  WaitUntil("the stranger is ended", [&] { return !launcher.IsAlive({77, 1}); });
  EXPECT_THAT(launcher.Get({77, 1}).stops, ElementsAre(StopLevel::kTerminate));
  EXPECT_THAT(lines, Contains("jobs/77/attempts/1 is under way, but the store does not know it (was a "
                              "backup from before it restored?): it is being ended"));
  EXPECT_TRUE(launcher.IsAlive({job, 1}));
  // One that the store knows is taken over as ever.
  AttemptFolder(store.folder() / AttemptName(job, 1)).Create({});
  End();
  controller();
  EXPECT_TRUE(launcher.IsAlive({job, 1}));
}

TEST_F(ControllerTest, AJobThatEndedWhileTheCoordinatorWasAwayEndedThenAndUsedSoMuch) {
  const int64_t job = SubmitRunning();
  End();
  const WallTime start = clock.Now();
  clock.Advance(std::chrono::minutes(3));
  v1::ExitRecord record = FakeLauncher::Ended(0);
  *record.mutable_end_time() = ToProto(clock.Now());
  launcher.End({job, 1}, record);
  clock.Advance(std::chrono::hours(8));
  controller();
  WaitForState(job, JobState::kSucceeded);
  EXPECT_EQ(FromProto(View(job).end_time()), start + std::chrono::minutes(3));
  EXPECT_EQ(View(job).used_time().seconds(), 180);
  EXPECT_EQ(FromProto(AttemptOf(job, 1).end_time()), start + std::chrono::minutes(3));
}

TEST_F(ControllerTest, ASpoolThatCannotBeReadDoesNotKeepTheJobFromEnding) {
  options.ingest_spool = [](const AttemptRef&) {
    throw Error(ErrorCode::kDataLoss, "the spool is damaged");
  };
  const int64_t job = SubmitRunning();
  launcher.End({job, 1}, FakeLauncher::Ended(0));
  WaitForState(job, JobState::kSucceeded);
  EXPECT_THAT(lines, Contains(HasSubstr("the spool is damaged")));
}

TEST_F(ControllerTest, AHostOnWhichAttemptsKeepDyingIsExcludedAndTheOthersGoOn) {
  options.hosts = {{.name = "node1", .slots = 2}, {.name = "node2", .slots = 1}};
  v1::Job spec = TestSpec();
  spec.mutable_resources()->add_hosts("node2");
  for (int i = 0; i < 3; ++i) {
    const int64_t job = Submit(spec);
    WaitForAttempt(job, 1);
    launcher.End({job, 1},
                 FakeLauncher::Ended(137,
                                     "mpirun noticed that process rank 0 with PID 0 on node "
                                     "node2 exited on signal 9 (Killed).\n"));
    WaitForState(job, JobState::kRecovering);
    Act(job, EventKind::kCancel);
  }
  const int64_t waiting = Submit(spec);
  WaitUntil("it waits for its host",
            [&] { return View(waiting).pending().code() == v1::PendingReason::HOSTS; });
  EXPECT_THAT(controller().Hosts().at(1).capacity.unusable, HasSubstr("excluded until"));
  const int64_t free = Submit();
  WaitForAttempt(free, 1);
  EXPECT_THAT(launcher.Get({free, 1}).request.placement, ElementsAre(Share{"node1", 1}));
  // The next coordinator remembers; time heals.
  End();
  EXPECT_THAT(controller().Hosts().at(1).capacity.unusable, HasSubstr("excluded until"));
  clock.Advance(std::chrono::minutes(31));
  WaitForAttempt(waiting, 1);
}

TEST_F(ControllerTest, AStallEndsTheAttemptNamesTheRankThatIsBehindAndTheJobStartsAgain) {
  v1::Job spec = TestSpec();
  spec.mutable_resources()->set_processes(2);
  const int64_t job = SubmitRunning(spec);
  const auto beat = [&] {
    controller().Heartbeat({job, 1}, 0,
                           {.heartbeat = {.phase = "train", .step = 4, .reduction = 41}});
    controller().Heartbeat(
        {job, 1}, 1,
        {.heartbeat = {.phase = "train", .step = 4, .reduction = 40, .reduction_name = "bn1"}});
  };
  // Both are heard all the time, and neither moves.
  for (int i = 0; i < 31 && StateOf(job) == JobState::kRunning; ++i) {
    beat();
    clock.Advance(seconds(20));
    std::this_thread::sleep_for(std::chrono::milliseconds(3));
  }
  WaitForState(job, JobState::kRecovering);
  WaitUntil("it has ended", [&] { return !Get(job).status.attempt_live; });
  EXPECT_THAT(launcher.Get({job, 1}).stops, Contains(StopLevel::kTerminate));
  const v1::Failure failure = View(job).failure();
  EXPECT_EQ(failure.class_(), v1::Failure::STALL);
  EXPECT_THAT(failure.ranks(), ElementsAre(1));
  EXPECT_THAT(failure.message(), HasSubstr("rank 1 stands at reduction 40 (bn1)"));
  EXPECT_EQ(AttemptOf(job, 1).failure().class_(), v1::Failure::STALL);
  clock.Advance(seconds(11));
  WaitForAttempt(job, 2);
}

TEST_F(ControllerTest, SilenceIsShownAndEndsNothing) {
  const int64_t job = SubmitRunning();
  clock.Advance(seconds(31));
  WaitUntil("it is stale", [&] { return View(job).liveness() == v1::Job::STALE; });
  clock.Advance(std::chrono::minutes(5));
  WaitUntil("it is unreachable", [&] { return View(job).liveness() == v1::Job::UNREACHABLE; });
  controller().Heartbeat({job, 1}, 0, {.heartbeat = {.step = 1}});
  WaitUntil("it is live", [&] { return View(job).liveness() == v1::Job::LIVE; });
  EXPECT_EQ(StateOf(job), JobState::kRunning);
}

TEST_F(ControllerTest, RanksThatDoNotRegisterInTimeEndTheAttempt) {
  const int64_t job = Submit();
  WaitForAttempt(job, 1);
  clock.Advance(seconds(121));
  WaitUntil("it has ended", [&] { return launcher.AllAlive() == 0; });
  WaitForState(job, JobState::kRecovering);
  WaitUntil("it says why", [&] { return View(job).has_failure(); });
  EXPECT_EQ(
      View(job).failure().message(),
      "not all ranks had registered after 2 min (missing: rank 0 on node1): either they did not "
      "start, or they cannot reach the coordinator at here:7700 (its --advertise, --worker-ca)");
}

TEST_F(ControllerTest, AnAttemptThatDoesNotEndIsForcedThenGivenUpAndItsHostNamed) {
  launcher.obedient = false;
  launcher.unreachable = true;
  const int64_t job = SubmitRunning();
  Act(job, EventKind::kCancel);
  WaitUntil("it is told", [&] { return !launcher.Get({job, 1}).stops.empty(); });
  clock.Advance(std::chrono::minutes(4));
  WaitUntil("force is tried", [&] { return launcher.Get({job, 1}).forced == 1; });
  EXPECT_EQ(StateOf(job), JobState::kCancelling);
  clock.Advance(seconds(31));
  WaitForState(job, JobState::kCancelled);
  EXPECT_THAT(View(job).possibly_held_hosts(), ElementsAre("node1"));
  EXPECT_THAT(AttemptOf(job, 1).possibly_held_hosts(), ElementsAre("node1"));
}

TEST_F(ControllerTest, AnAttemptThatWasGivenUpIsEndedAsSoonAsItCanBeAlsoByTheNextCoordinator) {
  launcher.obedient = false;
  launcher.unreachable = true;
  for (const bool restarted : {false, true}) {
    launcher.unreachable = true;
    const int64_t job = SubmitRunning();
    AttemptFolder(store.folder() / AttemptName(job, 1)).Create({});
    Act(job, EventKind::kCancel);
    WaitUntil("it is told", [&] { return !launcher.Get({job, 1}).stops.empty(); });
    clock.Advance(std::chrono::minutes(4));
    WaitUntil("force is tried", [&] { return launcher.Get({job, 1}).forced == 1; });
    clock.Advance(seconds(31));
    WaitForState(job, JobState::kCancelled);
    WaitUntil("it is tried again", [&] { return launcher.Get({job, 1}).forced == 2; });
    EXPECT_TRUE(launcher.IsAlive({job, 1}));
    if (restarted) {
      End();
      controller();
      WaitUntil("the next one tries, too", [&] { return launcher.Get({job, 1}).forced == 3; });
    }
    launcher.unreachable = false;
    clock.Advance(seconds(31));
    WaitUntil("it is ended", [&] { return !launcher.IsAlive({job, 1}); });
    EXPECT_EQ(StateOf(job), JobState::kCancelled);
    AttemptFolder(store.folder() / AttemptName(job, 1)).WriteExit(FakeLauncher::Stopped());
    const int forced = launcher.Get({job, 1}).forced;
    clock.Advance(seconds(61));
    const int64_t other = SubmitRunning();
    EXPECT_EQ(launcher.Get({job, 1}).forced, forced) << "and that was all";
    launcher.End({other, 1}, FakeLauncher::Ended(0));
    WaitForState(other, JobState::kSucceeded);
  }
}

TEST_F(ControllerTest, AStartThatNeverCanWorkFailsTheJobAndOneThatMayIsTriedAgain) {
  std::atomic<int> tries = 0;
  launcher.on_start = [&](const LaunchRequest& request) {
    if (request.attempt.id.job == 1) throw Error(ErrorCode::kInvalidArgument, "no such mca");
    if (++tries == 1) throw Error(ErrorCode::kUnavailable, "fork failed");
  };
  const int64_t never = Submit(), later = Submit();
  WaitForState(never, JobState::kFailed);
  EXPECT_EQ(View(never).failure().class_(), v1::Failure::CONFIG);
  EXPECT_EQ(View(never).failure().message(), "the attempt could not be started: no such mca");
  WaitForState(later, JobState::kRecovering);
  EXPECT_EQ(View(later).failure().message(), "the attempt could not be started: fork failed");
  clock.Advance(seconds(11));
  WaitForAttempt(later, 2);
  EXPECT_EQ(launcher.Starts({later, 1}), 0);
}

TEST_F(ControllerTest, AFailedStartKeepsItsReasonAlsoWhenTheFirstLookAtItFails) {
  std::atomic<int> looks = 0;
  launcher.on_start = [](const LaunchRequest&) {
    throw Error(ErrorCode::kInvalidArgument, "no such mca");
  };
  launcher.on_observe = [&](const AttemptRef&) {
    if (++looks == 1) throw Error(ErrorCode::kUnavailable, "the disk does not answer");
  };
  const int64_t job = Submit();
  WaitForState(job, JobState::kFailed);
  EXPECT_EQ(View(job).failure().message(), "the attempt could not be started: no such mca");
}

TEST_F(ControllerTest, AJobCancelledBeforeItsStartWasItsTurnNeverStarts) {
  options.launcher_threads = 1;
  std::atomic<bool> go = false;
  launcher.on_start = [&](const LaunchRequest& request) {
    if (request.attempt.id.job == 1) WaitUntil("the test goes on", [&] { return go.load(); });
  };
  const int64_t slow = Submit(), cancelled = Submit();
  WaitForState(cancelled, JobState::kStarting);
  Act(cancelled, EventKind::kCancel);
  EXPECT_EQ(StateOf(cancelled), JobState::kCancelling);
  go = true;
  WaitForAttempt(slow, 1);
  WaitForState(cancelled, JobState::kCancelled);
  EXPECT_EQ(launcher.Starts({cancelled, 1}), 0);
}

TEST_F(ControllerTest, AnAttemptThatWasRecordedAndNeverStartedCostsNoRetry) {
  options.launcher_threads = 1;
  std::atomic<bool> go = false;
  launcher.on_start = [&](const LaunchRequest& request) {
    if (request.attempt.id.job == 1) WaitUntil("the test goes on", [&] { return go.load(); });
  };
  Submit();
  const int64_t job = Submit();
  WaitForState(job, JobState::kStarting);
  // Its start waits behind the other one's when the coordinator ends. What ends lets go of nothing
  // that shows it, so that it gets the time for its first words.
  std::atomic<bool> begun = false;
  std::thread ending([&] {
    begun = true;
    End();
  });
  WaitUntil("the end has begun", [&] { return begun.load(); });
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  go = true;
  ending.join();
  EXPECT_EQ(launcher.Starts({job, 1}), 0);
  WaitForAttempt((controller(), job), 2);
  EXPECT_EQ(Get(job).status.retries, 0);
  EXPECT_THAT(Events(job), ElementsAre("CREATE", "PLACED", "NOT_STARTED", "PLACED"));
}

TEST_F(ControllerTest, AnAttemptThatCouldNotBeLookedAtAtTheStartIsLookedAtLater) {
  const int64_t job = SubmitRunning();
  End();
  std::atomic<int> looks = 0;
  launcher.on_observe = [&](const AttemptRef&) {
    if (++looks == 1) throw Error(ErrorCode::kUnavailable, "the disk does not answer");
  };
  launcher.End({job, 1}, FakeLauncher::Ended(0));
  controller();
  WaitForState(job, JobState::kSucceeded);
  EXPECT_EQ(Ends(job), 1);
}

TEST_F(ControllerTest, WorkersOfAnAdoptedAttemptGoOnWhereTheyWere) {
  const int64_t job = SubmitRunning();
  EXPECT_EQ(controller().ReportMetrics({job, 1}, 0, TestBatch(1, 4)), 4);
  const std::string token = Token({job, 1});
  End();
  clock.Advance(std::chrono::hours(7));
  controller();
  EXPECT_EQ(StateOf(job), JobState::kRunning) << "nobody was there to hear it";
  EXPECT_FALSE(controller().Heartbeat({job, 1}, 0, {.heartbeat = {.step = 3}}).register_again)
      << "who has registered is in the store";
  EXPECT_TRUE(controller().IsTokenOf({job, 1}, token));
  EXPECT_EQ(controller().Register({job, 1}, 0, {.processes = 1, .host = "node1", .pid = 9}), 4);
  EXPECT_EQ(controller().ReportMetrics({job, 1}, 0, TestBatch(1, 6)), 6);
  EXPECT_EQ(AllPoints(store, job).size(), 6u);
  const auto answer = controller().Heartbeat({job, 1}, 0, {.heartbeat = {.step = 3}});
  EXPECT_EQ(answer.desired, DesiredState::kRun);
  EXPECT_FALSE(answer.register_again);
}

// Coordinators end and begin all the time while jobs are submitted, started and end.
TEST_F(ControllerTest, HoweverOftenTheCoordinatorIsReplacedEveryJobEndsExactlyOnce) {
  constexpr int kJobs = 12;
  std::minstd_rand random(7);
  launcher.on_start = [](const LaunchRequest&) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  };
  std::vector<int64_t> jobs;
  const auto deadline = std::chrono::steady_clock::now() + seconds(60);
  int coordinators = 0;
  bool all_ended = false;
  while (!all_ended) {
    ASSERT_TRUE(std::chrono::steady_clock::now() < deadline) << [&] {
      std::string states;
      for (const int64_t job : jobs) {
        states += JobName(job) + " " + std::string(JobStateName(StateOf(job)));
        for (const std::string& event : Events(job)) states += " " + event;
        states += "\n";
      }
      return states;
    }();
    ++coordinators;
    controller();
    for (int i = 0; i < 2 && jobs.size() < kJobs; ++i) jobs.push_back(Submit());
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 6000));
    all_ended = jobs.size() == kJobs;
    for (const int64_t job : jobs) {
      const JobStatus status = Get(job).status;
      all_ended = all_ended && IsEnded(status.state);
      if (launcher.IsAlive({job, status.attempt}) && random() % 2 == 0)
        launcher.End({job, status.attempt}, FakeLauncher::Ended(0));
    }
    End();
  }
  for (const int64_t job : jobs) {
    EXPECT_EQ(StateOf(job), JobState::kSucceeded);
    EXPECT_EQ(Ends(job), 1);
    int started = 0;
    for (int attempt = 1; attempt <= Get(job).status.attempt; ++attempt)
      started += launcher.Starts({job, attempt});
    EXPECT_EQ(started, 1) << JobName(job) << " ran more than once";
  }
  EXPECT_EQ(launcher.AllAlive(), 0);
  std::printf("%d coordinators served %d jobs\n", coordinators, kJobs);
}

}  // namespace
}  // namespace syncbn::coordinator
