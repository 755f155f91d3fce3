// StudyService over a real store and controller; what the launcher starts is trained in this
// process, when the test lets it.
#pragma once

#include <atomic>
#include <set>
#include <thread>

#include "config/run_file.h"
#include "coordinator/service/job_service.h"
#include "coordinator/study/study_service.h"
#include "study/trial/curve_sink.h"
#include "study/trials_csv.h"
#include "tests/coordinator/control/controller_fixture.h"
#include "tests/coordinator/service/service_fixture.h"
#include "tests/study/support.h"
#include "train/metrics.h"
#include "train/training_run.h"

namespace syncbn::coordinator {

inline train::Summary TrainHere(const v1::RunSpec& run, train::MetricSink& sink, int& classes) {
  static const std::unique_ptr<backend::Backend> backend = backend::MakeReferenceBackend();
  data::DatasetCache datasets;
  const train::PreparedRun prepared(run, datasets);
  classes = prepared.data().train().classes();
  train::RunEnvironment environment{.backend = backend.get(), .datasets = &datasets};
  environment.training.metrics = &sink;
  return train::RunTraining(prepared, std::move(environment)).summary;
}

// As `syncbn study run` does it with trials of one process.
class TrainingRunner final : public study::TrialRunner {
 public:
  std::optional<study::TrialRecord> Run(const study::TrialResult& /*trial*/, const v1::RunSpec& run,
                                        int /*processes*/, std::stop_token /*stop*/) override {
    study::TrialRecord record;
    study::CurveSink sink(run, record);
    const train::Summary summary = TrainHere(run, sink, record.classes);
    sink.Finish();
    record.end = summary.end == train::RunEnd::kDiverged ? study::TrialEnd::kDiverged
                                                         : study::TrialEnd::kFinished;
    record.reason = summary.reason;
    record.digest = summary.digest ? summary.digest->Hex() : "";
    return record;
  }
};

class StudyServiceTest : public ControllerTest {
 protected:
  StudyServiceTest() {
    std::filesystem::create_directories(folder.path() / "output");
    StartAll();
  }
  ~StudyServiceTest() override { StopAll(); }

  // As a coordinator that ends and another one on the same folder.
  void Restart() {
    StopAll();
    StartAll();
  }
  void StartAll() {
    controller();
    drivers = std::make_unique<StudyDrivers>(
        StudyOptions{.store = &store,
                     .controller = &controller(),
                     .submission = {.output_root = folder.path() / "output",
                                    .data_roots = data_roots,
                                    .runs_here = runs_here},
                     .by = "syncbn test",
                     .log =
                         [this](const std::string& line) {
                           std::lock_guard lock(mutex);
                           lines.push_back(line);
                         },
                     .clock = &clock,
                     .pause = std::chrono::milliseconds(20)});
    drivers->Start();
    gate = std::make_unique<CallGate>(CallGate::Options{
        .store = &store, .authenticator = &authenticator, .metrics = &metrics, .log = &log});
    studies = std::make_unique<StudyService>(StudyService::Options{
        .drivers = drivers.get(), .submitter = {.open_studies = 2}, .gate = gate.get()});
    server = std::make_unique<Server>(Server::Options{.addresses = {"127.0.0.1:0"}}, *gate,
                                      std::vector<grpc::Service*>{studies.get()});
    server->SetServing(true);
    stub = v1::StudyService::NewStub(
        grpc::CreateChannel(server->addresses().front(), grpc::InsecureChannelCredentials()));
    training = true;
    trainer = std::thread([this] { Train(); });
  }
  void StopAll() {
    training = false;
    if (trainer.joinable()) trainer.join();
    if (server) server->Shutdown(std::chrono::milliseconds(0));
    server.reset();
    drivers.reset();
    End();
  }

  template <typename Request, typename Response>
  grpc::Status Call(grpc::Status (v1::StudyService::Stub::*method)(grpc::ClientContext*,
                                                                   const Request&, Response*),
                    const Request& request, Response& response, const std::string& token = "") {
    Context context(token);
    return (*stub.*method)(&context, request, &response);
  }
  template <typename Request, typename Response>
  Response Ask(grpc::Status (v1::StudyService::Stub::*method)(grpc::ClientContext*, const Request&,
                                                              Response*),
               const Request& request) {
    Response response;
    const grpc::Status status = Call(method, request, response);
    EXPECT_TRUE(status.ok()) << Say(status);
    return response;
  }
  template <typename Request>
  static Request Named(const std::string& name) {
    Request request;
    request.set_name(name);
    return request;
  }

