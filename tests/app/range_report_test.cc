// What replay says about the tensors of a step.
#include "app/run/range_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace syncbn::app {
namespace {

using testing::HasSubstr;
using testing::Not;

TensorRange Range(int replica, std::string layer, std::string what, double min, double max) {
  return {.replica = replica,
          .layer = std::move(layer),
          .what = std::move(what),
          .min = min,
          .max = max,
          .elements = 6};
}

std::vector<TensorRange> TwoReplicas() {
  return {
      Range(0, "conv1", "output", -2, 3),          Range(0, "bn1", "output behind ReLU", 0, 1.5),
      Range(0, "bn1", "gradient", -0.25, 0.125),   Range(1, "conv1", "output", -4, 1),
      Range(1, "bn1", "output behind ReLU", 0, 2), Range(1, "bn1", "gradient", -0.0625, 0.5)};
}

TEST(RangeReport, TheSummaryOfAHealthyStepIsFourLines) {
  EXPECT_EQ(RangeSummary(TwoReplicas()),
            "largest output: -4 to 3, conv1 (output)\n"
            "largest gradient: -0.25 to 0.5, bn1 (gradient)\n"
            "nothing suspicious\n"
            "of 3 tensors that layers gave and received; --layers shows the range of each\n");
}

TEST(RangeReport, AReplicaWithoutSamplesDoesNotMoveARange) {
  const std::vector<TensorRange> merged = MergedOverReplicas(
      {Range(0, "fc", "output", 2, 5), {.replica = 1, .layer = "fc", .what = "output"}});
  ASSERT_EQ(merged.size(), 1u);
  EXPECT_EQ(merged[0].min, 2);
  EXPECT_EQ(merged[0].max, 5);
  EXPECT_EQ(merged[0].elements, 6);
}

TEST(RangeReport, AReplicaThatIsNotFiniteThroughoutDoesNotMoveARange) {
  TensorRange bad{.replica = 0, .layer = "fc", .what = "output", .elements = 4, .not_finite = 4};
  const std::vector<TensorRange> merged = MergedOverReplicas({bad, Range(1, "fc", "output", 2, 5)});
  ASSERT_EQ(merged.size(), 1u);
  EXPECT_EQ(merged[0].min, 2);
  EXPECT_EQ(merged[0].max, 5);
  EXPECT_EQ(merged[0].not_finite, 4);
}

TEST(RangeReport, NamesWhatIsSuspiciousInTheOrderOfComputationAndCountsTheRest) {
  std::vector<TensorRange> ranges;
  for (int i = 0; i < 7; ++i) {
    ranges.push_back(Range(0, "layer" + std::to_string(i), "output", -1e5, 1));
  }
  ranges[1].not_finite = 2;
  ranges[2].min = ranges[2].max = 0;
  const std::string summary = RangeSummary(ranges);
  EXPECT_THAT(summary, HasSubstr("suspicious: layer0 (output): from -1e+05 to 1\n"
                                 "suspicious: layer1 (output): 2 of 6 values are not finite\n"
                                 "suspicious: layer2 (output): zero throughout\n"));
  EXPECT_THAT(summary, HasSubstr("layer4 (output)"));
  EXPECT_THAT(summary, Not(HasSubstr("layer5 (output): ")));
  EXPECT_THAT(summary, HasSubstr("and 2 more that are suspicious\n"));
  EXPECT_THAT(summary, Not(HasSubstr("nothing suspicious")));
}

TEST(RangeReport, TheFirstValueThatIsNotFiniteIsTheEarliestOfAnyReplica) {
  std::vector<TensorRange> ranges = TwoReplicas();
  EXPECT_EQ(FirstNotFinite(ranges), nullptr);
  ranges[2].not_finite = 1;  // the third tensor of replica 0
  ranges[4].not_finite = 1;  // the second of replica 1
  EXPECT_EQ(FirstNotFinite(ranges), &ranges[4]);
}

TEST(RangeReport, TheTablesHaveALineForEachLayerOrForEachReplicaToo) {
  const std::string layers = RangeTable(TwoReplicas(), RangeDetail::kLayers);
  EXPECT_EQ(std::ranges::count(layers, '\n'), 1 + 3);
  EXPECT_THAT(layers, HasSubstr("bn1    output behind ReLU"));
  const std::string replicas = RangeTable(TwoReplicas(), RangeDetail::kReplicas);
  EXPECT_EQ(std::ranges::count(replicas, '\n'), 1 + 6);
  EXPECT_THAT(replicas, HasSubstr("replica"));
}

}  // namespace
}  // namespace syncbn::app
