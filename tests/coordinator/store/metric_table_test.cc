// Metrics in the store: once each, whatever is sent; later attempts shown, earlier ones kept.
#include "coordinator/store/metric_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "coordinator/store/downsample.h"
#include "coordinator/store/retention.h"
#include "tests/coordinator/store/store_fixture.h"
#include "tests/support/temp_folder.h"

namespace syncbn::coordinator {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class MetricTableTest : public ::testing::Test {
 protected:
  int64_t Insert(const v1::MetricBatch& batch, int attempt = 1, int rank = 0) {
    return store.Write([&](Tables& tables) {
      return tables.metrics.Insert({job, attempt, rank}, batch, now);
    });
  }
  v1::QueryMetricsResponse Query(v1::QueryMetricsRequest request) {
    request.set_job(JobName(job));
    return store.Read([&](Tables& tables) { return tables.metrics.Query(request); });
  }
  std::vector<double> Values(const v1::Series& series) {
    return {series.mean().begin(), series.mean().end()};
  }

  TempFolder folder;
  Store store{{.folder = folder.path(), .synced = false}};
  int64_t job = AddJob(store);
  WallTime now = kTestNow;
};

TEST_F(MetricTableTest, EveryOrderOfRepeatedAndOverlappingBatchesStoresEachPointOnce) {
  std::mt19937 random(3);
  for (int story = 0; story < 20; ++story) {
    const int attempt = story + 1;
    int64_t acknowledged = 0;
    while (acknowledged < 60) {
      // Anything from long acknowledged to beyond a gap.
      const int64_t first =
          std::max<int64_t>(1, acknowledged + 1 + static_cast<int64_t>(random() % 20) - 12);
      const int count = 1 + static_cast<int>(random() % 15);
      const int64_t answer = Insert(TestBatch(first, count), attempt);
      const int64_t expected =
          first > acknowledged + 1 ? acknowledged : std::max(acknowledged, first + count - 1);
      ASSERT_EQ(answer, expected);
      acknowledged = answer;
    }
    const v1::MetricBatch all = TestBatch(1, static_cast<int>(acknowledged));
    const std::vector<std::string> stored = AllPoints(store, job);
    std::vector<std::string> expected;
    for (int i = 0; i < all.step_size(); ++i) {
      expected.push_back(std::to_string(attempt) + "/0/" + std::to_string(i + 1) + " m" +
                         std::to_string(i % 2) + " " + std::to_string(all.step(i)) + " " +
                         FormatDouble(all.value(i)));
    }
    ASSERT_EQ(std::vector<std::string>(stored.end() - static_cast<int64_t>(expected.size()),
                                       stored.end()),
              expected);
  }
}

TEST_F(MetricTableTest, ABatchAfterAGapAddsNothingAndIsAnsweredWithWhatIsThere) {
  EXPECT_EQ(Insert(TestBatch(1, 10)), 10);
  EXPECT_EQ(Insert(TestBatch(12, 5)), 10);
  EXPECT_EQ(AllPoints(store, job).size(), 10u);
  EXPECT_EQ(Insert(TestBatch(11, 5)), 15);
}

TEST_F(MetricTableTest, PointsThatAWorkerLostAreCountedAndLeaveAGapInTheSequence) {
  Insert(TestBatch(1, 10));
  v1::MetricBatch batch = TestBatch(31, 4);
  batch.set_lost_before(20);
  EXPECT_EQ(Insert(batch), 34);
  EXPECT_EQ(Insert(batch), 34) << "again";
  const auto list = store.Read([&](Tables& tables) { return tables.metrics.ListSeries(job); });
  EXPECT_EQ(list.lost_points(), 20);
  EXPECT_EQ(AllPoints(store, job).size(), 14u);
}

TEST_F(MetricTableTest, RanksAndAttemptsHaveSequencesOfTheirOwn) {
  EXPECT_EQ(Insert(TestBatch(1, 4), 1, 0), 4);
  EXPECT_EQ(Insert(TestBatch(1, 6), 1, 1), 6);
  EXPECT_EQ(Insert(TestBatch(1, 2), 2, 0), 2);
  EXPECT_EQ(AllPoints(store, job).size(), 12u);
}

TEST_F(MetricTableTest, BatchesThatContradictThemselvesAreRefusedWithTheReason) {
  auto error = [&](auto change) {
    v1::MetricBatch batch = TestBatch(1, 4);
    change(batch);
    return ErrorOf([&] { Insert(batch, 1, 3); });
  };
  const std::string where = "INVALID_ARGUMENT: metric batch of jobs/1/attempts/1, rank 3: ";
  EXPECT_EQ(error([](auto& batch) { batch.add_step(7); }), where + "its columns differ in length");
  EXPECT_EQ(error([](auto& batch) { batch.set_first_sequence(0); }),
            where + "first_sequence 0 after 0 lost points");
  EXPECT_EQ(error([](auto& batch) { batch.set_lost_before(1); }),
            where + "first_sequence 1 after 1 lost points");
  EXPECT_EQ(error([](auto& batch) { batch.set_name_index(2, 2); }),
            where + "name_index 2 of 2 names");
  EXPECT_EQ(error([](auto& batch) { batch.set_names(0, "a b"); }),
            where + "'a b' is not a metric's name (letters, digits, . _ - /, at most 128)");
  EXPECT_THAT(error([](auto& batch) {
                for (int i = 0; i < 3000; ++i) batch.add_names(std::string(128, 'x'));
              }),
              HasSubstr("bytes, more than 262144"));
  EXPECT_EQ(ErrorOf([&] {
              store.Write([&](Tables& tables) {
                tables.metrics.Insert({99, 1, 0}, TestBatch(1, 1), now);
              });
            }),
            "NOT_FOUND: there is no job jobs/99");
  EXPECT_TRUE(AllPoints(store, job).empty());
}

TEST_F(MetricTableTest, WhereTwoAttemptsDidAStepTheLaterIsShownAndTheEarlierKept) {
  auto batch = [](int64_t from, int64_t to, double offset) {
    v1::MetricBatch batch;
    batch.set_first_sequence(1);
    batch.add_names("loss");
    for (int64_t step = from; step <= to; ++step) {
      batch.add_name_index(0);
      batch.add_step(step);
      batch.add_value(static_cast<double>(step) + offset);
      batch.add_time_us(step);
    }
    return batch;
  };
  Insert(batch(1, 6, 0.1), 1);
  Insert(batch(4, 5, 0.2), 2);
  v1::QueryMetricsRequest request;
  v1::QueryMetricsResponse shown = Query(request);
  ASSERT_EQ(shown.series_size(), 1);
  EXPECT_THAT(Values(shown.series(0)), ElementsAre(1.1, 2.1, 3.1, 4.2, 5.2, 6.1));
  EXPECT_THAT(shown.series(0).attempt(), ElementsAre(1, 1, 1, 2, 2, 1));
  EXPECT_EQ(shown.series(0).points(), 6);
  request.set_attempt(1);
  EXPECT_THAT(Values(Query(request).series(0)), ElementsAre(1.1, 2.1, 3.1, 4.1, 5.1, 6.1));
  // A late delivery of the earlier attempt's spool changes nothing that is shown.
  v1::MetricBatch late = batch(4, 5, 0.3);
  late.set_first_sequence(7);
  Insert(late, 1);
  request.clear_attempt();
  EXPECT_THAT(Values(Query(request).series(0)), ElementsAre(1.1, 2.1, 3.1, 4.2, 5.2, 6.1));
}

TEST_F(MetricTableTest, QueriesChooseByNamePrefixRankAndStepRange) {
  Insert(TestBatch(1, 20, 2), 1, 1);
  Insert(TestBatch(1, 20, 2), 1, 4);
  v1::QueryMetricsRequest request;
  EXPECT_EQ(Query(request).series_size(), 2) << "the lowest rank of each name";
  EXPECT_EQ(Query(request).series(0).rank(), 1);
  request.set_rank(4);
  request.add_names("m1");
  request.set_first_step(3);
  request.set_last_step(5);
  const v1::QueryMetricsResponse response = Query(request);
  ASSERT_EQ(response.series_size(), 1);
  EXPECT_EQ(response.series(0).name(), "m1");
  EXPECT_EQ(response.series(0).rank(), 4);
  EXPECT_THAT(response.series(0).first_step(), ElementsAre(3, 4, 5));
  request.set_names(0, "m*");
  EXPECT_EQ(Query(request).series_size(), 2);
  request.set_names(0, "x*");
  EXPECT_EQ(Query(request).series_size(), 0);
  request.set_names(0, "m1");
  request.set_first_step(100);
  request.set_last_step(200);
  EXPECT_EQ(Query(request).series(0).mean_size(), 0);
  request.set_max_buckets(20001);
  EXPECT_EQ(ErrorOf([&] { Query(request); }),
            "INVALID_ARGUMENT: max_buckets is 20001; it can be 1 to 20000");
}

TEST_F(MetricTableTest, NotANumberAndInfinityAreKeptAndCounted) {
  const double nan = std::nan(""), infinity = std::numeric_limits<double>::infinity();
  v1::MetricBatch batch = TestBatch(1, 4, 1);
  batch.set_value(1, nan);
  batch.set_value(2, -infinity);
  Insert(batch);
  v1::QueryMetricsRequest request;
  v1::Series series = Query(request).series(0);
  EXPECT_TRUE(std::isnan(series.mean(1)));
  EXPECT_THAT(series.non_finite(), ElementsAre(0, 1, 1, 0));
  request.set_max_buckets(1);
  series = Query(request).series(0);
  EXPECT_THAT(series.mean(), ElementsAre(1.5)) << "of steps 0 and 3";
  EXPECT_THAT(series.non_finite(), ElementsAre(2));
  EXPECT_THAT(series.count(), ElementsAre(4));
  store.Read([&](Tables& tables) {
    Rows rows = tables.database.Query("SELECT value FROM points ORDER BY sequence");
    rows.Next();
    rows.Next();
    EXPECT_TRUE(std::isnan(rows.Real(0)));
    rows.Next();
    EXPECT_EQ(rows.Real(0), -infinity);
  });
}

TEST_F(MetricTableTest, TheListOfSeriesShowsCountRangeAndLastValue) {
  Insert(TestBatch(1, 20, 2), 1, 0);
  Insert(TestBatch(21, 2, 2), 1, 0);
  Insert(TestBatch(1, 4, 2), 1, 3);
  Insert(TestBatch(1, 4, 2), 2, 0);  // an earlier step again: the last stays the last
  const auto list = store.Read([&](Tables& tables) { return tables.metrics.ListSeries(job); });
  ASSERT_EQ(list.series_size(), 2);
  EXPECT_EQ(list.series(1).name(), "m1");
  EXPECT_EQ(list.series(1).points(), 11 + 2 + 2);
  EXPECT_EQ(list.series(1).first_step(), 0);
  EXPECT_EQ(list.series(1).last_step(), 10);
  EXPECT_EQ(list.series(1).last_value(), 10.1);
}

TEST_F(MetricTableTest, AWatchThatGoesOnFromItsCursorSeesEveryPointOnce) {
  Insert(TestBatch(1, 10));
  Insert(TestBatch(5, 10));  // half of it is known
  Insert(TestBatch(1, 6), 1, 1);
  std::vector<int64_t> firsts;
  int64_t cursor = 0, points = 0;
  while (true) {
    const auto batches =
        store.Read([&](Tables& tables) { return tables.metrics.BatchesAfter(job, cursor, 1); });
    if (batches.empty()) break;
    cursor = batches[0].id;
    firsts.push_back(batches[0].update.batch().first_sequence());
    points += batches[0].update.batch().step_size();
  }
  EXPECT_THAT(firsts, ElementsAre(1, 11, 1));
  EXPECT_EQ(points, 20);
  EXPECT_EQ(cursor, store.Read([](Tables& tables) { return tables.metrics.NewestBatch(); }));
}

TEST_F(MetricTableTest, RetentionForgetsBatchesButNotPointsAndSaysFromWhereWatchesCanGoOn) {
  Insert(TestBatch(1, 10));
  now += std::chrono::hours(30);
  Insert(TestBatch(11, 10));
  while (Forget(store, {}, now, 1).more) {
  }
  store.Read([&](Tables& tables) {
    EXPECT_EQ(tables.metrics.ForgottenBatches(), 1);
    EXPECT_EQ(tables.metrics.BatchesAfter(job, 0, 10).size(), 1u);
  });
  EXPECT_EQ(AllPoints(store, job).size(), 20u);
}

TEST_F(MetricTableTest, RetentionDeletesOldEndedJobsWithAllThatBelongsToThem) {
  Insert(TestBatch(1, 100));
  const int64_t open = AddJob(store);
  ApplyTo(store, job, {.kind = EventKind::kCancel}, now);
  store.Mutate({"anna", "one", "X", "d"}, now, [](Tables&) { return std::string("a"); });
  const RetentionPolicy policy{.ended_jobs = std::chrono::hours(24 * 10)};
  now += std::chrono::hours(24 * 9);
  while (Forget(store, policy, now, 7).more) {
  }
  EXPECT_EQ(AllPoints(store, job).size(), 100u);
  now += std::chrono::hours(48);
  std::vector<int64_t> deleted;
  for (RetentionStep step{.more = true}; step.more;) {
    step = Forget(store, policy, now, 7);
    deleted.insert(deleted.end(), step.deleted_jobs.begin(), step.deleted_jobs.end());
  }
  EXPECT_THAT(deleted, ElementsAre(job));
  store.Read([&](Tables& tables) {
    EXPECT_EQ(tables.jobs.Count(), 1);
    EXPECT_EQ(tables.jobs.Open().at(0).id, open);
    for (const char* table : {"points", "series", "streams", "batches", "requests"}) {
      Rows rows = tables.database.Query(std::string("SELECT count(*) FROM ") + table);
      rows.Next();
      EXPECT_EQ(rows.Int(0), 0) << table;
    }
    EXPECT_EQ(tables.jobs.History(job, 0, 10).at(0).actor(), "retention");
  });
  now += std::chrono::hours(24 * 40);
  Forget(store, policy, now);
  store.Read([&](Tables& tables) {
    EXPECT_TRUE(tables.jobs.History(job, 0, 10).empty());
    EXPECT_EQ(tables.jobs.ForgottenTransitions(), 4);
    EXPECT_EQ(tables.jobs.NewestTransition(), 4);
  });
}

TEST(Downsampler, AsManyPointsAsBucketsAreShownAsTheyAre) {
  Downsampler downsampler(0, 900, 10);
  for (int i = 0; i < 10; ++i)
    downsampler.Add({.step = 100 * i, .attempt = 1, .time_us = i, .value = 0.1 * i});
  v1::Series series;
  downsampler.Finish(series);
  ASSERT_EQ(series.mean_size(), 10);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(series.mean(i), 0.1 * i) << "to the last bit";
}

TEST(Downsampler, MorePointsShareEqualRangesOfSteps) {
  Downsampler downsampler(0, 99, 10);
  for (int step = 0; step < 100; ++step) {
    downsampler.Add({.step = step,
                     .attempt = step < 50 ? 1 : 2,
                     .time_us = step,
                     .value = static_cast<double>(step)});
  }
  v1::Series series;
  downsampler.Finish(series);
  ASSERT_EQ(series.mean_size(), 10);
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(series.first_step(i), 10 * i);
    EXPECT_EQ(series.last_step(i), 10 * i + 9);
    EXPECT_EQ(series.mean(i), 10 * i + 4.5);
    EXPECT_EQ(series.min(i), 10 * i);
    EXPECT_EQ(series.max(i), 10 * i + 9);
    EXPECT_EQ(series.count(i), 10);
    EXPECT_EQ(series.attempt(i), i < 5 ? 1 : 2);
    EXPECT_EQ(series.time_us(i), 10 * i + 9);
  }
  EXPECT_EQ(series.points(), 100);
}

