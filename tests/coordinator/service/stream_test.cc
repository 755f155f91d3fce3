// Streams: everything once, in order, from any cursor, for many followers, while others write.
#include <gmock/gmock.h>

#include <thread>

#include "tests/coordinator/service/stream_fixture.h"

namespace syncbn::coordinator {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

// Follows a job's history; ends at the entry with this reason.
struct Seen {
  std::vector<std::string> reasons;
  std::string cursor;
  int snapshots = 0;
};
Seen FollowUntil(v1::JobService::Stub& stub, v1::WatchJobsRequest request, size_t entries) {
  Seen seen;
  Context context;
  auto stream = stub.WatchJobs(&context, request);
  v1::WatchJobsResponse response;
  while (seen.reasons.size() < entries && stream->Read(&response)) {
    if (response.has_snapshot()) ++seen.snapshots;
    if (response.change().has_transition()) {
      seen.reasons.push_back(response.change().transition().reason());
    }
    if (!response.cursor().empty()) seen.cursor = response.cursor();
  }
  context.TryCancel();
  stream->Finish();
  return seen;
}

TEST_F(StreamTest, AWatchOfJobsSendsWhatIsThereThenChangesThenSignsOfLife) {
  server.pool_options.bookmark_every = 300ms;
  Start();
  AddJob(server.store, TestSpec("first"));
  AddJob(server.store, TestSpec("second"));
  Context context;
  auto stream = jobs->WatchJobs(&context, {});
  v1::WatchJobsResponse response;
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.snapshot().display_name(), "second");
  EXPECT_EQ(response.cursor(), "");
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.snapshot().display_name(), "first");
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_TRUE(response.has_snapshot_end());
  const std::string start = response.cursor();
  EXPECT_EQ(start, "j-2");

  ASSERT_TRUE(stream->Read(&response));
  EXPECT_TRUE(response.has_bookmark()) << response.ShortDebugString();
  EXPECT_EQ(response.cursor(), start);

  Note(2, "hello");
  do {
    ASSERT_TRUE(stream->Read(&response));
  } while (response.has_bookmark());
  EXPECT_EQ(response.change().transition().reason(), "hello");
  EXPECT_EQ(response.change().transition().job(), "jobs/2");
  EXPECT_EQ(response.change().job().name(), "jobs/2");
  EXPECT_EQ(response.cursor(), "j-3");

  v1::Progress progress;
  progress.set_step(17);
  server.store.Write([&](Tables& tables) { tables.jobs.UpdateProgress(1, progress); });
  do {
    ASSERT_TRUE(stream->Read(&response));
  } while (response.has_bookmark());
  EXPECT_FALSE(response.change().has_transition());
  EXPECT_EQ(response.change().job().progress().step(), 17);
  EXPECT_EQ(response.cursor(), "j-3");

  Finish(1);
  do {
    ASSERT_TRUE(stream->Read(&response));
  } while (response.has_bookmark());
  EXPECT_EQ(response.change().job().state(), v1::Job::SUCCEEDED);
  server.store.Write(
      [&](Tables& tables) { tables.jobs.Delete(1, {"test", "DELETE", ""}, kTestNow); });
  do {
    ASSERT_TRUE(stream->Read(&response));
  } while (response.has_bookmark());
  EXPECT_EQ(response.deleted(), "jobs/1");
  context.TryCancel();
  stream->Finish();
}

TEST_F(StreamTest, AFilteredWatchTellsWhenAJobNoLongerMatches) {
  Start();
  AddJob(server.store, TestSpec("mine"));
  AddJob(server.store, TestSpec("other"));
  Context context;
  v1::WatchJobsRequest request;
  request.set_filter("state = QUEUED AND name = mine");
  auto stream = jobs->WatchJobs(&context, request);
  v1::WatchJobsResponse response;
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.snapshot().name(), "jobs/1");
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_TRUE(response.has_snapshot_end());
  Note(2, "of no concern");
  Finish(1);
  // Between the two writes a slow stream may look at the job's place in the queue.
  do {
    ASSERT_TRUE(stream->Read(&response));
    EXPECT_EQ(response.change().job().name(), "jobs/1");
  } while (response.change().job().state() == v1::Job::QUEUED);
  EXPECT_EQ(response.change().job().state(), v1::Job::SUCCEEDED);
  Note(1, "of no concern any more");
  AddJob(server.store, TestSpec("mine"));
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.change().job().name(), "jobs/3");
  context.TryCancel();
  stream->Finish();
}

