// Studies as a resource of the API: from a study file to its results, whatever happens on the way.
#include "tests/coordinator/study/study_fixture.h"

namespace syncbn::coordinator {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
using Stub = v1::StudyService::Stub;

TEST_F(StudyServiceTest, EveryTrialIsAJobAndTheResultsAreThoseOfTheSameStudyRunHere) {
  v1::CreateStudyRequest request = SmallRequest();
  (*request.mutable_study()->mutable_labels())["team"] = "vision";
  request.mutable_study()->mutable_resources()->set_priority(7);
  const std::string name = Create(request);
  EXPECT_EQ(name, "studies/1");
  WaitForStudy(name, v1::Study::SUCCEEDED);
  EXPECT_EQ(CsvOf(name), CsvHere(study::testing::SmallStudy()));
  const std::vector<JobRecord> jobs = Jobs();
  ASSERT_EQ(jobs.size(), 9u);
  std::set<std::string> trials;
  for (const JobRecord& job : jobs) {
    const auto& labels = job.spec.labels();
    EXPECT_EQ(labels.at("study"), "1");
    EXPECT_EQ(labels.at("team"), "vision");
    EXPECT_TRUE(labels.contains("batch") && labels.contains("seed"));
    trials.insert(labels.at("trial"));
    EXPECT_EQ(job.spec.display_name(), "small");
    EXPECT_EQ(job.spec.resources().priority(), 7);
    EXPECT_FALSE(std::filesystem::exists(job.spec.output_folder())) << "its result is kept";
  }
  EXPECT_EQ(trials.size(), 9u);
  const v1::Study study = GetStudy(name);
  EXPECT_EQ(study.progress().done(), 9);
  EXPECT_EQ(study.progress().known(), 9);
  EXPECT_EQ(study.progress().running(), 0);
  EXPECT_TRUE(trials.contains(study.progress().best().trial()));
  EXPECT_THAT(study.progress().best().description(), StartsWith("batch "));
  EXPECT_EQ(study.at_once(), 4) << "as many as there are slots";
  EXPECT_TRUE(study.has_end_time());
  EXPECT_FALSE(std::filesystem::exists(store.folder() / "studies")) << "all is in the store";
}

TEST_F(StudyServiceTest, WhatIsTunedIsTunedByItsTrialsResults) {
  const std::string tune = "tune: {log: {from: 0.01, to: 0.1, points: 2}, widen: 1}\n";
  const std::string name = Create(SmallRequest(tune));
  WaitForStudy(name, v1::Study::SUCCEEDED);
  EXPECT_EQ(CsvOf(name), CsvHere(study::testing::SmallStudy(tune)));
}

TEST_F(StudyServiceTest, ARequestThatComesAgainMakesNoOtherStudy) {
  leave = 0;
  v1::CreateStudyRequest request = SmallRequest();
  request.set_request_id("one");
  EXPECT_EQ(Create(request), "studies/1");
  EXPECT_EQ(Create(request), "studies/1");
  request.mutable_study()->set_at_once(1);
  v1::Study study;
  EXPECT_THAT(Say(Call(&Stub::CreateStudy, request, study)),
              StartsWith("ALREADY_EXISTS REQUEST_ID_REUSED"));
  v1::CancelStudyRequest cancel = Named<v1::CancelStudyRequest>("studies/1");
  cancel.set_request_id("two");
  EXPECT_EQ(Ask(&Stub::CancelStudy, cancel).state(), v1::Study::CANCELLING);
  WaitForStudy("studies/1", v1::Study::CANCELLED);
  EXPECT_EQ(Ask(&Stub::CancelStudy, cancel).state(), v1::Study::CANCELLING) << "the first answer";
}

TEST_F(StudyServiceTest, EveryFaultOfAWrongFileIsToldAtItsPlaceAndNothingIsMade) {
  v1::CreateStudyRequest request = SmallRequest("axis: []\nclaims: 3\n");
  v1::Study study;
  grpc::Status status = Call(&Stub::CreateStudy, request, study);
  EXPECT_THAT(Say(status), StartsWith("INVALID_ARGUMENT STUDY_FILE_INVALID: small.yaml:"));
  const auto errors = rpc::DetailOf<v1::RunFileErrors>(status);
  ASSERT_TRUE(errors);
  ASSERT_EQ(errors->errors_size(), 2);
  EXPECT_EQ(errors->errors(0).path(), "axis");
  EXPECT_EQ(errors->errors(0).file(), "small.yaml");
  EXPECT_EQ(errors->errors(0).line(), 10);
  EXPECT_THAT(errors->errors(0).message(), HasSubstr("did you mean `axes`?"));
  // What is wrong with the runs of some cells.
  request = SmallRequest("  - {path: train.epochs, values: [1, -1]}\n");
  status = Call(&Stub::CreateStudy, request, study);
  EXPECT_THAT(Say(status), StartsWith("INVALID_ARGUMENT STUDY_FILE_INVALID: small.yaml:10:"));
  EXPECT_THAT(Say(status), HasSubstr("train.epochs"));
  // What no cluster of this size could place.
  request = SmallRequest();
  request.mutable_study()->mutable_resources()->set_threads_per_process(5);
  EXPECT_THAT(Say(Call(&Stub::CreateStudy, request, study)),
              StartsWith("INVALID_ARGUMENT NEVER_FITS"));
  request = SmallRequest(
      "  - {path: train.epochs, log: {from: 1, to: 50, points: 100}}\n"
      "  - {path: model.norm.eps, log: {from: 0.001, to: 1, points: 100}}\n");
  EXPECT_THAT(Say(Call(&Stub::CreateStudy, request, study)),
              StartsWith("INVALID_ARGUMENT TOO_LARGE: small.yaml: "));
  EXPECT_EQ(Ask(&Stub::ListStudies, v1::ListStudiesRequest()).studies_size(), 0);
  // Nothing is made of what is only to be checked, either.
  request = SmallRequest();
  request.set_validate_only(true);
  EXPECT_EQ(Ask(&Stub::CreateStudy, request).name(), "");
  EXPECT_EQ(Ask(&Stub::ListStudies, v1::ListStudiesRequest()).studies_size(), 0);
  EXPECT_TRUE(Jobs().empty());
}

TEST_F(StudyServiceTest, TheRunFileIsTheOneThatWasSentAndNoFileOfTheServerIsRead) {
  const std::string own = (folder.path() / "secret.yaml").string();
  WriteFileAtomically(own, "secret: words\n");
  v1::CreateStudyRequest request;
  v1::Study& study = *request.mutable_study();
  study.set_study_file("name: s\nrun: " + own + "\nseeds: 1\n");
  v1::Study answer;
  const grpc::Status status = Call(&Stub::CreateStudy, request, answer);
  EXPECT_THAT(Say(status), HasSubstr("study file:2:6: run: the run file " + own +
                                     " has not come with the study"));
  EXPECT_THAT(Say(status), Not(HasSubstr("words")));
  study.set_run_file("nonsense: 1\n");
  study.set_run_file_name("mine.yaml");
  EXPECT_THAT(Say(Call(&Stub::CreateStudy, request, answer)), HasSubstr("mine.yaml:1:1: nonsense"));
  study.set_run_file(
      "data: {dataset: shapes, shapes: {train_samples: 64, test_samples: 32}}\n"
      "model: {architecture: mlp, hidden: [4]}\ntrain: {epochs: 1}\n");
  const std::string name = Create(request);
  WaitForStudy(name, v1::Study::SUCCEEDED);
  EXPECT_EQ(GetStudy(name).run_file(), study.run_file());
}

TEST_F(StudyServiceTest, PausedItGivesItsSlotsBackAndResumedItGoesOnWithTheSameJobs) {
  leave = 2;
  const std::string name = Create(SmallRequest());
  WaitUntil("two have ended and four run", [&] {
    return GetStudy(name).progress().done() == 2 && CountOf(JobState::kRunning) == 4;
  });
  EXPECT_EQ(Ask(&Stub::PauseStudy, Named<v1::PauseStudyRequest>(name)).state(), v1::Study::PAUSING);
  WaitForStudy(name, v1::Study::PAUSED);
  EXPECT_EQ(CountOf(JobState::kPaused), 4);
  EXPECT_EQ(Jobs().size(), 6u);
  EXPECT_EQ(controller().Hosts().at(0).used_slots, 0);
  leave = 1 << 20;
  Restart();
  EXPECT_EQ(GetStudy(name).state(), v1::Study::PAUSED) << "also of a coordinator that ended";
  EXPECT_EQ(GetStudy(name).progress().done(), 2);
  EXPECT_EQ(Ask(&Stub::ResumeStudy, Named<v1::ResumeStudyRequest>(name)).state(),
            v1::Study::RUNNING);
  WaitForStudy(name, v1::Study::SUCCEEDED);
  EXPECT_EQ(Jobs().size(), 9u);
  EXPECT_EQ(CsvOf(name), CsvHere(study::testing::SmallStudy()));
}

TEST_F(StudyServiceTest, ATrialThatEndsWhileTheStudyIsPausedHasItsResultTaken) {
  leave = 0;
  const std::string name = Create(SmallRequest());
  WaitUntil("four run", [&] { return CountOf(JobState::kRunning) == 4; });
  drivers.reset();  // nobody waits for it
  leave = 1;
  WaitUntil("one has ended", [&] { return CountOf(JobState::kSucceeded) == 1; });
  store.Write([&](Tables& tables) {
    tables.studies.SetState(ParseStudyName(name), v1::Study::PAUSING, "", clock.Now());
  });
  Restart();
  WaitForStudy(name, v1::Study::PAUSED);
  EXPECT_EQ(GetStudy(name).progress().done(), 1);
  EXPECT_EQ(ParseResults(ResultsOf(name)).size(), 1u);
  leave = 1 << 20;
  Ask(&Stub::ResumeStudy, Named<v1::ResumeStudyRequest>(name));
  WaitForStudy(name, v1::Study::SUCCEEDED);
  EXPECT_EQ(CsvOf(name), CsvHere(study::testing::SmallStudy()));
}

TEST_F(StudyServiceTest, AJobThatItsUserHasPausedStaysPausedWithTheStudyAndAfterIt) {
  leave = 0;
  v1::CreateStudyRequest request = SmallRequest();
  request.mutable_study()->set_at_once(2);
  const std::string name = Create(request);
  WaitUntil("two run", [&] { return CountOf(JobState::kRunning) == 2; });
  const int64_t job = Jobs().back().id;
  Act(job, EventKind::kPause);
  WaitForState(job, JobState::kPaused);
  Ask(&Stub::PauseStudy, Named<v1::PauseStudyRequest>(name));
  WaitForStudy(name, v1::Study::PAUSED);
  leave = 1 << 20;
  Ask(&Stub::ResumeStudy, Named<v1::ResumeStudyRequest>(name));
  WaitUntil("the others have ended", [&] { return GetStudy(name).progress().done() == 8; });
  EXPECT_EQ(StateOf(job), JobState::kPaused);
  Act(job, EventKind::kResume);
  WaitForStudy(name, v1::Study::SUCCEEDED);
}

TEST_F(StudyServiceTest, CancelledItEndsItsJobsAndKeepsItsResults) {
  leave = 3;
  const std::string name = Create(SmallRequest());
  WaitUntil("three have ended and four run", [&] {
    return GetStudy(name).progress().done() == 3 && CountOf(JobState::kRunning) == 4;
  });
  EXPECT_EQ(Ask(&Stub::CancelStudy, Named<v1::CancelStudyRequest>(name)).state(),
            v1::Study::CANCELLING);
  WaitForStudy(name, v1::Study::CANCELLED);
  EXPECT_EQ(CountOf(JobState::kCancelled), 4);
  EXPECT_EQ(Jobs().size(), 7u);
  EXPECT_EQ(ParseResults(ResultsOf(name)).size(), 3u) << "none of what was cancelled with it";
  v1::Study study;
  EXPECT_THAT(Say(Call(&Stub::ResumeStudy, Named<v1::ResumeStudyRequest>(name), study)),
              StartsWith("FAILED_PRECONDITION WRONG_STATE: studies/1 is CANCELLED"));
  EXPECT_EQ(Ask(&Stub::CancelStudy, Named<v1::CancelStudyRequest>(name)).state(),
            v1::Study::CANCELLED);
}

TEST_F(StudyServiceTest, AFailedADivergedAndACancelledTrialAreResults) {
  failing = {2};
  diverging = {3};
  leave = 0;
  const std::string name = Create(SmallRequest());
  WaitUntil("some run", [&] { return CountOf(JobState::kRunning) == 4; });
  // In which order the first four were submitted is nobody's to say.
  JobRecord one;
  for (const JobRecord& job : Jobs()) {
    if (job.spec.labels().at("seed") == "1") one = job;
  }
  Act(one.id, EventKind::kCancel);
  leave = 1 << 20;
  WaitForStudy(name, v1::Study::SUCCEEDED);
  const auto results = ParseResults(ResultsOf(name));
  ASSERT_EQ(results.size(), 9u);
  const study::TrialRecord& cancelled = results.at(one.spec.labels().at("trial"));
  EXPECT_EQ(cancelled.end, study::TrialEnd::kFailed);
  EXPECT_EQ(cancelled.reason, JobName(one.id) + " was cancelled");
  EXPECT_EQ(cancelled.by, "syncbn test");
  int failed = 0, diverged = 0;
  for (const auto& [id, record] : results) {
    failed += record.end == study::TrialEnd::kFailed;
    diverged += record.end == study::TrialEnd::kDiverged;
    EXPECT_EQ(record.reason.empty(), record.end == study::TrialEnd::kFinished) << record.reason;
  }
  EXPECT_EQ(failed, 4) << "and the one that was cancelled, of seed 1";
  EXPECT_EQ(diverged, 3);
  const v1::StudyProgress progress = GetStudy(name).progress();
  EXPECT_EQ(progress.failed(), failed);
  EXPECT_EQ(progress.diverged(), diverged);
  EXPECT_EQ(Jobs().size(), 9u) << "none was run again";
}

TEST_F(StudyServiceTest, WhenTheCoordinatorEndsAgainAndAgainNoTrialIsLostAndNoneRunsTwice) {
  leave = 0;
  const std::string name = Create(SmallRequest());
  for (int i = 1; i <= 4; ++i) {
    leave = 2;
    WaitUntil("two more have ended", [&] { return CountOf(JobState::kSucceeded) >= 2 * i; });
    // Their results may be taken already, or not yet.
    Restart();
  }
  leave = 1 << 20;
  WaitForStudy(name, v1::Study::SUCCEEDED);
  EXPECT_EQ(Jobs().size(), 9u);
  EXPECT_EQ(CsvOf(name), CsvHere(study::testing::SmallStudy()));
  for (const JobRecord& job : Jobs()) {
    EXPECT_FALSE(std::filesystem::exists(job.spec.output_folder()));
  }
}

TEST_F(StudyServiceTest, AStudyThatCannotGoOnEndsItsJobsAndSaysWhy) {
  leave = 1;
  const std::string name = Create(SmallRequest());
  WaitUntil("one has ended", [&] { return GetStudy(name).progress().done() == 1; });
  StopAll();
  store.Write([](Tables& tables) {
    tables.database.Run("UPDATE study_results SET line = ?", Blob{"no result\n"});
  });
  StartAll();
  WaitForStudy(name, v1::Study::FAILED);
  EXPECT_THAT(GetStudy(name).reason(),
              HasSubstr("the store holds a damaged result of studies/1: "));
  EXPECT_EQ(CountOf(JobState::kRunning), 0);
}

TEST_F(StudyServiceTest, BelongsToItsSubmitterWhoMayHaveOnlySoMany) {
  leave = 0;
  authenticator.Create("root", Role::kAdmin, std::nullopt);
  const std::string anna = authenticator.Create("anna", Role::kSubmitter, std::nullopt);
  const std::string bert = authenticator.Create("bert", Role::kSubmitter, std::nullopt);
  const std::string eve = authenticator.Create("eve", Role::kViewer, std::nullopt);
  v1::Study study;
  EXPECT_THAT(Say(Call(&Stub::CreateStudy, SmallRequest(), study, eve)),
              StartsWith("PERMISSION_DENIED ROLE_TOO_LOW"));
  ASSERT_TRUE(Call(&Stub::CreateStudy, SmallRequest(), study, anna).ok());
  EXPECT_EQ(study.submitter(), "anna");
  ASSERT_TRUE(Call(&Stub::CreateStudy, SmallRequest(), study, anna).ok());
  EXPECT_THAT(Say(Call(&Stub::CreateStudy, SmallRequest(), study, anna)),
              StartsWith("RESOURCE_EXHAUSTED QUOTA_EXCEEDED: anna has 2 studies that have not"));
  EXPECT_THAT(
      Say(Call(&Stub::CancelStudy, Named<v1::CancelStudyRequest>("studies/1"), study, bert)),
      StartsWith("PERMISSION_DENIED ROLE_TOO_LOW: studies/1 was submitted by anna"));
  WaitUntil("its jobs are there", [&] { return !Jobs().empty(); });
  for (const JobRecord& job : Jobs()) EXPECT_EQ(job.spec.submitter(), "anna");
  EXPECT_TRUE(
      Call(&Stub::CancelStudy, Named<v1::CancelStudyRequest>("studies/1"), study, anna).ok());
  EXPECT_TRUE(Call(&Stub::GetStudy, Named<v1::GetStudyRequest>("studies/2"), study, eve).ok());
  // Without a token there is nothing.
  EXPECT_THAT(Say(Call(&Stub::GetStudy, Named<v1::GetStudyRequest>("studies/2"), study)),
              StartsWith("UNAUTHENTICATED"));
}

TEST_F(StudyServiceTest, DeletedItIsGoneWithItsFolderAndItsNumberIsNotGivenAgain) {
  leave = 0;
  const std::string name = Create(SmallRequest());
  v1::DeleteStudyRequest request = Named<v1::DeleteStudyRequest>(name);
  google::protobuf::Empty empty;
  EXPECT_THAT(Say(Call(&Stub::DeleteStudy, request, empty)),
              StartsWith("FAILED_PRECONDITION WRONG_STATE: studies/1 is RUNNING"));
  request.set_request_id("gone");
  leave = 1 << 20;
  WaitForStudy(name, v1::Study::SUCCEEDED);
  Ask(&Stub::DeleteStudy, request);
  Ask(&Stub::DeleteStudy, request);
  v1::Study study;
  EXPECT_THAT(Say(Call(&Stub::GetStudy, Named<v1::GetStudyRequest>(name), study)),
              StartsWith("NOT_FOUND STUDY_NOT_FOUND: there is no study studies/1"));
  EXPECT_EQ(store.Read([](Tables& tables) { return tables.studies.ResultBytes(1); }), 0);
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "output/study-1"));
  // One that a store has left that this one does not know is not gone on with, either.
  std::filesystem::create_directories(folder.path() / "output/study-2");
  EXPECT_EQ(Create(SmallRequest()), "studies/3");
}