TEST(Downsampler, NeverGivesMoreBucketsThanAskedForAndLosesNoPoint) {
  std::mt19937_64 random(5);
  for (int story = 0; story < 300; ++story) {
    const int buckets = 1 + static_cast<int>(random() % 40);
    const int64_t low = static_cast<int64_t>(random() % 1000) - 500;
    std::vector<int64_t> steps;
    for (int64_t step = low; steps.size() < random() % 200;
         step += 1 + static_cast<int64_t>(random() % 50)) {
      steps.push_back(step);
    }
    if (steps.empty()) continue;
    Downsampler downsampler(steps.front(), steps.back(), buckets);
    for (int64_t step : steps) downsampler.Add({.step = step, .value = 1});
    v1::Series series;
    downsampler.Finish(series);
    EXPECT_LE(series.mean_size(), buckets);
    int64_t count = 0;
    for (int64_t one : series.count()) count += one;
    EXPECT_EQ(count, static_cast<int64_t>(steps.size()));
  }
}

TEST(Downsampler, TheWholeRangeOfStepsFits) {
  Downsampler downsampler(INT64_MIN, INT64_MAX, 2);
  for (int64_t step : {INT64_MIN, int64_t{-1}, int64_t{0}, INT64_MAX})
    downsampler.Add({.step = step, .value = 1});
  v1::Series series;
  downsampler.Finish(series);
  EXPECT_THAT(series.count(), ElementsAre(2, 2));
}

TEST(Downsampler, TheWholeRangeOfStepsIsOneBucketAndNeverMore) {
  Downsampler downsampler(INT64_MIN, INT64_MAX, 1);
  for (int64_t step : {INT64_MIN, int64_t{0}, INT64_MAX - 1, INT64_MAX})
    downsampler.Add({.step = step, .value = 1});
  v1::Series series;
  downsampler.Finish(series);
  EXPECT_THAT(series.count(), ElementsAre(4));
}

}  // namespace
}  // namespace syncbn::coordinator