  static v1::CreateStudyRequest SmallRequest(const std::string& more = "") {
    v1::CreateStudyRequest request;
    request.mutable_study()->set_study_file(study::testing::SmallStudy(more));
    request.mutable_study()->set_study_file_name("small.yaml");
    return request;
  }
  std::string Create(const v1::CreateStudyRequest& request) {
    return Ask(&v1::StudyService::Stub::CreateStudy, request).name();
  }
  v1::Study GetStudy(const std::string& name) {
    return Ask(&v1::StudyService::Stub::GetStudy, Named<v1::GetStudyRequest>(name));
  }
  void WaitForStudy(const std::string& name, v1::Study::State state) {
    WaitUntil(name + " is " + v1::Study::State_Name(state),
              [&] { return GetStudy(name).state() == state; });
  }
  std::string ResultsOf(const std::string& name) {
    v1::ReadStudyResultsRequest request = Named<v1::ReadStudyResultsRequest>(name);
    // In small pieces, which cut lines.
    request.set_max_bytes(1000);
    std::string text;
    while (true) {
      const v1::StudyResults part = Ask(&v1::StudyService::Stub::ReadStudyResults, request);
      text += part.data();
      if (part.end() || ::testing::Test::HasFailure()) return text;
      request.set_offset(part.next_offset());
    }
  }
  // Results as the table of the study, and how many lines they have.
  static std::map<std::string, study::TrialRecord> ParseResults(const std::string& text) {
    std::map<std::string, study::TrialRecord> results;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      auto [id, record] = study::FromJsonLine(line);
      EXPECT_TRUE(results.emplace(id, std::move(record)).second) << id << " has two results";
    }
    return results;
  }
  std::string CsvOf(const std::string& name) {
    const v1::Study found = GetStudy(name);
    const study::Plan plan(study::testing::Parse(found.study_file(), study::StudyOrigin::kStored));
    const auto results = ParseResults(ResultsOf(name));
    return study::TrialsCsv(plan, study::Outlook(plan, results));
  }
  // What the same study comes to without a coordinator.
  std::string CsvHere(const std::string& text) {
    const study::Plan plan(study::testing::Parse(text));
    study::ResultLog results(folder.path() / "here");
    TrainingRunner runner;
    EXPECT_TRUE(study::Execute(plan, results, runner, {.at_once = 2}));
    return study::TrialsCsv(plan, study::Outlook(plan, results.results()));
  }
  std::vector<JobRecord> Jobs() {
    return store.Read([](Tables& tables) {
      return tables.jobs.List(JobFilter::Parse(""), {.jobs = 1000}, "").jobs;
    });
  }
  int64_t CountOf(JobState state) {
    int64_t count = 0;
    for (const JobRecord& job : Jobs()) count += job.status.state == state;
    return count;
  }

  // Trials end only while there is leave for them; so many may.
  std::atomic<int> leave = 1 << 20;
  // Of what is started from now on.
  std::vector<std::filesystem::path> data_roots;
  bool runs_here = false;
  // Seeds whose trials fail, and diverge.
  std::set<uint64_t> failing, diverging;

  Authenticator authenticator{store};
  EventLog log{{.path = (folder.path() / "log").string()}};
  ServerMetrics metrics{{.store = &store, .version = "0.1"}};
  std::unique_ptr<StudyDrivers> drivers;
  std::unique_ptr<CallGate> gate;
  std::unique_ptr<StudyService> studies;
  std::unique_ptr<Server> server;
  std::unique_ptr<v1::StudyService::Stub> stub;

 private:
  void Train() {
    while (training) {
      for (const JobRecord& job : store.Read([](Tables& tables) { return tables.jobs.Open(); })) {
        try {
          Advance(job);
        } catch (const Error&) {
          // Its attempt has been given up meanwhile.
        }
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
  void Advance(const JobRecord& job) {
    const AttemptId id{job.id, job.status.attempt};
    if (!job.status.attempt_live || !launcher.IsAlive(id)) return;
    if (job.status.state == JobState::kStarting) Register(id);
    if (job.status.state != JobState::kRunning || leave <= 0) return;
    --leave;
    const RunFileText text =
        store.Read([&](Tables& tables) { return tables.jobs.RunFile(job.id); });
    const v1::RunSpec run = config::ParseRunFile(text.text, "run.yaml").spec;
    if (failing.contains(run.seed())) return launcher.End(id, FakeLauncher::Ended(1));
    const std::filesystem::path out = job.spec.output_folder();
    std::filesystem::create_directories(out);
    train::JsonlSink sink({.path = out / "metrics.jsonl"});
    train::Summary summary = TrainHere(run, sink, classes_);
    summary.versions = {{"syncbn", "test"}};
    summary.back_end = "reference: here";
    summary.classes = classes_;
    if (diverging.contains(run.seed())) {
      summary.end = train::RunEnd::kDiverged;
      summary.reason = "a step was not finite";
    }
    train::WriteSummary(out / "summary.json", summary);
    const bool diverged = summary.end == train::RunEnd::kDiverged;
    v1::RankExit exit;
    exit.set_outcome(diverged ? v1::ATTEMPT_OUTCOME_FAILED : v1::ATTEMPT_OUTCOME_COMPLETED);
    if (diverged) exit.set_class_(v1::Failure::DIVERGED);
    controller().ReportExit(id, 0, exit);
    launcher.End(id, FakeLauncher::Ended(diverged ? 12 : 0));
  }

  std::atomic<bool> training = false;
  std::thread trainer;
  int classes_ = 0;
};

}  // namespace syncbn::coordinator
