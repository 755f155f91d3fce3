// What the moments probe makes of a layer's moments.
#include "train/probes/moments_probe.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "base/error.h"

namespace syncbn::train {
namespace {

TEST(ChannelSpread, IsOfTheBiasedStandardDeviationAndLeavesConstantChannelsOut) {
  // 8 elements; standard deviations 0.5, 0, 4.
  const std::vector<double> block = {8, -2, 7, 1, 2, 0, 128};
  const ChannelSpread spread = SpreadOf(block);
  EXPECT_EQ(spread.mean_over_std, (4 + 0.25) / 2);
  EXPECT_EQ(spread.largest_mean_over_std, 4);
  EXPECT_EQ(spread.condition, 8);
  EXPECT_EQ(spread.constant_channels, 1);
}

TEST(ChannelSpread, OfNothingIsNotANumber) {
  for (const std::vector<double>& block : {std::vector<double>{8, 3, 0}, {0, 0, 0}}) {
    const ChannelSpread spread = SpreadOf(block);
    EXPECT_TRUE(std::isnan(spread.mean_over_std));
    EXPECT_TRUE(std::isnan(spread.largest_mean_over_std));
    EXPECT_TRUE(std::isnan(spread.condition));
    EXPECT_EQ(spread.constant_channels, 1);
  }
}

TEST(MomentsProbe, RefusesALayerWhoseNameIsTooLongForAFigureBeforeTheRun) {
  nn::RunningStatisticsLayout layout;
  layout.Add(std::string(200, 'a'), 4, /*tracked=*/true);
  try {
    MomentsProbe(1, layout);
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    EXPECT_NE(error.message().find("probes.moments: a figure cannot be named"), std::string::npos)
        << error.message();
  }
}

}  // namespace
}  // namespace syncbn::train
