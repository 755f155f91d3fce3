// Every FIELD_INVALID of the API names its field. All services are real; only the launcher is not.
#include <google/protobuf/util/time_util.h>

#include "tests/coordinator/service/real_services_fixture.h"

namespace syncbn::coordinator {
namespace {

class FieldTest : public RealServicesTest {
 protected:
  void Expect(const std::string& field, const grpc::Status& status) {
    const v1::ErrorInfo info = InfoOf(status);
    EXPECT_EQ(info.reason(), "FIELD_INVALID") << field << ": " << Say(status);
    ASSERT_TRUE(info.metadata().contains("field")) << Say(status);
    EXPECT_EQ(info.metadata().at("field"), field);
  }
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
  Expect("resources.hosts",
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

  // What would stay: of checkpoints the newest counts, of lost points the most.
  beat.clear_reduction_name();
  enter.mutable_rank()->set_rank(0);
  enter.set_total_steps(-1);
  Expect("total_steps", Call(&Workers::Register, enter, token));
  enter.set_total_steps(100);
  EXPECT_EQ(Say(Call(&Workers::Register, enter, token)), "OK");
  for (const int64_t beyond : {int64_t{101}, INT64_MAX}) {
    beat.set_checkpoint_step(beyond);
    Expect("checkpoint_step", Call(&Workers::Heartbeat, beat, token));
    beat.clear_checkpoint_step();
    beat.set_step(beyond);
    Expect("step", Call(&Workers::Heartbeat, beat, token));
    beat.clear_step();
  }
  beat.set_lost_points(INT64_MAX);
  Expect("lost_points", Call(&Workers::Heartbeat, beat, token));
  beat.clear_lost_points();
  beat.set_step(100);
  beat.set_checkpoint_step(100);
  EXPECT_EQ(Say(Call(&Workers::Heartbeat, beat, token)), "OK");
  EXPECT_EQ(View(job).progress().lost_points(), 0);
  beat.mutable_rank()->set_rank(7);
  EXPECT_THAT(Say(Call(&Workers::Heartbeat, beat, token)),
              testing::HasSubstr("rank.rank is 7, but the attempt has 1 rank: 0"));

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

  *report.mutable_batch() = TestBatch(1, 2);
  report.mutable_batch()->set_time_us(0, INT64_MIN);
  Expect("batch.time_us", Report(report, token));

  v1::ReportExitRequest leave;
  *leave.mutable_rank() = rank(attempt);
  leave.mutable_exit()->set_message(large);
  Expect("exit.message", Call(&Workers::ReportExit, leave, token));
  leave.mutable_exit()->clear_message();
  leave.mutable_exit()->add_frames(large);
  Expect("exit.frames", Call(&Workers::ReportExit, leave, token));
  leave.mutable_exit()->clear_frames();
  leave.mutable_exit()->set_error_code(large);
  Expect("exit.error_code", Call(&Workers::ReportExit, leave, token));
  leave.mutable_exit()->clear_error_code();
  leave.mutable_exit()->set_digest(large);
  Expect("exit.digest", Call(&Workers::ReportExit, leave, token));
  leave.mutable_exit()->clear_digest();
  leave.mutable_exit()->set_lost_points(INT64_MAX);
  Expect("exit.lost_points", Call(&Workers::ReportExit, leave, token));
  leave.mutable_exit()->clear_lost_points();
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
  create.mutable_token()->mutable_expire_time()->set_seconds(INT64_MIN / 1'000'000);
  Expect("token.expire_time", Call(&Admin::CreateToken, create));
  create.set_request_id("\a");
  create.mutable_token()->mutable_expire_time()->set_seconds(4'000'000'000);
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
