// Long curves, drawn from blocks of points: what a bucket says holds of exactly the points that it
// has.
#include "coordinator/store/metric_blocks.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <random>

#include "coordinator/store/metric_table.h"
#include "tests/coordinator/store/store_fixture.h"
#include "tests/support/temp_folder.h"

namespace syncbn::coordinator {
namespace {

class MetricBlocksTest : public ::testing::Test {
 protected:
  // Points of one series at these steps, in batches of many sizes; what counts of them is kept.
  void Report(int attempt, int64_t first_step, int64_t last_step, int64_t every = 1) {
    std::vector<std::pair<int64_t, double>> points;
    for (int64_t step = first_step; step <= last_step; step += every) {
      const double value = random_() % 97 == 0 ? std::numeric_limits<double>::quiet_NaN()
                                               : static_cast<double>(random_() % 4096) / 8;
      points.emplace_back(step, value);
      counts_[step] = value;
    }
    int64_t sequence = 1;
    for (size_t begin = 0; begin < points.size();) {
      const size_t end = std::min(points.size(), begin + 1 + random_() % 700);
      v1::MetricBatch batch;
      batch.set_first_sequence(sequence);
      batch.add_names("train/loss");
      for (size_t i = begin; i < end; ++i) {
        batch.add_name_index(0);
        batch.add_step(points[i].first);
        batch.add_value(points[i].second);
        batch.add_time_us(1'000'000 + points[i].first);
      }
      sequence += static_cast<int64_t>(end - begin);
      begin = end;
      store_.Write([&](Tables& tables) {
        return tables.metrics.Insert({job_, attempt, 0}, batch, kTestNow);
      });
    }
  }
  v1::Series Query(int buckets, std::optional<int64_t> first = {},
                   std::optional<int64_t> last = {}) {
    v1::QueryMetricsRequest request;
    request.set_job(JobName(job_));
    request.set_max_buckets(buckets);
    if (first) request.set_first_step(*first);
    if (last) request.set_last_step(*last);
    return store_.Read([&](Tables& tables) { return tables.metrics.Query(request); }).series(0);
  }
  // Compares every bucket with the points between its steps; there are no others.
  void Check(const v1::Series& series, int64_t first, int64_t last, int most) {
    EXPECT_LE(series.first_step_size(), most);
    EXPECT_GT(series.first_step_size(), most / 3) << "a curve of so few says little";
    int64_t after = first - 1, all = 0;
    for (int i = 0; i < series.first_step_size(); ++i) {
      ASSERT_GT(series.first_step(i), after);
      after = series.last_step(i);
      double sum = 0, least = INFINITY, greatest = -INFINITY;
      int64_t count = 0, finite = 0;
      for (auto at = counts_.lower_bound(series.first_step(i));
           at != counts_.end() && at->first <= series.last_step(i); ++at) {
        ++count;
        if (std::isnan(at->second)) continue;
        ++finite;
        sum += at->second;
        least = std::min(least, at->second);
        greatest = std::max(greatest, at->second);
      }
      ASSERT_EQ(series.count(i), count) << i;
      ASSERT_EQ(series.non_finite(i), count - finite) << i;
      // Sums of eighths are exact.
      ASSERT_EQ(series.mean(i), sum / static_cast<double>(finite)) << i;
      ASSERT_EQ(series.min(i), least) << i;
      ASSERT_EQ(series.max(i), greatest) << i;
      ASSERT_EQ(series.time_us(i), 1'000'000 + series.last_step(i)) << i;
      all += count;
    }
    const int64_t expected = std::distance(counts_.lower_bound(first), counts_.upper_bound(last));
    EXPECT_EQ(all, expected);
    EXPECT_EQ(series.points(), expected);
  }
  int64_t Blocks() {
    return store_.Read([](Tables& tables) {
      Rows rows = tables.database.Query("SELECT count(*) FROM blocks");
      rows.Next();
      return rows.Int(0);
    });
  }

  std::mt19937 random_{11};
  TempFolder folder_;
  Store store_{{.folder = folder_.path(), .synced = false}};
  int64_t job_ = AddJob(store_);
  std::map<int64_t, double> counts_;
};

TEST_F(MetricBlocksTest, BucketsOfALongCurveAreRightToTheLastPoint) {
  Report(1, 1, 40'000);
  EXPECT_EQ(Blocks(), 40'000 / kBlockPoints);
  Check(Query(100), 1, 40'000, 100);
  Check(Query(400), 1, 40'000, 400);
  Check(Query(100, 5'017, 30'001), 5'017, 30'001, 100);
}

TEST_F(MetricBlocksTest, StepsThatALaterAttemptDidAgainAreShownAsItDidThem) {
  Report(1, 1, 15'000);
  // It went back to its checkpoint, did not come as far, and the next went on from further back
  // still.
  Report(2, 14'001, 14'500);
  Report(3, 13'800, 40'000);
  Check(Query(100), 1, 40'000, 100);
  Check(Query(100, 13'000, 39'000), 13'000, 39'000, 100);
}

TEST_F(MetricBlocksTest, WhatIsLoggedNowAndThenIsInBlocksToo) {
  Report(1, 0, 3'000'000, 100);
  EXPECT_LE(Blocks(), 30'001 / kBlockPoints + 1);
  Check(Query(100), 0, 3'000'000, 100);
}

TEST_F(MetricBlocksTest, OfASeriesFromBeforeThereWereBlocksEveryPointIsRead) {
  Report(1, 1, 20'000);
  store_.Write([](Tables& tables) { tables.database.Run("DELETE FROM blocks WHERE block < 500"); });
  Check(Query(100), 1, 20'000, 100);
}

}  // namespace
}  // namespace syncbn::coordinator