TEST_F(StudyServiceTest, AListHasPagesAndNamesWhatIsWrongWithARequest) {
  leave = 0;
  for (int i = 0; i < 3; ++i) Create(SmallRequest());
  v1::ListStudiesRequest list;
  list.set_page_size(2);
  v1::ListStudiesResponse page = Ask(&Stub::ListStudies, list);
  ASSERT_EQ(page.studies_size(), 2);
  EXPECT_EQ(page.studies(0).name(), "studies/3");
  EXPECT_EQ(page.studies(0).study_file(), "");
  list.set_page_token(page.next_page_token());
  page = Ask(&Stub::ListStudies, list);
  ASSERT_EQ(page.studies_size(), 1);
  EXPECT_EQ(page.studies(0).name(), "studies/1");
  EXPECT_EQ(page.next_page_token(), "");
  Ask(&Stub::CancelStudy, Named<v1::CancelStudyRequest>("studies/2"));
  WaitForStudy("studies/2", v1::Study::CANCELLED);
  list.Clear();
  list.set_open(true);
  EXPECT_EQ(Ask(&Stub::ListStudies, list).studies_size(), 2);
  list.set_page_size(1001);
  EXPECT_THAT(Say(Call(&Stub::ListStudies, list, page)),
              StartsWith("INVALID_ARGUMENT FIELD_INVALID: page_size is 1001"));
  list.set_page_size(1);
  list.set_page_token("name");
  EXPECT_THAT(Say(Call(&Stub::ListStudies, list, page)),
              StartsWith("INVALID_ARGUMENT PAGE_TOKEN_INVALID"));

  const auto field = [&](const std::function<void(v1::Study&)>& change) {
    v1::CreateStudyRequest request = SmallRequest();
    change(*request.mutable_study());
    v1::Study study;
    const v1::ErrorInfo info = InfoOf(Call(&Stub::CreateStudy, request, study));
    return info.reason() + " " +
           (info.metadata().contains("field") ? info.metadata().at("field") : "");
  };
  EXPECT_EQ(field([](auto& s) { s.clear_study_file(); }), "FIELD_INVALID study_file");
  EXPECT_EQ(field([](auto& s) { s.set_at_once(257); }), "FIELD_INVALID at_once");
  EXPECT_EQ(field([](auto& s) { (*s.mutable_labels())["trial"] = "x"; }), "FIELD_INVALID labels");
  EXPECT_EQ(field([](auto& s) { (*s.mutable_labels())["a b"] = "x"; }), "FIELD_INVALID labels");
  EXPECT_EQ(field([](auto& s) { s.set_data_folder("x"); }), "FIELD_INVALID data_folder");
  EXPECT_EQ(field([](auto& s) { s.add_overrides("\a"); }), "FIELD_INVALID overrides");
  EXPECT_EQ(field([](auto& s) { s.mutable_resources()->set_processes(2); }), "RESOURCES_INVALID ");
  EXPECT_EQ(field([](auto& s) { s.set_study_file(std::string(300'000, ' ')); }), "TOO_LARGE ");
  v1::Study study;
  EXPECT_THAT(Say(Call(&Stub::GetStudy, Named<v1::GetStudyRequest>("3"), study)),
              StartsWith("INVALID_ARGUMENT FIELD_INVALID: '3' is not the name of a study"));
  v1::ReadStudyResultsRequest read = Named<v1::ReadStudyResultsRequest>("studies/1");
  read.set_offset(1000);
  v1::StudyResults results;
  EXPECT_THAT(Say(Call(&Stub::ReadStudyResults, read, results)),
              StartsWith("OUT_OF_RANGE FIELD_INVALID"));
}

}  // namespace
}  // namespace syncbn::coordinator
