// Whose job it is, how much one user may have, and how large an answer becomes.
#include <google/protobuf/util/json_util.h>

#include "coordinator/answer_size.h"
#include "coordinator/store/column.h"
#include "tests/coordinator/service/real_services_fixture.h"

namespace syncbn::coordinator {
namespace {

using Jobs = v1::JobService::Stub;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// What a client of gRPC takes that has set nothing.
constexpr size_t kEveryClientTakes = size_t{4} << 20;

class JobBoundsTest : public RealServicesTest {
 protected:
  std::string TokenOf(const std::string& name, Role role = Role::kSubmitter) {
    if (!authenticator.HasTokens()) root = authenticator.Create("root", Role::kAdmin, std::nullopt);
    return authenticator.Create(name, role, std::nullopt);
  }
  template <typename Request>
  static Request Named(int64_t job) {
    Request request;
    request.set_name(JobName(job));
    return request;
  }
  v1::CreateJobRequest NewJobRequest(const std::string& id = "") const {
    v1::CreateJobRequest request;
    request.mutable_job()->set_run_file(SmallRun(4, 8, "global"));
    request.set_request_id(id);
    return request;
  }
  template <typename Request, typename Response>
  Response Ask(grpc::Status (Jobs::*method)(grpc::ClientContext*, const Request&, Response*),
               const Request& request) {
    Context context;
    Response response;
    const grpc::Status status = (Jobs(channel).*method)(&context, request, &response);
    EXPECT_EQ(Say(status), "OK");
    EXPECT_LT(response.ByteSizeLong(), kEveryClientTakes);
    return response;
  }
  // A job that is in the store only.
  int64_t Keep(const v1::Job& spec, const std::string& run_file = "seed: 1\n") {
    return store.Write([&](Tables& tables) {
      return tables.jobs.Create(spec, {run_file, run_file}, NewJob({}, MomentAt(kTestNow)),
                                {spec.submitter(), "CREATE", ""}, kTestNow);
    });
  }

