// Every FIELD_INVALID of the API names its field. All services are real; only the launcher is not.
#include <google/protobuf/util/time_util.h>

#include "coordinator/service/cluster_service.h"
#include "coordinator/service/job_service.h"
#include "coordinator/service/worker_service.h"
#include "tests/coordinator/control/controller_fixture.h"
#include "tests/coordinator/service/service_fixture.h"
#include "tests/support/small_run.h"

namespace syncbn::coordinator {
namespace {

class FieldTest : public ControllerTest {
 protected:
  FieldTest() {
    std::filesystem::create_directories(folder.path() / "output");
    gate.SetServing(true);
    server.SetServing(true);
  }
  ~FieldTest() override {
    pool.Stop();
    server.Shutdown(0ms);
  }

  template <typename Stub, typename Request, typename Response>
  grpc::Status Call(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                    const Request& request, const std::string& token = "") {
    Context context(token);
    Response response;
    return (Stub(channel).*method)(&context, request, &response);
  }
  // Of a stream from the server.
  template <typename Stub, typename Request, typename Response>
  grpc::Status Watch(std::unique_ptr<grpc::ClientReader<Response>> (Stub::*method)(
                         grpc::ClientContext*, const Request&),
                     const Request& request) {
    Context context;
    Stub stub(channel);
    const auto reader = (stub.*method)(&context, request);
    Response response;
    while (reader->Read(&response)) {
    }
    return reader->Finish();
  }
  grpc::Status Report(const v1::ReportMetricsRequest& request, const std::string& token) {
    Context context(token);
    v1::WorkerService::Stub stub(channel);
    const auto stream = stub.ReportMetrics(&context);
    stream->Write(request);
    stream->WritesDone();
    v1::ReportMetricsResponse response;
    while (stream->Read(&response)) {
    }
    return stream->Finish();
  }
  void Expect(const std::string& field, const grpc::Status& status) {
    const v1::ErrorInfo info = InfoOf(status);
    EXPECT_EQ(info.reason(), "FIELD_INVALID") << field << ": " << Say(status);
    EXPECT_TRUE(info.metadata().contains("field")) << Say(status);
    if (info.metadata().contains("field")) EXPECT_EQ(info.metadata().at("field"), field);
  }

