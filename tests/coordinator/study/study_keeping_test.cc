// Nothing of a study is lost: not by backups, pauses, what is forgotten, or trials that are run
// anew.
#include "study/study_folder.h"
#include "tests/coordinator/study/study_fixture.h"

namespace syncbn::coordinator {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;
using Stub = v1::StudyService::Stub;

class StudyKeepingTest : public StudyServiceTest {
 protected:
  void StartWith(const std::function<void(Controller::Options&)>& change) {
    StopAll();
    change(options);
    StartAll();
  }
  // Four run, and none ends.
  std::string CreateThatWaits() {
    leave = 0;
    const std::string name = Create(SmallRequest());
    WaitUntil("four run", [&] { return CountOf(JobState::kRunning) == 4; });
    return name;
  }
  void PauseAndWait(const std::string& name) {
    Ask(&Stub::PauseStudy, Named<v1::PauseStudyRequest>(name));
    WaitForStudy(name, v1::Study::PAUSED);
  }
  void FinishAsHere(const std::string& name) {
    leave = 1 << 20;
    WaitForStudy(name, v1::Study::SUCCEEDED);
    EXPECT_EQ(CsvOf(name), CsvHere(study::testing::SmallStudy()));
  }
  std::string Retry(const std::string& name) {
    v1::Study study;
    const grpc::Status status = Call(&Stub::RetryStudy, Named<v1::RetryStudyRequest>(name), study);
    return status.ok() ? v1::Study::State_Name(study.state()) : Say(status);
  }
  // The last line of each trial counts.
  std::string CsvByLastLines(const std::string& name) {
    std::map<std::string, study::TrialRecord> results;
    std::istringstream lines(ResultsOf(name));
    for (std::string line; std::getline(lines, line);) {
      auto [id, record] = study::FromJsonLine(line);
      results.insert_or_assign(id, std::move(record));
    }
    const study::Plan plan(study::testing::Parse(GetStudy(name).study_file()));
    return study::TrialsCsv(plan, study::Outlook(plan, results));
  }
  std::vector<std::string> StoredResults(Store& in) {
    return in.Read([](Tables& tables) { return tables.studies.Results(1); });
  }
};

TEST_F(StudyKeepingTest, AStoreThatIsCopiedAtAnyMomentHasAResultOfEveryTrialThatItSaysHasEnded) {
  const std::string name = Create(SmallRequest());
  const auto copy = folder.path() / "copy/store.db";
  std::filesystem::create_directories(copy.parent_path());
  for (bool whole = false; !whole;) {
    whole = GetStudy(name).state() == v1::Study::SUCCEEDED;
    store.BackUp(copy);
    Store restored({.folder = copy.parent_path()});
    const StudyRecord study = restored.Read([](Tables& tables) { return tables.studies.Get(1); });
    EXPECT_EQ(StoredResults(restored).size(), static_cast<size_t>(study.progress.done()));
    if (!whole) continue;
    EXPECT_EQ(study.state, v1::Study::SUCCEEDED);
    EXPECT_EQ(StoredResults(restored), StoredResults(store));
    EXPECT_EQ(study.progress.done(), 9);
  }
}

TEST_F(StudyKeepingTest, WhatIsMissingIsNotTakenForAStudyThatHasNotBegun) {
  leave = 0;
  const std::string name = Create(SmallRequest());
  EXPECT_EQ(ResultsOf(name), "") << "it has not";
  FinishAsHere(name);
  store.Write([](Tables& tables) { tables.database.Execute("DELETE FROM study_results"); });
  v1::StudyResults results;
  EXPECT_THAT(Say(Call(&Stub::ReadStudyResults, Named<v1::ReadStudyResultsRequest>(name), results)),
              HasSubstr("studies/1 has ended 9 trials, but the store has no result of any"));
}

TEST_F(StudyKeepingTest, ResultsThatAnEarlierProgramKeptBesideTheStoreAreTakenIn) {
  const std::string name = CreateThatWaits();
  leave = 3;
  WaitUntil("three have ended", [&] { return GetStudy(name).progress().done() == 3; });
  StopAll();
  const std::string lines =
      store.Read([](Tables& tables) { return tables.studies.ReadResults(1, 0, 1 << 20); });
  store.Write([](Tables& tables) { tables.database.Execute("DELETE FROM study_results"); });
  const auto beside = store.folder() / "studies/1";
  std::filesystem::create_directories(beside);
  WriteFileAtomically(beside / study::kResultsFile, lines);
  StartAll();
  EXPECT_FALSE(std::filesystem::exists(beside));
  EXPECT_EQ(ParseResults(ResultsOf(name)).size(), 3u);
  FinishAsHere(name);
  EXPECT_EQ(Jobs().size(), 9u);
}

// What an earlier program took, and this one would not.
TEST_F(StudyKeepingTest, AStudyThatWasTakenIsNotJudgedByRulesThatCameLater) {
  const auto claim = [](const std::string& bound) {
    return "claims: [{text: c, arm: {batch: 4}, against: {batch: 2}, "
           "supported: {above: " +
           bound + "}}]\n";
  };
  leave = 0;
  const std::string name = Create(SmallRequest(claim("0.5")));
  WaitUntil("four run", [&] { return CountOf(JobState::kRunning) == 4; });
  StopAll();
  store.Write([&](Tables& tables) {
    tables.database.Run("UPDATE study_files SET study_text = ? WHERE study = 1",
                        study::testing::SmallStudy(claim("-1")));
  });
  StartAll();
  v1::Study refused;
  EXPECT_THAT(Say(Call(&Stub::CreateStudy, SmallRequest(claim("-1")), refused)),
              HasSubstr("expected a number between -1 and 1"))
      << "a new one";
  FinishAsHere(name);
}

TEST_F(StudyKeepingTest, JobsOfAPausedStudyOutlastTheLimitOfPauses) {
  StartWith([](Controller::Options& now) { now.job_policy.pause_limit = std::chrono::hours(1); });
  const std::string name = CreateThatWaits();
  PauseAndWait(name);
  for (int i = 0; i < 2; ++i) {
    const int64_t other = SubmitRunning();
    Act(other, EventKind::kPause);
    WaitForState(other, JobState::kPaused);
    clock.Advance(std::chrono::hours(2));
    WaitForState(other, JobState::kFailed);
    EXPECT_EQ(CountOf(JobState::kPaused), 4) << "and no other job";
    Restart();
  }
  Ask(&Stub::ResumeStudy, Named<v1::ResumeStudyRequest>(name));
  FinishAsHere(name);
  EXPECT_EQ(Jobs().size(), 11u);
}

TEST_F(StudyKeepingTest, AJobIsKeptUntilItsStudyHasItsResultAndTheStudyForAsLongAsIsSaid) {
  const std::string name = CreateThatWaits();
  drivers.reset();  // nobody takes results
  leave = 1;
  WaitUntil("one has ended", [&] { return CountOf(JobState::kSucceeded) == 1; });
  int64_t ended = 0;
  for (const JobRecord& job : Jobs()) {
    if (job.status.state == JobState::kSucceeded) ended = job.id;
  }
  const RetentionPolicy policy{.ended_jobs = std::chrono::hours(1),
                               .ended_studies = std::chrono::hours(3)};
  const WallTime later = clock.Now() + std::chrono::hours(2);
  EXPECT_TRUE(Forget(store, policy, later).deleted_jobs.empty());
  EXPECT_THAT(ErrorOf([&] { controller().Delete(ended, "", By("anna")); }),
              HasSubstr("is a trial of studies/1, which has not ended and may have to look at it"));
  Restart();
  FinishAsHere(name);
  EXPECT_EQ(Forget(store, policy, later).deleted_jobs.size(), 9u);
  EXPECT_EQ(CsvOf(name), CsvHere(study::testing::SmallStudy()));
  EXPECT_TRUE(Forget(store, policy, later).deleted_studies.empty());
  EXPECT_EQ(Forget(store, policy, later + std::chrono::hours(2)).deleted_studies,
            std::vector<int64_t>{1});
  v1::Study study;
  EXPECT_THAT(Say(Call(&Stub::GetStudy, Named<v1::GetStudyRequest>(name), study)),
              StartsWith("NOT_FOUND STUDY_NOT_FOUND"));
}

TEST_F(StudyKeepingTest, ACoordinatorForgetsStudiesWithTheOutputOfTheirTrials) {
  failing = {1};
  const std::string name = Create(SmallRequest());
  WaitForStudy(name, v1::Study::SUCCEEDED);
  const auto output = folder.path() / "output/study-1";
  std::filesystem::create_directories(output / "of-one-that-failed");
  clock.Advance(std::chrono::hours(2));
  StartWith([](Controller::Options& now) {
    now.retention.ended_studies = std::chrono::hours(1);
    now.retention_every = std::chrono::milliseconds(1);
  });
  clock.Advance(std::chrono::seconds(1));
  WaitUntil("its output is gone", [&] { return !std::filesystem::exists(output); });
  EXPECT_EQ(Ask(&Stub::ListStudies, v1::ListStudiesRequest()).studies_size(), 0);
}

TEST_F(StudyKeepingTest, TrialsThatFailedRunAnewAsOtherJobsOfTheStudyOnly) {
  EXPECT_THAT(Retry("studies/1"), StartsWith("NOT_FOUND STUDY_NOT_FOUND"));
  failing = {2};
  const std::string name = Create(SmallRequest());
  WaitForStudy(name, v1::Study::SUCCEEDED);
  EXPECT_EQ(GetStudy(name).progress().failed(), 3);
  const std::string before = ResultsOf(name);
  for (const JobRecord& job : Jobs()) {
    if (job.status.state != JobState::kFailed) continue;
    EXPECT_THAT(ErrorOf([&] { Act(job.id, EventKind::kRetry); }),
                HasSubstr("is a trial of studies/1, which would not take its result: 'syncbn study "
                          "retry 1' runs"));
  }
  failing.clear();
  leave = 0;
  EXPECT_EQ(Retry(name), "RUNNING");
  EXPECT_EQ(GetStudy(name).progress().failed(), 0);
  EXPECT_FALSE(GetStudy(name).has_end_time());
  WaitUntil("they run", [&] { return CountOf(JobState::kRunning) == 3; });
  EXPECT_EQ(GetStudy(name).progress().done(), 6);
  EXPECT_EQ(ResultsOf(name), before) << "until there are others";
  Restart();
  leave = 1 << 20;
  WaitForStudy(name, v1::Study::SUCCEEDED);
  EXPECT_THAT(ResultsOf(name), StartsWith(before)) << "who has read so far goes on";
  EXPECT_EQ(CsvByLastLines(name), CsvHere(study::testing::SmallStudy()));
  EXPECT_EQ(Jobs().size(), 12u);
  EXPECT_EQ(GetStudy(name).progress().done(), 9);
  EXPECT_THAT(Retry(name), HasSubstr("only trials that have failed"));
  for (const JobRecord& job : Jobs()) {
    EXPECT_FALSE(std::filesystem::exists(job.spec.output_folder()));
    if (job.status.state != JobState::kFailed) continue;
    EXPECT_THAT(ErrorOf([&] { Act(job.id, EventKind::kRetry); }), HasSubstr("is a trial of"))
        << "also the job that was replaced";
  }
}

TEST_F(StudyKeepingTest, TrialsOfARunningAndOfAPausedStudyRunAnewToo) {
  const std::string name = CreateThatWaits();
  const std::vector<JobRecord> first = Jobs();
  Act(first.at(0).id, EventKind::kCancel);
  WaitUntil("it is a failed trial", [&] { return GetStudy(name).progress().failed() == 1; });
  EXPECT_EQ(Retry(name), "RUNNING");
  EXPECT_EQ(GetStudy(name).progress().failed(), 0);
  Act(first.at(1).id, EventKind::kCancel);
  WaitUntil("another has failed", [&] { return GetStudy(name).progress().failed() == 1; });
  PauseAndWait(name);
  EXPECT_EQ(Retry(name), "PAUSED");
  EXPECT_EQ(GetStudy(name).progress().failed(), 0);
  Ask(&Stub::ResumeStudy, Named<v1::ResumeStudyRequest>(name));
  leave = 1 << 20;
  WaitForStudy(name, v1::Study::SUCCEEDED);
  EXPECT_EQ(GetStudy(name).progress().failed(), 0);
  EXPECT_EQ(CsvByLastLines(name), CsvHere(study::testing::SmallStudy()));
  EXPECT_EQ(Jobs().size(), 11u);
}

TEST_F(StudyKeepingTest, AStudyThatWasCancelledIsNotRetried) {
  const std::string name = CreateThatWaits();
  Act(Jobs().at(0).id, EventKind::kCancel);
  WaitUntil("one has failed", [&] { return GetStudy(name).progress().failed() == 1; });
  Ask(&Stub::CancelStudy, Named<v1::CancelStudyRequest>(name));
  WaitForStudy(name, v1::Study::CANCELLED);
  EXPECT_THAT(Retry(name), StartsWith("FAILED_PRECONDITION WRONG_STATE: studies/1 is CANCELLED: "));
}

}  // namespace
}  // namespace syncbn::coordinator