  std::string root;
};

TEST_F(JobBoundsTest, HostsAndTokensComeInPagesThatEndWithTheList) {
  std::vector<std::string> names;
  for (int i = 0; i < 7; ++i) {
    names.push_back("user" + std::to_string(i));
    TokenOf(names.back());
  }
  names.insert(names.begin(), "root");
  std::vector<std::string> seen;
  v1::ListTokensRequest request;
  request.set_page_size(3);
  v1::AdminService::Stub tokens(channel);
  do {
    Context context(root);
    v1::ListTokensResponse page;
    ASSERT_EQ(Say(tokens.ListTokens(&context, request, &page)), "OK");
    EXPECT_LE(page.tokens_size(), 3);
    for (const v1::Token& token : page.tokens()) seen.push_back(token.name());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  EXPECT_EQ(seen, names);
  request.set_page_size(1001);
  EXPECT_THAT(Say(Call(&v1::AdminService::Stub::ListTokens, request, root)),
              HasSubstr("page_size"));

  v1::ClusterService::Stub cluster(channel);
  v1::ListHostsRequest hosts_request;
  hosts_request.set_page_size(1);
  seen.clear();
  do {
    Context context(root);
    v1::ListHostsResponse page;
    ASSERT_EQ(Say(cluster.ListHosts(&context, hosts_request, &page)), "OK");
    ASSERT_EQ(page.hosts_size(), 1);
    seen.push_back(page.hosts(0).name());
    hosts_request.set_page_token(page.next_page_token());
  } while (!hosts_request.page_token().empty());
  Context context(root);
  v1::ListHostsResponse all;
  ASSERT_EQ(Say(cluster.ListHosts(&context, {}, &all)), "OK");
  EXPECT_EQ(all.hosts_size(), static_cast<int>(seen.size()));
  EXPECT_EQ(all.next_page_token(), "");
  hosts_request.set_page_token("nowhere");
  EXPECT_THAT(Say(Call(&v1::ClusterService::Stub::ListHosts, hosts_request, root)),
              HasSubstr("is not of this list"));
}

TEST_F(JobBoundsTest, AnAnswerOfManyLongTokensFitsAnyClient) {
  store.Write([&](Tables& tables) {
    for (int i = 0; i < 900; ++i) {
      tables.tokens.Add({.hash = std::to_string(i),
                         .name = std::to_string(10000 + i) + std::string(8192, 'x'),
                         .role = static_cast<int>(Role::kViewer),
                         .create_time = kTestNow});
    }
  });
  const std::string token = TokenOf("zoe");
  Context context(root);
  v1::ListTokensResponse page;
  ASSERT_EQ(Say(v1::AdminService::Stub(channel).ListTokens(&context, {}, &page)), "OK");
  EXPECT_LT(page.ByteSizeLong(), kEveryClientTakes);
  EXPECT_NE(page.next_page_token(), "");
}

TEST_F(JobBoundsTest, AJobIsChangedByItsSubmitterHisTeamAndAdminsOnly) {
  const int64_t job = SubmitRunning();  // anna's
  const std::string anna = TokenOf("anna"), bert = TokenOf("bert"), eve = TokenOf("eve");
  const auto refusals = [&](const std::string& token) {
    std::vector<std::string> said = {
        Say(Call(&Jobs::CancelJob, Named<v1::CancelJobRequest>(job), token)),
        Say(Call(&Jobs::PauseJob, Named<v1::PauseJobRequest>(job), token)),
        Say(Call(&Jobs::ResumeJob, Named<v1::ResumeJobRequest>(job), token)),
        Say(Call(&Jobs::RetryJob, Named<v1::RetryJobRequest>(job), token)),
        Say(Call(&Jobs::DeleteJob, Named<v1::DeleteJobRequest>(job), token))};
    auto kill = Named<v1::CancelJobRequest>(job);
    kill.set_kill(true);
    said.push_back(Say(Call(&Jobs::CancelJob, kill, token)));
    kill.set_validate_only(true);
    said.push_back(Say(Call(&Jobs::CancelJob, kill, token)));
    return said;
  };
  for (const std::string& said : refusals(eve))
    EXPECT_THAT(
        said,
        StartsWith("PERMISSION_DENIED ROLE_TOO_LOW: jobs/1 was submitted by anna: only anna"));
  EXPECT_EQ(StateOf(job), JobState::kRunning);
  EXPECT_EQ(Say(Call(&Jobs::PauseJob, Named<v1::PauseJobRequest>(job), bert)), "OK");
  WaitForState(job, JobState::kPaused);
  EXPECT_EQ(Say(Call(&Jobs::ResumeJob, Named<v1::ResumeJobRequest>(job), anna)), "OK");
  EXPECT_EQ(Say(Call(&Jobs::CancelJob, Named<v1::CancelJobRequest>(job), root)), "OK");
  // What it can look at is not less.
  EXPECT_EQ(Say(Call(&Jobs::GetJob, Named<v1::GetJobRequest>(job), eve)), "OK");
}

TEST_F(JobBoundsTest, ASubmitterHasSoManyOpenJobsAndAnAnswerThatCameIsGivenAgain) {
  // The controller is there already: as many jobs as it allows are put into the store.
  const std::string anna = TokenOf("anna"), bert = TokenOf("bert");
  const int64_t most = options.submitter.open_jobs;
  store.Write([&](Tables& tables) {
    for (int64_t i = 0; i + 1 < most; ++i) {
      tables.jobs.Create(TestSpec(), {"seed: 1\n", "seed: 1\n"}, NewJob({}, MomentAt(kTestNow)),
                         {"anna", "CREATE", ""}, kTestNow);
    }
  });
  EXPECT_EQ(Say(Call(&Jobs::CreateJob, NewJobRequest("last"), anna)), "OK");
  const grpc::Status refused = Call(&Jobs::CreateJob, NewJobRequest("beyond"), anna);
  EXPECT_EQ(Say(refused),
            "RESOURCE_EXHAUSTED QUOTA_EXCEEDED: anna has " + std::to_string(most) +
                " jobs that have not ended, which is the limit: wait for some to end, or "
                "cancel them");
  EXPECT_EQ(InfoOf(refused).metadata().at("limit"), "jobs");
  EXPECT_EQ(Say(Call(&Jobs::CreateJob, NewJobRequest("last"), anna)), "OK");
  EXPECT_EQ(Say(Call(&Jobs::CreateJob, NewJobRequest(), bert)), "OK");
}

TEST_F(JobBoundsTest, ASubmittersJobsHaveSoManyBytes) {
  const std::string anna = TokenOf("anna");
  store.Write([&](Tables& tables) {
    tables.database.Run("UPDATE jobs SET bytes = ? WHERE id = ?", options.submitter.bytes,
                        tables.jobs.Create(TestSpec(), {"seed: 1\n", "seed: 1\n"},
                                           NewJob({}, MomentAt(kTestNow)), {"anna", "CREATE", ""}, kTestNow));
  });
  const grpc::Status refused = Call(&Jobs::CreateJob, NewJobRequest(), anna);
  EXPECT_THAT(Say(refused), HasSubstr("QUOTA_EXCEEDED: anna has jobs of 1073741824 bytes"));
  EXPECT_EQ(InfoOf(refused).metadata().at("limit"), "bytes");
  auto only_checked = NewJobRequest();
  only_checked.set_validate_only(true);
  EXPECT_THAT(Say(Call(&Jobs::CreateJob, only_checked, anna)), HasSubstr("QUOTA_EXCEEDED"));
}

TEST_F(JobBoundsTest, TheReasonsInAJobsHistoryAreAmongItsSubmittersBytes) {
  const std::string anna = TokenOf("anna");
  store.Write([&](Tables& tables) {
    const int64_t id = tables.jobs.Create(TestSpec(), {"seed: 1\n", "seed: 1\n"},
                                          NewJob({}, MomentAt(kTestNow)), {"anna", "CREATE", ""}, kTestNow);
    const int64_t before = tables.jobs.UseOf("anna").bytes;
    tables.jobs.Update(id, tables.jobs.Get(id).status, {"anna", "PAUSE", std::string(1000, 'x')}, kTestNow);
    EXPECT_GE(tables.jobs.UseOf("anna").bytes, before + 1000);
    EXPECT_LE(tables.jobs.UseOf("anna").bytes, before + 1200);
  });
}

TEST_F(JobBoundsTest, AListOfLargeRunFilesHasPagesThatFitAndMissesNoJob) {
  const std::string run_file(256 * 1024, '#');
  for (int i = 0; i < 20; ++i) Keep(TestSpec(), run_file);
  v1::ListJobsRequest request;
  request.set_page_size(1000);
  request.set_view(v1::JOB_VIEW_FULL);
  std::vector<std::string> names;
  int pages = 0;
  do {
    const v1::ListJobsResponse response = Ask(&Jobs::ListJobs, request);
    for (const v1::Job& job : response.jobs()) {
      names.push_back(job.name());
      EXPECT_EQ(job.run_file().size(), run_file.size());
    }
    request.set_page_token(response.next_page_token());
    ++pages;
  } while (!request.page_token().empty());
  EXPECT_EQ(names.size(), 20u);
  EXPECT_EQ(names.front(), "jobs/20");
  EXPECT_EQ(names.back(), "jobs/1");
  EXPECT_GT(pages, 3);
}

TEST_F(JobBoundsTest, WhatIsHeavyIsNotInTheBasicView) {
  v1::Job spec = TestSpec();
  spec.add_overrides("name=" + std::string(600, 'x'));
  (*spec.mutable_environment())["LEVEL"] = "3";
  (*spec.mutable_labels())["team"] = "vision";
  spec.mutable_resources()->add_hosts("node1");
  spec.mutable_resources()->add_excluded_hosts("node2");
  spec.mutable_resources()->add_host_tags("fast");
  Keep(spec);
  const auto is_basic = [](const v1::Job& job) {
    return job.overrides().empty() && job.environment().empty() &&
           job.resources().hosts().empty() && job.resources().excluded_hosts().empty() &&
           job.resources().host_tags().empty() && job.resources().processes() == 1 &&
           job.labels_size() == 1;
  };
  EXPECT_TRUE(is_basic(Ask(&Jobs::ListJobs, v1::ListJobsRequest()).jobs(0)));
  auto get = Named<v1::GetJobRequest>(1);
  EXPECT_EQ(Ask(&Jobs::GetJob, get).resources().hosts(0), "node1");
  EXPECT_EQ(Ask(&Jobs::GetJob, get).overrides(0).size(), 605u);
  get.set_view(v1::JOB_VIEW_BASIC);
  EXPECT_TRUE(is_basic(Ask(&Jobs::GetJob, get)));
  Context context;
  Jobs stub(channel);
  const auto watch = stub.WatchJobs(&context, v1::WatchJobsRequest());
  v1::WatchJobsResponse response;
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_TRUE(is_basic(response.snapshot()));
  context.TryCancel();
}

TEST_F(JobBoundsTest, TheBasicViewTellsTheJobsOfASweepApartAndHowGoodTheyAre) {
  v1::Job spec = TestSpec();
  spec.add_overrides("seed=2");
  const int64_t job = Keep(spec);
  Keep(TestSpec());
  v1::MetricBatch batch;
  batch.set_first_sequence(1);
  batch.add_names("test/accuracy");
  for (const double accuracy : {0.25, 0.75, 0.5}) {
    batch.add_name_index(0);
    batch.add_step(10 * batch.step_size());
    batch.add_value(accuracy);
    batch.add_time_us(0);
  }
  store.Write([&](Tables& tables) { tables.metrics.Insert({job, 1, 0}, batch, WallTime()); });
  const v1::ListJobsResponse list = Ask(&Jobs::ListJobs, v1::ListJobsRequest());
  EXPECT_FALSE(list.jobs(0).has_evaluation());
  const v1::Job shown = list.jobs(1);
  EXPECT_EQ(shown.overrides(0), "seed=2");
  EXPECT_EQ(shown.evaluation().step(), 20);
  EXPECT_EQ(shown.evaluation().accuracy(), 0.5);
  EXPECT_EQ(shown.evaluation().best_accuracy(), 0.75);
}

TEST_F(JobBoundsTest, AttemptsOfManyTalkativeRanksComeInPages) {
  const int64_t job = Keep(TestSpec());
  v1::RankExit exit;
  exit.set_message(std::string(16 * 1024, 'x'));
  store.Write([&](Tables& tables) {
    for (int number = 1; number <= 6; ++number) {
      v1::Attempt attempt;
      attempt.set_name(AttemptName(job, number));
      tables.attempts.Begin({job, number}, attempt, "hash" + std::to_string(number));
      for (int rank = 0; rank < 100; ++rank) tables.attempts.PutRankExit({job, number}, rank, exit);
    }
  });
  v1::ListAttemptsRequest request;
  request.set_parent(JobName(job));
  std::vector<std::string> names;
  int pages = 0;
  do {
    const v1::ListAttemptsResponse response = Ask(&Jobs::ListAttempts, request);
    for (const v1::Attempt& attempt : response.attempts()) {
      names.push_back(attempt.name());
      EXPECT_EQ(attempt.ranks_size(), 100);
      EXPECT_THAT(attempt.ranks(99).message(), StartsWith("xxxx"));
    }
    request.set_page_token(response.next_page_token());
    ++pages;
  } while (!request.page_token().empty());
  EXPECT_EQ(pages, 3);
  EXPECT_EQ(names.size(), 6u);
  EXPECT_EQ(names.back(), AttemptName(job, 6));
  request.set_page_token("t3");
  EXPECT_THAT(Say(Call(&Jobs::ListAttempts, request)), HasSubstr("PAGE_TOKEN_INVALID"));
}

TEST_F(JobBoundsTest, AnAnswerOfTooManySeriesIsRefusedBeforeItIsMade) {
  const int64_t job = Keep(TestSpec());
  // 120 series of 1000 steps, of which each is a bucket of some 38 bytes.
  int64_t next = 1;
  for (int series = 0; series < 120; ++series) {
    v1::MetricBatch batch;
    batch.set_first_sequence(next);
    batch.add_names("series/" + std::to_string(series));
    for (int step = 0; step < 1000; ++step) {
      batch.add_name_index(0);
      batch.add_step(step);
      batch.add_value(step);
      batch.add_time_us(1'000'000'000'000'000 + step);
    }
    next += 1000;
    store.Write([&](Tables& tables) { tables.metrics.Insert({job, 1, 0}, batch, kTestNow); });
  }
  v1::QueryMetricsRequest request;
  request.set_job(JobName(job));
  const grpc::Status refused = Call(&v1::MetricsService::Stub::QueryMetrics, request);
  EXPECT_EQ(
      Say(refused),
      "RESOURCE_EXHAUSTED TOO_LARGE: the answer would have more than 3145728 bytes: ask for fewer "
      "names, fewer steps or fewer buckets");
  // As soon as it was too much, and not when all was there.
  EXPECT_LT(std::stoll(InfoOf(refused).metadata().at("bytes")), kMostAnswer + 100'000);
  request.set_max_buckets(100);
  EXPECT_EQ(Say(Call(&v1::MetricsService::Stub::QueryMetrics, request)), "OK");
}

TEST_F(JobBoundsTest, WhatAnEarlierVersionTookIsShownAsJsonAllTheSame) {
  v1::Job spec = TestSpec();
  spec.mutable_resources()->mutable_time_limit()->set_seconds(-9223372036854776);
  spec.mutable_resources()->mutable_time_limit()->set_nanos(2'000'000'000);
  const int64_t job = Keep(spec);
  store.Write([&](Tables& tables) {
    tables.tokens.Add({.hash = "old",
                       .name = "old",
                       .role = 3,
                       .create_time = FromMicros(INT64_MIN),
                       .expire_time = FromMicros(INT64_MIN + 1)});
    tables.database.Run(
        "INSERT INTO series(job, name, rank, points, first_step, last_step, last_value, last_time) "
        "VALUES (?, 'm', 0, 1, 0, 0, 0.0, ?)",
        job, INT64_MIN);
    for (int rank = 0; rank < 3; ++rank) {
      tables.database.Run(
          "INSERT INTO streams(job, attempt, rank, acknowledged, lost) VALUES (?, 1, ?, 0, ?)", job,
          rank, INT64_MAX);
    }
  });
  std::string json;
  EXPECT_TRUE(google::protobuf::util::MessageToJsonString(
                  Ask(&Jobs::ListJobs, v1::ListJobsRequest()), &json)
                  .ok());
  v1::ListSeriesRequest series;
  series.set_job(JobName(job));
  EXPECT_EQ(Say(Call(&v1::MetricsService::Stub::ListSeries, series)), "OK");
  EXPECT_EQ(Say(Call(&v1::AdminService::Stub::ListTokens, v1::ListTokensRequest())), "OK");
}

}  // namespace
}  // namespace syncbn::coordinator