TEST_F(StreamTest, AWatchThatIsResumedAgainAndAgainMissesNothingAndSeesNothingTwice) {
  Start();
  const int64_t job = AddJob(server.store);
  constexpr int kWriters = 3, kEach = 60;
  v1::WatchJobsRequest request;
  request.set_job("jobs/1");
  request.set_cursor("j-1");
  std::vector<std::thread> writers;
  for (int writer = 0; writer < kWriters; ++writer) {
    writers.emplace_back([&, writer] {
      for (int i = 0; i < kEach; ++i) {
        Note(job, std::to_string(writer) + ":" + std::to_string(i));
        if (i % 7 == 0) {
          server.store.Write([&](Tables& tables) { tables.jobs.UpdateProgress(job, {}); });
        }
      }
    });
  }
  std::vector<std::string> all;
  while (all.size() < kWriters * kEach) {
    Seen seen = FollowUntil(*jobs, request, std::min<size_t>(11, kWriters * kEach - all.size()));
    ASSERT_FALSE(seen.reasons.empty());
    EXPECT_EQ(seen.snapshots, 0);
    all.insert(all.end(), seen.reasons.begin(), seen.reasons.end());
    request.set_cursor(seen.cursor);
  }
  for (std::thread& writer : writers) writer.join();
  std::vector<std::string> history;
  for (const auto& entry : server.store.Read([&](Tables& tables) {
         return tables.jobs.History(job, 1, 1000);
       })) {
    history.push_back(entry.reason());
  }
  EXPECT_EQ(all, history);
}

TEST_F(StreamTest, WatchesRefuseWhatTheyCannotFollow) {
  Start();
  AddJob(server.store);
  auto watch = [&](const v1::WatchJobsRequest& request) {
    Context context;
    auto stream = jobs->WatchJobs(&context, request);
    v1::WatchJobsResponse response;
    EXPECT_FALSE(stream->Read(&response));
    return Say(stream->Finish());
  };
  v1::WatchJobsRequest request;
  request.set_job("jobs/5");
  EXPECT_EQ(watch(request), "NOT_FOUND JOB_NOT_FOUND: there is no job jobs/5");
  request.set_filter("state = RUNNING");
  EXPECT_EQ(watch(request), "INVALID_ARGUMENT FIELD_INVALID: give a job or a filter, not both");
  request.clear_job();
  request.set_filter("stat = RUNNING");
  EXPECT_THAT(watch(request), StartsWith("INVALID_ARGUMENT FILTER_INVALID: "));
  request.clear_filter();
  request.set_cursor("m-1");
  EXPECT_EQ(watch(request),
            "INVALID_ARGUMENT CURSOR_INVALID: 'm-1' is not a cursor of this stream");
  request.set_cursor("j-99");
  EXPECT_EQ(watch(request),
            "OUT_OF_RANGE CURSOR_TOO_OLD: the cursor j-99 is ahead of this store, which was set back: "
            "start anew without a cursor");
  // The history of a deleted job is forgotten in time.
  Finish(1);
  server.store.Write(
      [&](Tables& tables) { tables.jobs.Delete(1, {"test", "DELETE", ""}, kTestNow); });
  Forget(server.store, {.deleted_jobs = 1s}, kTestNow + 1h);
  request.set_cursor("j-2");
  EXPECT_EQ(watch(request),
            "OUT_OF_RANGE CURSOR_TOO_OLD: what came after the cursor j-2 is no longer kept: start "
            "anew without a cursor");
}

