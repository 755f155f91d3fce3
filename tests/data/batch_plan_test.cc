#include "data/batch_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "syncbn/v1/run.pb.h"

namespace syncbn::data {
namespace {

using ::testing::HasSubstr;

std::vector<int64_t> SliceSizes(const BatchPlan& plan, int64_t step) {
  std::vector<int64_t> sizes;
  for (int r = 0; r < plan.replicas(); ++r) sizes.push_back(plan.Slice(step, r).size());
  return sizes;
}

// Batches of R replicas: even, uneven, with zeros.
std::vector<std::vector<int64_t>> BatchesOf(int replicas) {
  std::vector<int64_t> even(static_cast<size_t>(replicas), 4), uneven, zeros;
  for (int r = 0; r < replicas; ++r) {
    uneven.push_back(1 + (r * 5) % 7);
    zeros.push_back(r % 3 == 1 ? 0 : 3);
  }
  return {even, uneven, zeros};
}

TEST(BatchPlan, SlicesOfAStepAreContiguousAndMakeItsBatch) {
  for (int replicas = 1; replicas <= 32; ++replicas) {
    for (const std::vector<int64_t>& batches : BatchesOf(replicas)) {
      for (int64_t samples : {1, 5, 37, 256, 1000}) {
        const BatchPlan plan(samples, batches, v1::LAST_BATCH_KEEP);
        int64_t position = 0;
        for (int64_t step = 0; step < plan.steps_per_epoch(); ++step) {
          EXPECT_EQ(plan.Step(step).begin, position);
          for (int r = 0; r < replicas; ++r) {
            const PositionRange slice = plan.Slice(step, r);
            ASSERT_EQ(slice.begin, position);
            ASSERT_GE(slice.size(), 0);
            ASSERT_LE(slice.size(), batches[static_cast<size_t>(r)]);
            position = slice.end;
          }
          ASSERT_EQ(plan.Step(step).end, position);
        }
        ASSERT_EQ(position, samples) << "every sample once";
      }
    }
  }
}

TEST(BatchPlan, WholeBatchesHaveTheSizesOfTheRunFile) {
  const BatchPlan plan(200, {29, 17, 11, 7}, v1::LAST_BATCH_KEEP);
  EXPECT_EQ(plan.batch(), 64);
  EXPECT_EQ(plan.largest_slice(), 29);
  EXPECT_EQ(plan.steps_per_epoch(), 4);
  for (int64_t step = 0; step < 3; ++step) {
    EXPECT_EQ(SliceSizes(plan, step), (std::vector<int64_t>{29, 17, 11, 7}));
  }
  EXPECT_EQ(plan.Slice(1, 2), (PositionRange{64 + 46, 64 + 57}));
}

TEST(BatchPlan, ALastPartialBatchIsSpreadEvenly) {
  EXPECT_EQ(SliceSizes(BatchPlan(8 + 6, {2, 2, 2, 2}, v1::LAST_BATCH_KEEP), 1),
            (std::vector<int64_t>{2, 2, 1, 1}));
  EXPECT_EQ(SliceSizes(BatchPlan(3, {2, 2, 2, 2}, v1::LAST_BATCH_KEEP), 0),
            (std::vector<int64_t>{1, 1, 1, 0}));
  for (int replicas = 1; replicas <= 32; ++replicas) {
    const std::vector<int64_t> batches(static_cast<size_t>(replicas), 8);
    for (int64_t left = 1; left < replicas * 8; ++left) {
      const std::vector<int64_t> sizes =
          SliceSizes(BatchPlan(left, batches, v1::LAST_BATCH_KEEP), 0);
      const auto [least, most] = std::minmax_element(sizes.begin(), sizes.end());
      ASSERT_LE(*most - *least, 1) << left << " over " << replicas;
      ASSERT_TRUE(std::is_sorted(sizes.rbegin(), sizes.rend())) << "the first have one more";
    }
  }
}

TEST(BatchPlan, APartialBatchGivesNoReplicaMoreThanItsOwnBatch) {
  const auto sizes = [](int64_t left, std::vector<int64_t> batches) {
    return SliceSizes(BatchPlan(left, std::move(batches), v1::LAST_BATCH_KEEP), 0);
  };
  EXPECT_EQ(sizes(60, {61, 1, 1, 1}), (std::vector<int64_t>{57, 1, 1, 1}));
  EXPECT_EQ(sizes(9, {5, 4, 2, 0}), (std::vector<int64_t>{4, 3, 2, 0}));
  EXPECT_EQ(sizes(7, {0, 2, 0, 9}), (std::vector<int64_t>{0, 2, 0, 5}));
  EXPECT_EQ(sizes(1, {0, 2, 0, 9}), (std::vector<int64_t>{0, 1, 0, 0}));
}

TEST(BatchPlan, DropLeavesTheLastPartialBatchOut) {
  const BatchPlan plan(23, {4, 4}, v1::LAST_BATCH_DROP);
  EXPECT_EQ(plan.steps_per_epoch(), 2);
  EXPECT_EQ(plan.Step(1), (PositionRange{8, 16}));
  EXPECT_THROW(plan.Step(2), Error);
  EXPECT_EQ(BatchPlan(23, {4, 4}, v1::LAST_BATCH_KEEP).steps_per_epoch(), 3);
  EXPECT_EQ(BatchPlan(24, {4, 4}, v1::LAST_BATCH_KEEP).steps_per_epoch(), 3);
  EXPECT_EQ(BatchPlan(24, {4, 4}, v1::LAST_BATCH_DROP).steps_per_epoch(), 3);
}

TEST(BatchPlan, NoStepAtAllIsAnError) {
  const auto message = [](int64_t samples, std::vector<int64_t> batches, v1::LastBatch last) {
    try {
      BatchPlan(samples, std::move(batches), last);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
      return error.message();
    }
    return std::string("nothing thrown");
  };
  EXPECT_EQ(message(7, {4, 4}, v1::LAST_BATCH_DROP),
            "data.last_batch drop leaves nothing to train on: a batch of all replicas is 8 samples "
            "and there are 7; make the batch smaller or set data.last_batch to keep");
  EXPECT_EQ(message(7, {0, 0}, v1::LAST_BATCH_KEEP),
            "cluster.batch_per_replica adds up to 0 samples; at least one replica needs some");
  EXPECT_THAT(message(0, {1}, v1::LAST_BATCH_KEEP), HasSubstr("no samples"));
}

TEST(BatchPerReplica, OneNumberStandsForAllReplicas) {
  v1::ClusterSpec cluster;
  cluster.set_replicas(3);
  cluster.add_batch_per_replica(16);
  EXPECT_EQ(BatchPerReplica(cluster), (std::vector<int64_t>{16, 16, 16}));
  cluster.add_batch_per_replica(0);
  EXPECT_THROW(BatchPerReplica(cluster), Error);
  cluster.add_batch_per_replica(5);
  EXPECT_EQ(BatchPerReplica(cluster), (std::vector<int64_t>{16, 0, 5}));
}

}  // namespace
}  // namespace syncbn::data
