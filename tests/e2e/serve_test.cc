// Jobs from submission to their end, through a real coordinator, mpirun and workers.
#include <gmock/gmock.h>

#include "coordinator/launch/attempt_folder.h"
#include "tests/e2e/serve_fixture.h"

namespace syncbn {
namespace {

using ::testing::HasSubstr;

TEST_F(ServeTest, AJobSucceedsWithTheSameDigestAtOneTwoAndThreeProcesses) {
  Serve();
  std::vector<std::string> names, digests;
  for (int processes = 1; processes <= 3; ++processes)
    names.push_back(Submit(MakeJob(TinyRun(), processes)).name());
  for (size_t i = 0; i < names.size(); ++i) {
    const v1::Job job = WaitForEnd(names[i]);
    ASSERT_EQ(job.state(), v1::Job::SUCCEEDED) << Describe(names[i]);
    EXPECT_EQ(job.attempt(), 1);
    EXPECT_EQ(job.display_name(), "tiny");
    EXPECT_EQ(job.submitter(), "local");
    EXPECT_EQ(job.run_file(), TinyRun());
    EXPECT_THAT(job.effective_run_file(), HasSubstr("max_steps: 20"));
    EXPECT_EQ(job.progress().step(), 20) << Describe(names[i]);
    EXPECT_EQ(job.progress().total_steps(), 20);
    EXPECT_EQ(Ends(names[i]), 1);
    const std::vector<v1::Attempt> attempts = Attempts(names[i]);
    ASSERT_EQ(attempts.size(), 1u);
    EXPECT_EQ(attempts[0].outcome(), v1::ATTEMPT_OUTCOME_COMPLETED);
    EXPECT_EQ(attempts[0].ranks_size(), static_cast<int>(i) + 1);
    for (const v1::RankRecord& rank : attempts[0].ranks())
      EXPECT_EQ(rank.outcome(), v1::ATTEMPT_OUTCOME_COMPLETED);
    digests.push_back(SummaryOf(names[i])["digest"]);
  }
  EXPECT_EQ(digests[0], digests[1]);
  EXPECT_EQ(digests[0], digests[2]);
}

TEST_F(ServeTest, ARunsMetricsAndLogAreThereAfterItsEnd) {
  Serve();
  const v1::Job job = SubmitAndWait(MakeJob(TinyRun(), 2));
  ASSERT_EQ(job.state(), v1::Job::SUCCEEDED) << Describe(job.name());
  EXPECT_EQ(PointsOf(job.name(), "train/loss"), 20) << Describe(job.name());
  EXPECT_THAT(ReadFile(AttemptFolderOf(job.name(), 1) / "output.log"), HasSubstr("4 replicas"));
}

// Also where nobody else would: as process 1 of a container.
TEST_F(ServeTest, TheCoordinatorIsTheParentOfItsSupervisorsAndLeavesNoneOfThemUnreaped) {
  Serve();
  const std::string name = Submit(MakeJob(LongRun(), 1)).name();
  WaitForState(name, v1::Job::RUNNING);
  const auto record = coordinator::AttemptFolder(AttemptFolderOf(name, 1)).Supervisor();
  ASSERT_TRUE(record.has_value());
  const std::string stat = "/proc/" + std::to_string(record->pid()) + "/stat";
  const std::string text = ReadFile(stat);
  EXPECT_EQ(std::stoi(text.substr(text.rfind(')') + 4)), ServerPid()) << text;
  Cancel(name, /*kill=*/true);
  EXPECT_EQ(WaitForEnd(name).state(), v1::Job::CANCELLED);
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (std::filesystem::exists(stat) && std::chrono::steady_clock::now() < end)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_FALSE(std::filesystem::exists(stat)) << "a zombie";
}

TEST_F(ServeTest, AJobThatDivergesFailsAsThatAndIsNotTriedAgain) {
  Serve();
  v1::Job asked = MakeJob(TinyRun(60), 2);
  for (const char* set : {"model={architecture: mlp, norm: none, init: {scale: 1000}}",
                          "train.learning_rate={base: 1000}", "train.optimizer={momentum: 0.9}"}) {
    asked.add_overrides(set);
  }
  const v1::Job job = SubmitAndWait(asked);
  ASSERT_EQ(job.state(), v1::Job::FAILED) << Describe(job.name());
  EXPECT_EQ(job.failure().class_(), v1::Failure::DIVERGED) << Describe(job.name());
  EXPECT_THAT(job.failure().message(), HasSubstr("not finite")) << Describe(job.name());
  EXPECT_EQ(job.attempt(), 1);
  EXPECT_EQ(SummaryOf(job.name())["status"], "diverged");
  EXPECT_THAT(History(job.name()).back().reason(), HasSubstr("not finite"));
}

TEST_F(ServeTest, AQueuedJobIsCancelledAtOnceAndNothingOfItEverRuns) {
  Serve();
  const std::string first = Submit(MakeJob(LongRun(), 4)).name();
  WaitForState(first, v1::Job::RUNNING);
  const std::string second = Submit(MakeJob(LongRun(), 4)).name();
  WaitFor(second, "a place in the queue",
          [](const v1::Job& job) { return job.pending().position() == 1; });
  EXPECT_EQ(Get(second).pending().message(), "needs 4 slots, 0 free, 4 held by " + first);
  EXPECT_EQ(Cancel(second).state(), v1::Job::CANCELLED);
  EXPECT_TRUE(Attempts(second).empty());
  Cancel(first, /*kill=*/true);
  EXPECT_EQ(WaitForEnd(first).state(), v1::Job::CANCELLED);
}

TEST_F(ServeTest, AJobIsCancelledWhileItStarts) {
  Serve();
  const std::string name = Submit(MakeJob(LongRun(), 2)).name();
  WaitFor(name, "a start", [](const v1::Job& job) { return job.attempt() == 1; });
  Cancel(name);
  EXPECT_EQ(WaitForEnd(name).state(), v1::Job::CANCELLED) << Describe(name);
  EXPECT_EQ(Ends(name), 1);
  EXPECT_TRUE(Processes(name).empty());
}

TEST_F(ServeTest, ARunningJobIsCancelledWithACheckpoint) {
  Serve();
  const std::string name = Submit(MakeJob(LongRun(), 2)).name();
  WaitForState(name, v1::Job::RUNNING);
  WaitForSteps(name, 6);
  EXPECT_EQ(Cancel(name).state(), v1::Job::CANCELLING);
  EXPECT_EQ(WaitForEnd(name).state(), v1::Job::CANCELLED) << Describe(name);
  EXPECT_TRUE(Processes(name).empty());
  const v1::Attempt attempt = Attempts(name).at(0);
  EXPECT_EQ(attempt.outcome(), v1::ATTEMPT_OUTCOME_STOPPED) << Describe(name);
  const nlohmann::json summary = SummaryOf(name);
  EXPECT_EQ(summary["status"], "stopped");
  EXPECT_FALSE(std::filesystem::is_empty(OutputOf(name) / "checkpoints"));
}

TEST_F(ServeTest, ARunningJobIsKilled) {
  Serve();
  const std::string name = Submit(MakeJob(LongRun(), 2)).name();
  WaitForState(name, v1::Job::RUNNING);
  Cancel(name, /*kill=*/true);
  EXPECT_EQ(WaitForEnd(name).state(), v1::Job::CANCELLED) << Describe(name);
  EXPECT_TRUE(Processes(name).empty());
}

TEST_F(ServeTest, AJobIsCancelledWhileItRecovers) {
  Serve({"--backoff=60"});
  const std::string name = Submit(MakeJob(LongRun(), 2)).name();
  WaitForState(name, v1::Job::RUNNING);
  const int64_t pid = Attempts(name).at(0).ranks(1).pid();
  ASSERT_EQ(::kill(static_cast<pid_t>(pid), SIGKILL), 0);
  // All of the attempt has gone, and the next waits for its time.
  WaitFor(name, "a time to start again", [](const v1::Job& job) {
    return job.state() == v1::Job::RECOVERING && job.has_retry_time();
  });
  EXPECT_EQ(Cancel(name).state(), v1::Job::CANCELLED);
  EXPECT_EQ(WaitForEnd(name).state(), v1::Job::CANCELLED);
  EXPECT_EQ(Get(name).failure().class_(), v1::Failure::INFRA) << Describe(name);
}

TEST_F(ServeTest, AKilledWorkerCostsOneAttemptAndNotOneBit) {
  Pace(200, 20);
  Serve();
  const int steps = 200;
  const std::string name = Submit(MakeJob(TinyRun(steps), 2)).name();
  WaitForState(name, v1::Job::RUNNING);
  WaitForSteps(name, 20);
  ASSERT_EQ(::kill(static_cast<pid_t>(Attempts(name).at(0).ranks(1).pid()), SIGKILL), 0);
  WaitFor(name, "a second attempt", [](const v1::Job& job) { return job.attempt() == 2; });
  Pace(0);
  ASSERT_EQ(WaitForEnd(name).state(), v1::Job::SUCCEEDED) << Describe(name);
  EXPECT_EQ(Get(name).attempt(), 2);
  const v1::Failure failure = Attempts(name).at(0).failure();
  EXPECT_EQ(failure.class_(), v1::Failure::INFRA) << Describe(name);
  EXPECT_EQ(failure.rank(), 1);
  EXPECT_EQ(failure.signal(), SIGKILL);
  EXPECT_THAT(ReadFile(AttemptFolderOf(name, 2) / "output.log"), HasSubstr("resumed after step"));
  const v1::Job undisturbed = SubmitAndWait(MakeJob(TinyRun(steps), 1));
  EXPECT_EQ(SummaryOf(name)["digest"], SummaryOf(undisturbed.name())["digest"]);
}

TEST_F(ServeTest, APausedJobGoesOnAtAnotherNumberOfProcessesWithTheSameBits) {
  Pace(200, 10);
  Serve();
  const int steps = 200;
  const std::string name = Submit(MakeJob(TinyRun(steps), 3)).name();
  WaitForState(name, v1::Job::RUNNING);
  WaitForSteps(name, 10);
  Pause(name);
  ASSERT_EQ(WaitForState(name, v1::Job::PAUSED).state(), v1::Job::PAUSED);
  EXPECT_TRUE(Processes(name).empty());
  Pace(0);
  const v1::Job resumed = Resume(name, 1);
  EXPECT_EQ(resumed.resources().processes(), 1);
  ASSERT_EQ(WaitForEnd(name).state(), v1::Job::SUCCEEDED) << Describe(name);
  EXPECT_THAT(ReadFile(AttemptFolderOf(name, 2) / "output.log"), HasSubstr("resumed after step"));
  const v1::Job undisturbed = SubmitAndWait(MakeJob(TinyRun(steps), 2));
  EXPECT_EQ(SummaryOf(name)["digest"], SummaryOf(undisturbed.name())["digest"]);
}

TEST_F(ServeTest, AJobOutlivesItsCoordinator) {
  Pace(200, 5);
  Serve();
  const std::string name = Submit(MakeJob(TinyRun(200), 2)).name();
  WaitForState(name, v1::Job::RUNNING);
  WaitForSteps(name, 5);
  EXPECT_EQ(Kill(), 128 + SIGKILL);
  Serve();
  Pace(0);
  ASSERT_EQ(WaitForEnd(name).state(), v1::Job::SUCCEEDED) << Describe(name);
  EXPECT_EQ(Get(name).attempt(), 1) << "it was never disturbed";
  EXPECT_EQ(Ends(name), 1);
  EXPECT_EQ(SummaryOf(name)["status"], "finished");
}

TEST_F(ServeTest, AJobThatEndsWhileThereIsNoCoordinatorHasEndedWhenThereIsOneAgain) {
  Pace(200);
  Serve();
  const std::string name = Submit(MakeJob(TinyRun(100), 2)).name();
  WaitForState(name, v1::Job::RUNNING);
  EXPECT_EQ(Stop(), 0);
  EXPECT_FALSE(Processes(name).empty()) << "it was to be under way still";
  Pace(0);
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (!Processes(name).empty() && std::chrono::steady_clock::now() < end)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  Serve();
  // The supervisor may still be about to write its record.
  EXPECT_EQ(WaitForEnd(name).state(), v1::Job::SUCCEEDED) << Describe(name);
  EXPECT_EQ(Ends(name), 1);
}

TEST_F(ServeTest, AJobThatARestoredBackupDoesNotKnowIsEnded) {
  Serve();
  ASSERT_EQ(Stop(), 0);
  const std::filesystem::path store = data() / "store.db", backup = tools_.path() / "backup.db";
  std::filesystem::copy_file(store, backup);
  Serve();
  const std::string name = Submit(MakeJob(LongRun(), 2)).name();
  WaitForSteps(name, 5);
  Kill();
  for (const char* end : {"", "-wal", "-shm"}) std::filesystem::remove(store.string() + end);
  std::filesystem::copy_file(backup, store);
  EXPECT_FALSE(Processes(name).empty());
  Serve();
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (!Processes(name).empty()) {
    ASSERT_LT(std::chrono::steady_clock::now(), end) << "it still runs";
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  EXPECT_EQ(SubmitAndWait(MakeJob(TinyRun(), 2)).state(), v1::Job::SUCCEEDED);
}

TEST_F(ServeTest, ASecondCoordinatorOnTheSameFolderRefusesAndNamesTheFirst) {
  Serve();
  const ProcessResult second =
      RunProcess({.argv = {SyncbnProgram(), "serve", "--data", data().string(), "--listen",
                           "127.0.0.1:0", "--http", "off"}});
  EXPECT_EQ(second.status, 2);
  EXPECT_THAT(second.err, HasSubstr("belongs to another coordinator (process " +
                                    std::to_string(ServerPid()) + " on "));
}

TEST_F(ServeTest, AServerFileThatSaysNothingOfUseIsPassedOver) {
  Serve();
  ASSERT_EQ(Stop(), 0);
  for (const char* content : {"", "{", "[1]", "{\"grpc\": \"127.0.0.1:99999\"}",
                              "{\"grpc\": \"nowhere\"}", "{\"grpc\": 7}"}) {
    WriteFileAtomically(data() / "server.json", content);
    Serve();
    EXPECT_TRUE(serving()) << content;
    ASSERT_EQ(Stop(), 0);
  }
  std::filesystem::remove(data() / "server.json");
  std::filesystem::create_directory(data() / "server.json");
  Process server({.argv = {SyncbnProgram(), "serve", "--data", data().string(), "--listen",
                           "127.0.0.1:0", "--http", "off"}});
  EXPECT_TRUE(server.WaitForText("syncbn serves on ", kPatience)) << server.Err();
  EXPECT_THAT(server.Err(), HasSubstr("serving all the same"));
  server.Signal(SIGTERM);
  EXPECT_EQ(server.Wait().status, 0);
}

TEST_F(ServeTest, AStoreThatIsMissingBesideItsJobsIsNotBegunAnew) {
  Serve();
  SubmitAndWait(MakeJob(TinyRun()));
  ASSERT_EQ(Stop(), 0);
  std::filesystem::remove(data() / "store.db");
  const ProcessResult again =
      RunProcess({.argv = {SyncbnProgram(), "serve", "--data", data().string(), "--listen",
                           "127.0.0.1:0", "--http", "off"}});
  EXPECT_EQ(again.status, 2);
  EXPECT_THAT(again.err,
              HasSubstr("store.db is missing, but the folder holds 1 job that it must have "
                        "known"));
  EXPECT_FALSE(std::filesystem::exists(data() / "store.db"));
}

TEST_F(ServeTest, AStoreThatIsRemovedWhileItServesIsMissedLoudlyAndNothingIsLost) {
  Serve();
  const std::string name = SubmitAndWait(MakeJob(TinyRun())).name();
  std::filesystem::remove(data() / "store.db");
  v1::CreateJobRequest request;
  v1::Job made;
  *request.mutable_job() = MakeJob(TinyRun());
  grpc::Status status;
  do {
    grpc::ClientContext context;
    status = jobs().CreateJob(&context, request, &made);
    ASSERT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
    EXPECT_THAT(status.error_message(), HasSubstr("was removed, moved or replaced while"));
  } while (status.error_message().find("is being saved") != std::string::npos);
  EXPECT_EQ(Get(name).state(), v1::Job::SUCCEEDED) << "what it knows can be asked for still";
  Stop();
  std::filesystem::path saved;
  for (const auto& entry : std::filesystem::directory_iterator(data() / "backups")) saved = entry;
  EXPECT_THAT(status.error_message(), HasSubstr("copy " + saved.string()));
  std::filesystem::copy_file(saved, data() / "store.db");
  Serve();
  EXPECT_EQ(Get(name).state(), v1::Job::SUCCEEDED);
  // The one that was not acknowledged may be in the copy nevertheless, and goes on then.
  grpc::ClientContext again;
  v1::ListJobsRequest all;
  v1::ListJobsResponse list;
  ASSERT_TRUE(jobs().ListJobs(&again, all, &list).ok());
  for (const v1::Job& job : list.jobs()) WaitForEnd(job.name());
}

TEST_F(ServeTest, AJobWhoseFilesAreDamagedWhileItsSupervisorIsDeadIsStartedAgain) {
  Pace(50);
  Serve({"--backoff", "0.1"});
  const std::string name = Submit(MakeJob(TinyRun(60), 1)).name();
  WaitForSteps(name, 6);
  const std::filesystem::path attempt = AttemptFolderOf(name, 1);
  const auto record = nlohmann::json::parse(ReadFile(attempt / "supervisor.json"));
  for (const char* file : {"attempt.json", "supervisor.json", "exit.json"})
    WriteFileAtomically(attempt / file, "{");
  ::kill(static_cast<pid_t>(std::stoll(std::string(record["pid"]))), SIGKILL);
  // Not faster before: the rank must not reach its end in the moment until mpirun is told to go.
  WaitFor(name, "a second attempt", [](const v1::Job& job) { return job.attempt() == 2; });
  Pace(0);
  EXPECT_EQ(WaitForEnd(name).state(), v1::Job::SUCCEEDED) << Describe(name);
  const std::vector<v1::Attempt> attempts = Attempts(name);
  ASSERT_EQ(attempts.size(), 2u);
  EXPECT_EQ(attempts[0].failure().class_(), v1::Failure::INFRA);
  EXPECT_THAT(attempts[0].failure().message(), HasSubstr("exit.json is damaged: "));
}

TEST_F(ServeTest, AFolderOfAnotherJobIsRefusedOrTheJobFailsAndTouchesNothing) {
  Pace(100);
  Serve();
  v1::Job spec = MakeJob(TinyRun());
  spec.set_output_folder("shared");
  auto refusal = [&] {
    grpc::ClientContext context;
    v1::CreateJobRequest request;
    v1::Job made;
    *request.mutable_job() = spec;
    return jobs().CreateJob(&context, request, &made).error_message();
  };
  const std::filesystem::path folder = data() / "output" / "shared";
  const std::string first = Submit(spec).name();
  EXPECT_EQ(refusal(), "output_folder " + folder.string() + " belongs to jobs/1: choose another one");
  Pace(0);
  ASSERT_EQ(WaitForEnd(first).state(), v1::Job::SUCCEEDED);
  const std::string before = ReadFile(folder / "summary.json");
  EXPECT_EQ(refusal(), "output_folder " + folder.string() + " belongs to jobs/1: choose another one");
  // One that becomes another's between submission and start.
  spec.set_output_folder("late");
  const std::string holder = Submit(MakeJob(LongRun(), 4)).name();
  const std::string second = Submit(spec).name();
  const std::filesystem::path late = data() / "output" / "late";
  std::filesystem::create_directories(late);
  WriteFileAtomically(late / ".syncbn-job", "another/jobs/7\n");
  Cancel(holder, /*kill=*/true);
  const v1::Job end = WaitForEnd(second);
  EXPECT_EQ(end.state(), v1::Job::FAILED);
  EXPECT_EQ(end.failure().class_(), v1::Failure::CONFIG) << Describe(second);
  EXPECT_THAT(end.failure().message(), HasSubstr("belongs to jobs/7: give the job another one"));
  EXPECT_EQ(ReadFile(folder / "summary.json"), before);
}

}  // namespace
}  // namespace syncbn