TEST_F(StreamTest, AWatchOfMetricsSendsBatchesUntilTheJobHasEnded) {
  Start();
  const int64_t job = AddJob(server.store);
  AddPoints(job, 1, 4);
  Context context;
  v1::WatchMetricsRequest request;
  request.set_job("jobs/1");
  auto stream = metrics->WatchMetrics(&context, request);
  v1::WatchMetricsResponse response;
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.update().batch().first_sequence(), 1);
  EXPECT_EQ(response.update().attempt(), 1);
  const std::string cursor = response.cursor();
  AddPoints(job, 5, 4);
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.update().batch().first_sequence(), 5);
  Finish(job);
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_TRUE(response.has_end());
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_EQ(Say(stream->Finish()), "OK");

  // From a cursor, and only one of the two names.
  Context resumed;
  request.set_cursor(cursor);
  request.add_names("m1*");
  stream = metrics->WatchMetrics(&resumed, request);
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_THAT(response.update().batch().names(), ElementsAre("m1"));
  EXPECT_THAT(response.update().batch().step(), ElementsAre(2, 3));
  EXPECT_THAT(response.update().batch().value(), ElementsAre(2.1, 3.1));
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_TRUE(response.has_end());
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_EQ(Say(stream->Finish()), "OK");

  Context refused;
  request.set_cursor("m-77");
  stream = metrics->WatchMetrics(&refused, request);
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_THAT(Say(stream->Finish()), StartsWith("OUT_OF_RANGE CURSOR_TOO_OLD: "));
}

TEST_F(StreamTest, AWatchWithAnIntervalGetsWhatHasComeMeanwhileAsOneBatch) {
  Start();
  const int64_t job = AddJob(server.store);
  Context context;
  v1::WatchMetricsRequest request;
  request.set_job("jobs/1");
  request.add_names("m1*");
  request.mutable_interval()->set_seconds(1);
  auto stream = metrics->WatchMetrics(&context, request);
  v1::WatchMetricsResponse response;
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_TRUE(response.has_bookmark());
  int64_t points = 0, messages = 0, steps = 0;
  const auto read = [&] {
    if (!stream->Read(&response) || !response.has_update()) return false;
    const v1::MetricBatch& batch = response.update().batch();
    EXPECT_THAT(batch.names(), ElementsAre("m1"));
    EXPECT_EQ(batch.value_size(), batch.step_size());
    EXPECT_EQ(batch.time_us_size(), batch.step_size());
    EXPECT_EQ(batch.name_index_size(), batch.step_size());
    for (const int64_t step : batch.step()) EXPECT_EQ(step, steps++);
    points += batch.step_size();
    ++messages;
    return true;
  };
  // Half of the points are named m1.
  constexpr int kBatches = 50;
  for (int i = 0; i < kBatches; ++i) AddPoints(job, 1 + 4 * i, 4);
  while (points < 2 * kBatches) ASSERT_TRUE(read());
  EXPECT_LT(messages, kBatches / 4);
  // What comes while it does not look is not lost, and its end neither.
  AddPoints(job, 1 + 4 * kBatches, 4);
  ASSERT_TRUE(read());
  EXPECT_EQ(points, 2 * kBatches + 2);
  AddPoints(job, 5 + 4 * kBatches, 4);
  Finish(job);
  ASSERT_TRUE(read());
  EXPECT_EQ(points, 2 * kBatches + 4);
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_TRUE(response.has_end());
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_EQ(Say(stream->Finish()), "OK");

  Context wrong;
  request.mutable_interval()->set_seconds(11);
  stream = metrics->WatchMetrics(&wrong, request);
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_EQ(Say(stream->Finish()),
            "INVALID_ARGUMENT FIELD_INVALID: interval is 11s; it can be 0.001s to 10s");
}

