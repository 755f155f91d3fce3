// What users and workers can do, and what follows.
#include "coordinator/control/controller.h"

#include <future>
#include <set>

#include "coordinator/api_error.h"
#include "tests/coordinator/control/controller_fixture.h"

namespace syncbn::coordinator {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

template <typename Body>
std::string ReasonOf(Body&& body) {
  try {
    body();
  } catch (const ApiError& error) {
    return error.reason();
  }
  return "";
}

TEST_F(ControllerTest, AJobIsPlacedStartedHeardAndEnds) {
  v1::Job spec = TestSpec();
  spec.mutable_resources()->set_processes(2);
  const int64_t job = Submit(spec);
  WaitForAttempt(job, 1);
  EXPECT_EQ(StateOf(job), JobState::kStarting);
  const LaunchRequest request = launcher.Get({job, 1}).request;
  EXPECT_THAT(request.placement, ElementsAre(Share{"node1", 2}));
  EXPECT_EQ(request.marker, store.id() + "/" + AttemptName(job, 1));
  EXPECT_EQ(controller().Hosts().at(0).used_slots, 2);

  // As after a store was restored that knows the attempt and nothing that came after its start.
  EXPECT_TRUE(
      controller().Heartbeat({job, 1}, 1, {.heartbeat = {.phase = "load"}}).register_again);
  EXPECT_EQ(controller().Register({job, 1}, 0,
                                  {.processes = 2, .host = "node1", .pid = 7, .total_steps = 90}),
            0);
  EXPECT_EQ(StateOf(job), JobState::kStarting);
  controller().Register({job, 1}, 1, {.processes = 2, .host = "node1", .pid = 8});
  EXPECT_EQ(StateOf(job), JobState::kRunning);
  EXPECT_TRUE(AttemptOf(job, 1).has_running_time());

  EXPECT_EQ(
      controller().Heartbeat({job, 1}, 1, {.heartbeat = {.phase = "train", .step = 5}}).desired,
      DesiredState::kRun);
  EXPECT_EQ(View(job).progress().step(), 5);
  EXPECT_EQ(View(job).progress().total_steps(), 90);
  EXPECT_EQ(controller().ReportMetrics({job, 1}, 1, TestBatch(1, 4)), 4);
  v1::RankExit exit;
  exit.set_outcome(v1::ATTEMPT_OUTCOME_COMPLETED);
  exit.set_step(90);
  controller().ReportExit({job, 1}, 0, exit);
  controller().ReportExit({job, 1}, 1, exit);
  launcher.End({job, 1}, FakeLauncher::Ended(0));
  WaitForState(job, JobState::kSucceeded);
  EXPECT_EQ(Get(job).progress.step(), 90) << "the last report is not lost with the job's end";
  const v1::Attempt attempt = AttemptOf(job, 1);
  EXPECT_EQ(attempt.outcome(), v1::ATTEMPT_OUTCOME_COMPLETED);
  EXPECT_TRUE(attempt.has_end_time());
  EXPECT_THAT(Events(job), ElementsAre("CREATE", "PLACED", "REGISTERED", "ENDED"));
  WaitUntil("its slots are free", [&] { return controller().Hosts().at(0).used_slots == 0; });
}

TEST_F(ControllerTest, AJobThatEndsWellWithoutEverRegisteringHasSucceeded) {
  const int64_t job = Submit();
  WaitForAttempt(job, 1);
  launcher.End({job, 1}, FakeLauncher::Ended(0));
  WaitForState(job, JobState::kSucceeded);
}

TEST_F(ControllerTest, ValidateOnlyAnswersAndChangesNothing) {
  RequestInfo info = By("anna", "id-1", "digest");
  info.validate_only = true;
  const v1::Job answer = controller().Submit(TestSpec(), {"a", "b"}, info);
  EXPECT_EQ(answer.name(), "");
  EXPECT_EQ(answer.state(), v1::Job::QUEUED);
  EXPECT_EQ(store.Read([](Tables& tables) { return tables.jobs.Count(); }), 0);

  const int64_t job = SubmitRunning();
  EXPECT_EQ(controller().Act(job, {.verb = EventKind::kCancel}, info).state(), v1::Job::CANCELLING);
  EXPECT_EQ(StateOf(job), JobState::kRunning);
  EXPECT_EQ(ReasonOf([&] { controller().Act(job, {.verb = EventKind::kResume}, info); }),
            "WRONG_STATE");
  EXPECT_EQ(ReasonOf([&] { controller().Delete(job, "", info); }), "WRONG_STATE");
  controller().SetDrained("node1", true, "disk", info);
  EXPECT_FALSE(controller().Hosts().at(0).health.drained);
}

TEST_F(ControllerTest, ARequestThatComesTwiceGetsItsFirstAnswerAndIsDoneOnce) {
  const RequestInfo info = By("anna", "id-1", "digest");
  const v1::Job first = controller().Submit(TestSpec(), {"a", "b"}, info);
  WaitForAttempt(1, 1);
  const v1::Job second = controller().Submit(TestSpec(), {"a", "b"}, info);
  EXPECT_EQ(first.SerializeAsString(), second.SerializeAsString());
  EXPECT_EQ(store.Read([](Tables& tables) { return tables.jobs.Count(); }), 1);
  EXPECT_EQ(ReasonOf([&] {
              controller().Submit(TestSpec(), {"a", "b"}, By("anna", "id-1", "other"));
            }),
            "REQUEST_ID_REUSED");
  controller().Submit(TestSpec(), {"a", "b"}, By("bert", "id-1", "other"));

  const RequestInfo cancel = By("anna", "id-2", "digest");
  controller().Act(1, {.verb = EventKind::kCancel}, cancel);
  WaitForState(1, JobState::kCancelled);
  EXPECT_EQ(controller().Act(1, {.verb = EventKind::kCancel}, cancel).state(), v1::Job::CANCELLING);
  EXPECT_EQ(Ends(1), 1);
  const RequestInfo remove = By("anna", "id-3", "digest");
  controller().Delete(1, "", remove);
  controller().Delete(1, "", remove);
  EXPECT_EQ(ReasonOf([&] { Get(1); }), "JOB_NOT_FOUND");
}

TEST_F(ControllerTest, AnEtagOfAnEarlierStateIsRefusedWithThePresentOne) {
  const int64_t job = SubmitRunning();
  const std::string etag = View(job).etag();
  try {
    controller().Act(job, {.verb = EventKind::kPause, .etag = "r1"}, By("anna"));
    FAIL() << "no error";
  } catch (const ApiError& error) {
    EXPECT_EQ(error.reason(), "ETAG_MISMATCH");
    EXPECT_EQ(error.metadata().at("etag"), etag);
  }
  controller().Act(job, {.verb = EventKind::kPause, .etag = etag}, By("anna"));
  WaitForState(job, JobState::kPaused);
}

TEST_F(ControllerTest, WhatFitsInNoStateOfTheClusterIsRefusedAtOnce) {
  v1::Job spec = TestSpec();
  spec.mutable_resources()->set_processes(5);
  EXPECT_EQ(ReasonOf([&] { Submit(spec); }), "NEVER_FITS");
  EXPECT_THAT(ErrorOf([&] { Submit(spec); }), HasSubstr("the job can never run here: "));
  const int64_t job = Submit();
  WaitForAttempt(job, 1);
  Act(job, EventKind::kPause);
  WaitForState(job, JobState::kPaused);
  EXPECT_EQ(ReasonOf([&] {
              controller().Act(job, {.verb = EventKind::kResume, .resources = spec.resources()},
                               By("anna"));
            }),
            "NEVER_FITS");
  EXPECT_EQ(StateOf(job), JobState::kPaused);
}

TEST_F(ControllerTest, WaitingJobsSayWhyAndStartInOrder) {
  v1::Job wide = TestSpec("wide");
  wide.mutable_resources()->set_processes(3);
  const int64_t first = SubmitRunning(wide), second = Submit(wide);
  v1::Job urgent = wide;
  urgent.mutable_resources()->set_priority(10);
  const int64_t third = Submit(urgent);
  WaitUntil("both wait", [&] { return controller().Queue().size() == 2; });
  EXPECT_EQ(View(third).pending().position(), 1);
  EXPECT_EQ(View(third).pending().code(), v1::PendingReason::SLOTS);
  EXPECT_THAT(View(third).pending().message(), HasSubstr("needs 3 slots, 1 free"));
  EXPECT_THAT(View(third).pending().blocking_jobs(), ElementsAre(JobName(first)));
  EXPECT_EQ(View(second).pending().position(), 2);
  launcher.End({first, 1}, FakeLauncher::Ended(0));
  WaitForAttempt(third, 1);
  EXPECT_EQ(StateOf(second), JobState::kQueued);
  EXPECT_FALSE(View(third).has_pending());
  launcher.End({third, 1}, FakeLauncher::Ended(0));
  WaitForAttempt(second, 1);
}

TEST_F(ControllerTest, ADrainedHostGetsNothingNewUntilItIsRestored) {
  controller().SetDrained("node1", true, "disk swap", By("carla"));
  const int64_t job = Submit();
  WaitUntil("it says why", [&] { return View(job).pending().code() == v1::PendingReason::HOSTS; });
  EXPECT_THAT(controller().Hosts().at(0).capacity.unusable, HasSubstr("disk swap"));
  EXPECT_EQ(ReasonOf([&] { controller().SetDrained("node9", true, "", By("carla")); }),
            "HOST_NOT_FOUND");
  controller().SetDrained("node1", false, "", By("carla"));
  WaitForAttempt(job, 1);
}

TEST_F(ControllerTest, WorkersHearWhatBecomesOfTheirAttempt) {
  launcher.obedient = false;
  const auto hears = [&](int64_t job) {
    return controller()
        .Heartbeat({job, 1}, 0, {.heartbeat = {.phase = "train", .step = 1}})
        .desired;
  };
  const int64_t paused = SubmitRunning(), cancelled = SubmitRunning();
  EXPECT_EQ(hears(paused), DesiredState::kRun);
  Act(paused, EventKind::kPause);
  EXPECT_EQ(hears(paused), DesiredState::kPause);
  Act(paused, EventKind::kCancel);
  EXPECT_EQ(hears(paused), DesiredState::kCancel);
  Act(cancelled, EventKind::kKill);
  EXPECT_EQ(hears(cancelled), DesiredState::kKill);
}

TEST_F(ControllerTest, CallsOfAnAttemptThatIsNotTheLiveOneAreAborted) {
  const int64_t job = SubmitRunning();
  launcher.End({job, 1}, FakeLauncher::Killed());
  WaitForState(job, JobState::kRecovering);
  clock.Advance(std::chrono::seconds(11));
  WaitForAttempt(job, 2);
  const AttemptId old{job, 1};
  EXPECT_EQ(ReasonOf([&] { Register(old); }), "ATTEMPT_SUPERSEDED");
  EXPECT_EQ(ReasonOf([&] { controller().Heartbeat(old, 0, {}); }), "ATTEMPT_SUPERSEDED");
  EXPECT_EQ(ReasonOf([&] { controller().ReportMetrics(old, 0, TestBatch(1, 1)); }),
            "ATTEMPT_SUPERSEDED");
  EXPECT_EQ(ReasonOf([&] { controller().ReportExit(old, 0, {}); }), "ATTEMPT_SUPERSEDED");
  EXPECT_EQ(ReasonOf([&] { Register({99, 1}); }), "ATTEMPT_SUPERSEDED");
  Register({job, 2});
}

TEST_F(ControllerTest, AnAttemptsTokenIsGoodForThatAttemptOnly) {
  const int64_t job = SubmitRunning(), other = SubmitRunning();
  EXPECT_TRUE(controller().IsTokenOf({job, 1}, Token({job, 1})));
  EXPECT_FALSE(controller().IsTokenOf({job, 1}, Token({other, 1})));
  EXPECT_FALSE(controller().IsTokenOf({job, 1}, ""));
}

TEST_F(ControllerTest, ARankThatCannotBeIsRefused) {
  const int64_t job = SubmitRunning();
  EXPECT_EQ(ReasonOf([&] {
              controller().ReportMetrics({job, 1}, 1, TestBatch(1, 1));
            }),
            "FIELD_INVALID");
  EXPECT_EQ(ReasonOf([&] { controller().Heartbeat({job, 1}, -1, {}); }), "FIELD_INVALID");
  EXPECT_EQ(ErrorOf([&] {
              Register({job, 1}, 2);
            }),
            "INVALID_ARGUMENT: " + AttemptName(job, 1) +
                " was started with 1 process, but rank 0 sees 2");
}

TEST_F(ControllerTest, ADeletedJobIsGoneWithItsFolder) {
  const int64_t job = Submit();
  WaitForAttempt(job, 1);
  std::filesystem::create_directories(controller().FolderOf({job, 1}));
  EXPECT_EQ(ReasonOf([&] { controller().Delete(job, "", By("anna")); }), "WRONG_STATE");
  launcher.End({job, 1}, FakeLauncher::Ended(0));
  WaitForState(job, JobState::kSucceeded);
  controller().Delete(job, "", By("anna"));
  EXPECT_FALSE(std::filesystem::exists(store.folder() / JobName(job)));
}

TEST_F(ControllerTest, AJobThatDoesNotSayWhereItWritesGetsAFolderOfItsOwn) {
  const int64_t job = Submit();
  EXPECT_EQ(View(job).output_folder(), (options.output_root / ("job-" + std::to_string(job))));
}

// As after a backup was restored: the store knows less than there is on disk.
TEST_F(ControllerTest, ANumberOfWhichThereAreFoldersAlreadyIsNotGivenToAJob) {
  const int64_t first = Submit();
  std::filesystem::create_directories(controller().FolderOf({first + 1, 1}));
  std::filesystem::create_directories(options.output_root / ("job-" + std::to_string(first + 2)));
  std::filesystem::create_directories(options.output_root / ("job-" + std::to_string(first + 4)));
  const int64_t second = Submit();
  EXPECT_EQ(second, first + 3);
  EXPECT_EQ(View(second).output_folder(), options.output_root / ("job-" + std::to_string(second)));
  const auto history = store.Read([&](Tables& tables) { return tables.jobs.History(second, 0, 1); });
  const std::string text =
      "numbers " + std::to_string(first + 1) + " to " + std::to_string(first + 2) +
      " are passed over: folders of such jobs, which this store does not know, are there already";
  EXPECT_EQ(history.at(0).reason(), text);
  {
    std::lock_guard lock(mutex);
    EXPECT_THAT(lines, ::testing::Contains(JobName(second) + ": " + text));
  }
  EXPECT_EQ(Submit(), first + 5);
  EXPECT_EQ(Submit(), first + 6) << "its own folders are in nobody's way";
}

TEST_F(ControllerTest, AnAttemptDoesNotGetAFolderThatIsThereAlready) {
  const int64_t job = AddJob(store);
  for (const int attempt : {1, 2}) {
    std::filesystem::create_directories(store.folder() / AttemptName(job, attempt));
  }
  controller();
  WaitForAttempt(job, 3);
  const auto history = store.Read([&](Tables& tables) { return tables.jobs.History(job, 0, 10); });
  EXPECT_EQ(history.at(1).event(), "PLACED");
  EXPECT_EQ(history.at(1).reason(),
            "attempts before 3 have folders that this store does not know: passed over");
  EXPECT_EQ(AttemptOf(job, 3).name(), AttemptName(job, 3));
}

TEST_F(ControllerTest, OfTwoSubmissionsOfOneFolderAtTheSameMomentOneIsTaken) {
  controller();
  v1::Job spec = TestSpec();
  spec.set_output_folder("/shared/run");
  // Both are decided in the same round of the store's writer.
  std::promise<void> go, busy;
  std::thread writer([&] {
    store.Write([&](Tables&) {
      busy.set_value();
      go.get_future().wait();
    });
  });
  busy.get_future().wait();
  std::vector<std::string> errors(4);
  std::vector<std::thread> threads;
  for (std::string& error : errors)
    threads.emplace_back(
        [&] { error = ErrorOf([&] { controller().Submit(spec, {}, By("anna")); }); });
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  go.set_value();
  for (std::thread& thread : threads) thread.join();
  writer.join();
  EXPECT_EQ(std::ranges::count(errors, ""), 1);
  EXPECT_EQ(std::ranges::count(errors,
                               "ALREADY_EXISTS: output_folder /shared/run belongs to jobs/1: "
                               "choose another one"),
            3);
}

TEST_F(ControllerTest, AFolderThatDoesNotAnswerHoldsUpOnlyWhoAskedForIt) {
  std::promise<void> answer;
  const std::shared_future<void> answers = answer.get_future().share();
  std::atomic<int> hanging = 0;
  options.file_system = {.threads = 2, .patience = std::chrono::milliseconds(100)};
  options.check_output = [&, answers](const std::filesystem::path& path) {
    if (!path.string().starts_with("/hangs")) return;
    ++hanging;
    answers.wait();
  };
  controller();
  v1::Job hangs = TestSpec();
  hangs.set_output_folder("/hangs");
  std::thread first([&] {
    EXPECT_EQ(
        ErrorOf([&] { controller().Submit(hangs, {}, By("anna")); }),
        "UNAVAILABLE: the output folder /hangs did not answer within 1 s: its file system hangs "
        "or is overloaded. Try again when it answers");
  });
  WaitUntil("it is being looked at", [&] { return hanging == 1; });
  // While it hangs everything else is stored.
  EXPECT_GT(Submit(), 0);
  first.join();
  EXPECT_THAT(ErrorOf([&] { controller().Submit(hangs, {}, By("anna")); }),
              HasSubstr("the output folder /hangs has not answered another look"));
  EXPECT_EQ(hanging, 1) << "what hangs is not looked at again";
  // No thread is left to look: said at once, not after the same wait again.
  v1::Job also = TestSpec();
  also.set_output_folder("/hangs/also");
  EXPECT_THAT(ErrorOf([&] { controller().Submit(also, {}, By("anna")); }),
              HasSubstr("the output folder /hangs/also did not answer"));
  v1::Job other = TestSpec();
  other.set_output_folder("/other");
  EXPECT_THAT(
      ErrorOf([&] { controller().Submit(other, {}, By("anna")); }),
      HasSubstr("the output folder /other cannot be looked at now: all looks wait for the "
                "output folder /hangs, the output folder /hangs/also, which did not answer"));
  answer.set_value();
  WaitUntil("looks are answered again",
            [&] { return ErrorOf([&] { controller().Submit(other, {}, By("anna")); }).empty(); });
}

TEST(WarningThrottle, TheSameIsSaidAgainAfterAWhileWithHowOftenItWas) {
  WarningThrottle warnings(std::chrono::minutes(5));
  MonotonicTime now{};
  EXPECT_EQ(warnings.Warn("looking", "no", now), "looking: no");
  EXPECT_EQ(warnings.Warn("looking", "no", now += std::chrono::minutes(1)), std::nullopt);
  EXPECT_EQ(warnings.Warn("asking", "no", now), "asking: no");
  EXPECT_EQ(warnings.Warn("looking", "no", now += std::chrono::minutes(4)),
            "looking: no (2 times since this was last said)");
  warnings.Reset("looking");
  EXPECT_EQ(warnings.Warn("looking", "no", now), "looking: no");
}

TEST_F(ControllerTest, ManyWhoSubmitAtOnceGetANumberEach) {
  controller();
  std::vector<std::thread> threads;
  std::mutex guard;
  std::set<int64_t> numbers;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < 10; ++k) {
        const int64_t job = Submit();
        std::lock_guard lock(guard);
        numbers.insert(job);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(numbers.size(), 80u);
  EXPECT_EQ(*numbers.rbegin(), 80);
}

}  // namespace
}  // namespace syncbn::coordinator
