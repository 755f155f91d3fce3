#include "nn/statistics_scope.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "tests/nn/support.h"

namespace syncbn::nn {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

StatisticsScope OfSamples(int64_t samples, int replicas, const std::vector<int>& batches) {
  v1::NormBatch batch;
  batch.set_samples(samples);
  return ResolveScope(batch, MakeCluster(replicas, batches));
}

StatisticsScope Slices(int64_t samples) {
  return {.slice_samples = samples};
}
StatisticsScope Groups(int replicas) {
  return {.replicas_per_group = replicas};
}

TEST(StatisticsScope, ReplicaAndGlobal) {
  v1::NormBatch batch;
  batch.set_scope(v1::NORM_SCOPE_REPLICA);
  EXPECT_EQ(ResolveScope(batch, MakeCluster(4, {8})), Groups(1));
  batch.set_scope(v1::NORM_SCOPE_GLOBAL);
  EXPECT_EQ(ResolveScope(batch, MakeCluster(4, {8})), Groups(4));
  EXPECT_FALSE(ResolveScope(batch, MakeCluster(1, {8})).crosses_replicas());
}

TEST(StatisticsScope, ANumberOfSamplesBecomesSlicesOrGroups) {
  EXPECT_EQ(OfSamples(3, 4, {8}), Slices(3));
  EXPECT_EQ(OfSamples(8, 4, {8}), Groups(1));
  EXPECT_EQ(OfSamples(16, 4, {8}), Groups(2));
  EXPECT_EQ(OfSamples(32, 4, {8}), Groups(4));
}

TEST(StatisticsScope, UnequalBatchesGroupWhereEveryGroupHoldsTheNumber) {
  EXPECT_EQ(OfSamples(8, 4, {5, 3, 2, 6}), Groups(2));
  EXPECT_EQ(OfSamples(16, 4, {5, 3, 2, 6}), Groups(4));
  EXPECT_EQ(OfSamples(4, 4, {5, 3, 2, 6}), Slices(4));
}

TEST(StatisticsScope, ANumberThatDoesNotFitIsAnErrorThatNamesTheNumbersThatDo) {
  const auto error = [](int64_t samples, int replicas, const std::vector<int>& batches) {
    return ErrorOf([&] { OfSamples(samples, replicas, batches); });
  };
  EXPECT_THAT(error(12, 4, {8}), HasSubstr("any number up to 8, 16 or 32"));
  EXPECT_THAT(error(24, 4, {8}), HasSubstr("any number up to 8, 16 or 32"));
  EXPECT_THAT(error(64, 4, {8}), HasSubstr("any number up to 8, 16 or 32"));
  EXPECT_THAT(error(8, 4, {1, 2}), HasSubstr("2 numbers for 4 replicas"));
}

TEST(StatisticsScope, SlicesAreBalanced) {
  EXPECT_THAT(Slices(4).SliceSizes(5), ElementsAre(3, 2));
  EXPECT_THAT(Slices(4).SliceSizes(8), ElementsAre(4, 4));
  EXPECT_THAT(Slices(4).SliceSizes(3), ElementsAre(3));
  EXPECT_THAT(Slices(4).SliceSizes(11), ElementsAre(4, 4, 3));
  EXPECT_THAT(Slices(4).SliceSizes(0), ElementsAre(0));
  EXPECT_THAT(Slices(1).SliceSizes(3), ElementsAre(1, 1, 1));
  EXPECT_THAT(Groups(2).SliceSizes(7), ElementsAre(7));
}

TEST(StatisticsScope, GroupsAreAligned) {
  EXPECT_EQ(Groups(4).GroupOf(0), (comm::Group{0, 4}));
  EXPECT_EQ(Groups(4).GroupOf(3), (comm::Group{0, 4}));
  EXPECT_EQ(Groups(4).GroupOf(6), (comm::Group{4, 8}));
  EXPECT_EQ(Groups(1).GroupOf(6), (comm::Group{6, 7}));
}

}  // namespace
}  // namespace syncbn::nn