TEST_F(StreamTest, SeriesAndQueriesAreAnsweredAndTheirMistakesNamed) {
  Start();
  const int64_t job = AddJob(server.store);
  AddPoints(job, 1, 10);
  v1::QueryMetricsRequest request;
  v1::QueryMetricsResponse response;
  auto query = [&] {
    Context context;
    return Say(metrics->QueryMetrics(&context, request, &response));
  };
  request.set_job("jobs/1");
  request.add_names("m0");
  EXPECT_EQ(query(), "OK");
  ASSERT_EQ(response.series_size(), 1);
  EXPECT_THAT(response.series(0).mean(), ElementsAre(0, 1, 2, 3, 4));
  request.set_max_buckets(20'001);
  EXPECT_EQ(query(),
            "INVALID_ARGUMENT FIELD_INVALID: max_buckets is 20001; it can be 1 to 20000");
  request.set_job("jobs/2");
  request.clear_max_buckets();
  EXPECT_EQ(query(), "NOT_FOUND JOB_NOT_FOUND: there is no job jobs/2");
  Context context;
  v1::ListSeriesRequest list;
  list.set_job("jobs/1");
  v1::ListSeriesResponse series;
  EXPECT_EQ(Say(metrics->ListSeries(&context, list, &series)), "OK");
  EXPECT_EQ(series.series_size(), 2);
}

TEST_F(StreamTest, AHundredFollowersOfOneJobAllGetEverythingFromAFewThreads) {
  Start();
  const int64_t job = AddJob(server.store);
  constexpr int kFollowers = 100, kBatches = 40;
  struct Client {
    Context context{"", 120s};
    std::unique_ptr<grpc::ClientReader<v1::WatchMetricsResponse>> stream;
    int64_t next = 1;
    bool ended = false;
  };
  const auto threads = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/task"),
                         std::filesystem::directory_iterator());
  };
  const auto threads_before = threads();
  std::vector<std::unique_ptr<Client>> clients;
  v1::WatchMetricsRequest request;
  request.set_job("jobs/1");
  for (int i = 0; i < kFollowers; ++i) {
    clients.push_back(std::make_unique<Client>());
    clients.back()->stream = metrics->WatchMetrics(&clients.back()->context, request);
  }
  const auto deadline = std::chrono::steady_clock::now() + 60s;
  while (server.pool->size() < kFollowers && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(5ms);
  }
  ASSERT_EQ(server.pool->size(), kFollowers);
  // Streams cost no threads of the server. (gRPC has some for each core.)
  EXPECT_LT(threads() - threads_before, kFollowers);
  for (int i = 0; i < kBatches; ++i) AddPoints(job, 1 + 50 * i, 50);
  Finish(job);
  for (auto& client : clients) {
    v1::WatchMetricsResponse response;
    while (client->stream->Read(&response)) {
      if (response.has_update()) {
        ASSERT_EQ(response.update().batch().first_sequence(), client->next);
        client->next += response.update().batch().step_size();
      }
      client->ended |= response.has_end();
    }
    EXPECT_EQ(Say(client->stream->Finish()), "OK");
    EXPECT_EQ(client->next, 1 + 50 * kBatches);
    EXPECT_TRUE(client->ended);
  }
  while (server.pool->size() > 0 && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(5ms);
  }
  EXPECT_EQ(server.pool->size(), 0);
}

TEST_F(StreamTest, AFollowerThatDoesNotReadHoldsNobodyUp) {
  Start();
  const int64_t job = AddJob(server.store);
  v1::WatchMetricsRequest request;
  request.set_job("jobs/1");
  Context slow_context("", 300s), fast_context("", 300s);
  auto slow = metrics->WatchMetrics(&slow_context, request);
  auto fast = metrics->WatchMetrics(&fast_context, request);
  // More than every buffer between server and client holds.
  constexpr int kBatches = 100, kPoints = 4000;
  for (int i = 0; i < kBatches; ++i) AddPoints(job, 1 + int64_t{kPoints} * i, kPoints);
  Finish(job);
  auto count = [](auto& stream) {
    v1::WatchMetricsResponse response;
    int64_t points = 0;
    while (stream->Read(&response)) points += response.update().batch().step_size();
    return points;
  };
  EXPECT_EQ(count(fast), int64_t{kBatches} * kPoints);
  EXPECT_EQ(count(slow), int64_t{kBatches} * kPoints);
  EXPECT_EQ(Say(fast->Finish()), "OK");
  EXPECT_EQ(Say(slow->Finish()), "OK");
}

TEST_F(StreamTest, StoppingEndsEveryStreamWithAReasonToComeBack) {
  Start();
  AddJob(server.store);
  Context context;
  auto stream = jobs->WatchJobs(&context, {});
  v1::WatchJobsResponse response;
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(stream->Read(&response));
  server.pool->Stop();
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_EQ(Say(stream->Finish()),
            "UNAVAILABLE NOT_SERVING: the coordinator is stopping: go on from the last cursor when "
            "it is back");
  server.server->Shutdown(5s);
}

}  // namespace
}  // namespace syncbn::coordinator
