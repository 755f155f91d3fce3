#include "train/gradient_buckets.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace syncbn::train {
namespace {

using testing::ElementsAre;

// Parameters of these sizes; each start is padded to 16 elements.
nn::ParameterLayout Layout(const std::vector<int64_t>& sizes) {
  nn::ParameterLayout layout;
  for (size_t i = 0; i < sizes.size(); ++i) {
    layout.Add({.name = "p" + std::to_string(i), .shape = {sizes[i]}});
  }
  return layout;
}

struct Range {
  int64_t begin, end;
  int first, last;
  bool operator==(const Range&) const = default;
};

std::vector<Range> RangesOf(const std::vector<GradientBucket>& buckets) {
  std::vector<Range> ranges;
  for (const GradientBucket& b : buckets) {
    ranges.push_back({b.begin, b.end, b.first_parameter, b.last_parameter});
  }
  return ranges;
}

TEST(GradientBuckets, AreFilledFromTheLastParameterToTheFirst) {
  const nn::ParameterLayout layout = Layout({16, 40, 16, 16});
  // 16, 48 (40 and padding), 16 and 16 elements of 4 bytes; a bucket is full from 32 elements on.
  const std::vector<GradientBucket> buckets = MakeGradientBuckets(layout, 4, 128);
  EXPECT_THAT(RangesOf(buckets),
              ElementsAre(Range{64, 96, 2, 3}, Range{16, 64, 1, 1}, Range{0, 16, 0, 0}));
  EXPECT_EQ(buckets[0].name, "gradients 0");
  EXPECT_EQ(buckets[2].name, "gradients 2");
}

TEST(GradientBuckets, CountBytesAndNotElements) {
  const nn::ParameterLayout layout = Layout({16, 16});
  EXPECT_EQ(MakeGradientBuckets(layout, 8, 128).size(), 2u);
  EXPECT_EQ(MakeGradientBuckets(layout, 4, 128).size(), 1u);
}

TEST(GradientBuckets, CoverTheFlatGradientOnceAtEverySize) {
  const nn::ParameterLayout layout = Layout({7, 100, 1, 33, 16, 250, 2});
  for (const double bytes : {1.0, 64.0, 200.0, 1000.0, 1e9}) {
    const std::vector<GradientBucket> buckets = MakeGradientBuckets(layout, 4, bytes);
    ASSERT_FALSE(buckets.empty());
    EXPECT_EQ(buckets.front().end, layout.flat_elements());
    EXPECT_EQ(buckets.front().last_parameter, layout.size() - 1);
    EXPECT_EQ(buckets.back().begin, 0);
    EXPECT_EQ(buckets.back().first_parameter, 0);
    for (size_t i = 0; i < buckets.size(); ++i) {
      EXPECT_EQ(buckets[i].begin, layout[buckets[i].first_parameter].offset);
      if (i == 0) continue;
      EXPECT_EQ(buckets[i].end, buckets[i - 1].begin);
      EXPECT_EQ(buckets[i].last_parameter, buckets[i - 1].first_parameter - 1);
      EXPECT_GE(static_cast<double>(buckets[i - 1].end - buckets[i - 1].begin) * 4, bytes);
    }
  }
}

TEST(GradientBuckets, AModelWithoutParametersHasNone) {
  EXPECT_TRUE(MakeGradientBuckets(Layout({}), 4, 128).empty());
}

TEST(BucketCounter, TellsOfABucketOnceWithItsLastParameterInAnyOrder) {
  const std::vector<GradientBucket> buckets = MakeGradientBuckets(Layout({16, 40, 16, 16}), 4, 128);
  ASSERT_EQ(buckets.size(), 3u);
  std::vector<int> order = {0, 1, 2, 3};
  int orders = 0;
  do {
    BucketCounter counter(buckets);
    std::vector<int> completed(3, 0);
    bool second_seen = false;
    for (const int parameter : order) {
      const int bucket = counter.Complete(parameter);
      const int completes = parameter < 2 ? 2 - parameter : second_seen ? 0 : -1;
      EXPECT_EQ(bucket, completes) << parameter;
      second_seen |= parameter >= 2;
      if (bucket >= 0) ++completed.at(static_cast<size_t>(bucket));
    }
    EXPECT_THAT(completed, ElementsAre(1, 1, 1));
    ++orders;
  } while (std::ranges::next_permutation(order).found);
  EXPECT_EQ(orders, 24);
}

TEST(BucketCounter, CountersOfTwoReplicasShareNothing) {
  const std::vector<GradientBucket> buckets = MakeGradientBuckets(Layout({16, 16}), 4, 1e9);
  BucketCounter first(buckets), second(buckets);
  EXPECT_EQ(first.Complete(1), -1);
  EXPECT_EQ(second.Complete(1), -1);
  EXPECT_EQ(first.Complete(0), 0);
  EXPECT_EQ(second.Complete(0), 0);
}

}  // namespace
}  // namespace syncbn::train