  Authenticator authenticator{store};
  EventLog log{{.path = (folder.path() / "log").string()}};
  ServerMetrics metrics{{.store = &store, .version = "0.1"}};
  CallGate gate{{.store = &store, .authenticator = &authenticator, .metrics = &metrics, .log = &log}};
  FollowerPool pool{{}};
  JobWatcher watcher{store, gate, pool,
                     [this](const JobRecord& record) { return controller().View(record); }};
  JobService jobs{{.store = &store,
                   .controller = &controller(),
                   .submission = {.output_root = folder.path() / "output",
                                  .allowed_variables = {"LEVEL"}},
                   .gate = &gate,
                   .watcher = &watcher}};
  ClusterService hosts{{.store = &store, .controller = &controller(), .gate = &gate}};
  WorkerService workers{{.controller = &controller(), .gate = &gate}};
  MetricsService series{store, gate, pool};
  LogService logs{store, gate, pool};
  AdminService admin{gate};
  Server server{{.addresses = {"127.0.0.1:0"}},
                gate,
                {&jobs, &hosts, &workers, &series, &logs, &admin}};
  std::shared_ptr<grpc::Channel> channel =
      grpc::CreateChannel(server.addresses().front(), grpc::InsecureChannelCredentials());
};

TEST_F(FieldTest, NamesWhatIsWrongInRequestsAboutJobs) {
  using Jobs = v1::JobService::Stub;
  const auto create = [&](const std::function<void(v1::CreateJobRequest&)>& change) {
    v1::CreateJobRequest request;
    request.mutable_job()->set_run_file(SmallRun(4, 8, "global"));
    change(request);
    return Call(&Jobs::CreateJob, request);
  };
  const std::string bell = "\a";
  EXPECT_TRUE(create([](auto&) {}).ok());
  Expect("run_file", create([](auto& r) { r.mutable_job()->clear_run_file(); }));
  Expect("run_file_name", create([&](auto& r) { r.mutable_job()->set_run_file_name(bell); }));
  Expect("overrides", create([&](auto& r) { r.mutable_job()->add_overrides(bell); }));
  Expect("overrides", create([&](auto& r) {
           for (int i = 0; i < 257; ++i) r.mutable_job()->add_overrides("seed=1");
         }));
  Expect("labels", create([&](auto& r) { (*r.mutable_job()->mutable_labels())["a b"] = "c"; }));
  Expect("environment",
         create([&](auto& r) { (*r.mutable_job()->mutable_environment())["LEVEL"] = bell; }));
  Expect("output_folder", create([&](auto& r) { r.mutable_job()->set_output_folder(bell); }));
  Expect("resources",
         create([&](auto& r) { r.mutable_job()->mutable_resources()->add_hosts(bell); }));
  Expect("request_id", create([&](auto& r) { r.set_request_id(bell); }));

  const auto named = [](auto request, const std::string& name) {
    request.set_name(name);
    return request;
  };
  for (const char* wrong : {"", "17", "jobs/x", "jobs/0"}) {
    Expect("name", Call(&Jobs::GetJob, named(v1::GetJobRequest(), wrong)));
    Expect("name", Call(&Jobs::CancelJob, named(v1::CancelJobRequest(), wrong)));
    Expect("name", Call(&Jobs::PauseJob, named(v1::PauseJobRequest(), wrong)));
    Expect("name", Call(&Jobs::ResumeJob, named(v1::ResumeJobRequest(), wrong)));
    Expect("name", Call(&Jobs::RetryJob, named(v1::RetryJobRequest(), wrong)));
    Expect("name", Call(&Jobs::DeleteJob, named(v1::DeleteJobRequest(), wrong)));
    v1::ListAttemptsRequest attempts;
    attempts.set_parent(wrong);
    Expect("parent", Call(&Jobs::ListAttempts, attempts));
    v1::ListTransitionsRequest transitions;
    transitions.set_parent(wrong);
    Expect("parent", Call(&Jobs::ListTransitions, transitions));
  }
  v1::CancelJobRequest cancel;
  cancel.set_name("jobs/1");
  cancel.set_reason(bell);
  Expect("reason", Call(&Jobs::CancelJob, cancel));
  v1::ListJobsRequest list;
  list.set_page_size(-1);
  Expect("page_size", Call(&Jobs::ListJobs, list));
  v1::ListTransitionsRequest transitions;
  transitions.set_parent("jobs/-");
  transitions.set_page_size(-1);
  Expect("page_size", Call(&Jobs::ListTransitions, transitions));
  v1::WatchJobsRequest watch;
  watch.set_job("17");
  Expect("job", Watch(&Jobs::WatchJobs, watch));
  watch.set_job("jobs/1");
  watch.set_filter("state = open");
  Expect("filter", Watch(&Jobs::WatchJobs, watch));
}

TEST_F(FieldTest, NamesWhatIsWrongInRequestsAboutMetricsAndLogs) {
  using Metrics = v1::MetricsService::Stub;
  using Logs = v1::LogService::Stub;
  const int64_t job = SubmitRunning();
  v1::ListSeriesRequest series_request;
  series_request.set_job("x");
  Expect("job", Call(&Metrics::ListSeries, series_request));
  v1::QueryMetricsRequest query;
  query.set_job("x");
  Expect("job", Call(&Metrics::QueryMetrics, query));
  query.set_job(JobName(job));
  query.set_max_buckets(-1);
  Expect("max_buckets", Call(&Metrics::QueryMetrics, query));
  v1::WatchMetricsRequest watch;
  watch.set_job("x");
  Expect("job", Watch(&Metrics::WatchMetrics, watch));

  for (const char* wrong : {"x", "jobs/1/attempts/x", "x/attempts/1"}) {
    v1::ListLogsRequest list;
    list.set_parent(wrong);
    Expect("parent", Call(&Logs::ListLogs, list));
    v1::FollowLogRequest follow;
    follow.set_name(std::string(wrong) + "/logs/output");
    Expect("name", Watch(&Logs::FollowLog, follow));
  }
  std::filesystem::create_directories(controller().FolderOf({job, 1}));
  WriteFileAtomically(controller().FolderOf({job, 1}) / "output.log", "0: line\n");
  v1::ReadLogRequest read;
  read.set_name(AttemptName(job, 1) + "/logs/none");
  Expect("name", Call(&Logs::ReadLog, read));
  read.set_name(AttemptName(job, 1) + "/logs/output");
  read.set_max_bytes(-1);
  Expect("max_bytes", Call(&Logs::ReadLog, read));
  read.clear_max_bytes();
  read.set_rank(-1);
  Expect("rank", Call(&Logs::ReadLog, read));
  read.clear_rank();
  read.set_offset(1000);
  const grpc::Status beyond = Call(&Logs::ReadLog, read);
  Expect("offset", beyond);
  EXPECT_EQ(beyond.error_code(), grpc::StatusCode::OUT_OF_RANGE);
  v1::FollowLogRequest follow;
  follow.set_name(AttemptName(job, 1) + "/logs/output");
  follow.set_offset(1000);
  Expect("offset", Watch(&Logs::FollowLog, follow));
}

TEST_F(FieldTest, NamesWhatIsWrongInRequestsOfWorkers) {
  using Workers = v1::WorkerService::Stub;
  const int64_t job = SubmitRunning();
  const std::string token = Token({job, 1});
  const std::string attempt = AttemptName(job, 1), bell = "\a", large(20'000, 'x');
  const auto rank = [&](const std::string& name, int number = 0) {
    v1::RankName one;
    one.set_attempt(name);
    one.set_rank(number);
    return one;
  };
  v1::RegisterRequest enter;
  *enter.mutable_rank() = rank("x");
  Expect("rank.attempt", Call(&Workers::Register, enter, token));
  *enter.mutable_rank() = rank(attempt);
  enter.set_host(bell);
  Expect("host", Call(&Workers::Register, enter, token));
  enter.set_host("node1");
  enter.set_processes(7);
  Expect("processes", Call(&Workers::Register, enter, token));
  enter.set_processes(1);
  *enter.mutable_rank() = rank(attempt, 1);
  Expect("rank.rank", Call(&Workers::Register, enter, token));

  v1::HeartbeatRequest beat;
  *beat.mutable_rank() = rank(attempt);
  beat.set_phase(bell);
  Expect("phase", Call(&Workers::Heartbeat, beat, token));
  beat.clear_phase();
  beat.set_reduction_name(bell);
  Expect("reduction_name", Call(&Workers::Heartbeat, beat, token));

  v1::ReportMetricsRequest report;
  *report.mutable_rank() = rank("x");
  Expect("rank.attempt", Report(report, token));
  *report.mutable_rank() = rank(attempt);
  for (const auto& spoil : std::vector<std::function<void(v1::MetricBatch&)>>{
           [](v1::MetricBatch& b) { b.add_step(1); }, [](v1::MetricBatch& b) { b.set_first_sequence(0); },
           [](v1::MetricBatch& b) { b.set_names(0, "a b"); },
           [](v1::MetricBatch& b) { b.set_name_index(0, 9); },
           [&](v1::MetricBatch& b) { b.add_names(std::string(200'000, 'x')); }}) {
    *report.mutable_batch() = TestBatch(1, 2);
    spoil(*report.mutable_batch());
    Expect("batch", Report(report, token));
  }

  v1::ReportExitRequest leave;
  *leave.mutable_rank() = rank(attempt);
  leave.mutable_exit()->set_message(large);
  Expect("exit.message", Call(&Workers::ReportExit, leave, token));
  leave.mutable_exit()->clear_message();
  leave.mutable_exit()->add_frames(large);
  Expect("exit.frames", Call(&Workers::ReportExit, leave, token));
  leave.mutable_exit()->clear_frames();
  leave.mutable_exit()->set_host(bell);
  Expect("exit.host", Call(&Workers::ReportExit, leave, token));
}

TEST_F(FieldTest, NamesWhatIsWrongInRequestsOfAdmins) {
  using Cluster = v1::ClusterService::Stub;
  using Admin = v1::AdminService::Stub;
  v1::DrainHostRequest drain;
  drain.set_name("node1");
  Expect("name", Call(&Cluster::DrainHost, drain));
  drain.set_name("hosts/node1");
  drain.set_reason("\a");
  Expect("reason", Call(&Cluster::DrainHost, drain));
  v1::RestoreHostRequest restore;
  restore.set_name("node1");
  Expect("name", Call(&Cluster::RestoreHost, restore));
  v1::BackUpStoreRequest back_up;
  back_up.set_request_id("\a");
  Expect("request_id", Call(&Cluster::BackUpStore, back_up));

  v1::CreateTokenRequest create;
  create.mutable_token()->set_name("root");
  Expect("token.role", Call(&Admin::CreateToken, create));
  create.mutable_token()->set_role(v1::Token::ADMIN);
  create.mutable_token()->set_name("a b");
  Expect("token.name", Call(&Admin::CreateToken, create));
  create.mutable_token()->set_name("root");
  *create.mutable_token()->mutable_expire_time() =
      google::protobuf::util::TimeUtil::SecondsToTimestamp(1000);
  Expect("token.expire_time", Call(&Admin::CreateToken, create));
  create.set_request_id("\a");
  Expect("request_id", Call(&Admin::CreateToken, create));
  v1::RevokeTokenRequest revoke;
  revoke.set_request_id("\a");
  Expect("request_id", Call(&Admin::RevokeToken, revoke));
  v1::ListAuditRequest audit;
  audit.set_page_size(-1);
  Expect("page_size", Call(&Admin::ListAudit, audit));
}

}  // namespace
}  // namespace syncbn::coordinator
