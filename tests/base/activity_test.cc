#include "base/activity.h"

#include <gtest/gtest.h>

#include <set>

#include "base/error.h"

namespace syncbn {
namespace {

TEST(Activity, HasANameOfItsOwnByWhichItIsFound) {
  std::set<std::string_view> names;
  for (int i = 0; i <= static_cast<int>(Activity::kRest); ++i) {
    const auto activity = static_cast<Activity>(i);
    EXPECT_TRUE(names.insert(NameOf(activity)).second) << NameOf(activity);
    EXPECT_EQ(ActivityNamed(NameOf(activity)), activity);
  }
  EXPECT_EQ(NameOf(Activity::kCheckpoint), "checkpoint");
  EXPECT_EQ(ActivityNamed("dance"), std::nullopt);
}

TEST(Activity, IsAnErrorWhereItIsNotInTheList) {
  EXPECT_THROW(NameOf(static_cast<Activity>(99)), Error);
  EXPECT_THROW(AwaitedBy(static_cast<Activity>(-1)), Error);
}

TEST(Activity, OfAWaitSaysWhoCanEndIt) {
  EXPECT_EQ(AwaitedBy(Activity::kCompute), Awaits::kItself);
  EXPECT_EQ(AwaitedBy(Activity::kTurn), Awaits::kReplicas);
  EXPECT_EQ(AwaitedBy(Activity::kReduction), Awaits::kReplicas);
  EXPECT_EQ(AwaitedBy(Activity::kRest), Awaits::kProcess);
  for (const Activity activity : {Activity::kLoad, Activity::kStart, Activity::kCheckpoint,
                                  Activity::kRecord, Activity::kDump, Activity::kData}) {
    EXPECT_EQ(AwaitedBy(activity), Awaits::kOutside) << NameOf(activity);
  }
}

}  // namespace
}  // namespace syncbn
