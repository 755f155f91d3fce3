#include "config/norm_fit.h"

#include <gtest/gtest.h>

namespace syncbn::config {
namespace {

TEST(FittingGroups, IsTheLargestDivisorThatIsNotLarger) {
  EXPECT_EQ(FittingGroups(64, 32), 32);
  EXPECT_EQ(FittingGroups(16, 32), 16);
  EXPECT_EQ(FittingGroups(20, 32), 20);
  EXPECT_EQ(FittingGroups(48, 32), 24);
  EXPECT_EQ(FittingGroups(7, 4), 1);
  // What validation meets in a wrong run file.
  EXPECT_EQ(FittingGroups(8, 0), 1);
  EXPECT_EQ(FittingGroups(8, -3), 1);
}

TEST(SamplesOfGroups, AreOneNumberOrNone) {
  EXPECT_EQ(SamplesOfGroups({4, 4, 4, 4}, 2), 8);
  EXPECT_EQ(SamplesOfGroups({5, 3, 3, 5}, 2), 8);
  EXPECT_EQ(SamplesOfGroups({5, 3, 4, 5}, 2), std::nullopt);
  EXPECT_EQ(SamplesOfGroups({5, 3, 4, 5}, 4), 17);
}

}  // namespace
}  // namespace syncbn::config
