// What is drawn for a sample: parts of images, changes of colour.
#include "data/augment.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

namespace syncbn::data {
namespace {

constexpr ResizedCropOptions kUsual{
    .min_scale = 0.08, .max_scale = 1, .min_ratio = 0.75, .max_ratio = 4.0 / 3};

TEST(DrawResizedCrop, HasTheAreasAndRatiosAskedFor) {
  constexpr int kDraws = 4000;
  constexpr int64_t kHeight = 375, kWidth = 500;
  double area = 0, log_ratio = 0;
  std::set<int64_t> tops;
  for (int sample = 0; sample < kDraws; ++sample) {
    const Region part =
        DrawResizedCrop(kUsual, AugmentKey(1, 2, static_cast<uint64_t>(sample)), kHeight, kWidth);
    ASSERT_GE(part.top, 0);
    ASSERT_GE(part.left, 0);
    ASSERT_LE(part.top + part.height, kHeight);
    ASSERT_LE(part.left + part.width, kWidth);
    const auto height = static_cast<double>(part.height), width = static_cast<double>(part.width);
    ASSERT_GT(width / height, 0.74);
    ASSERT_LT(width / height, 1.35);
    ASSERT_GT(height * width, 0.079 * kHeight * kWidth);
    area += height * width / (kHeight * kWidth) / kDraws;
    log_ratio += std::log(width / height) / kDraws;
    tops.insert(part.top);
  }
  // The means of torchvision's RandomResizedCrop.get_params: many large ones do not fit, of the
  // narrow ones more.
  EXPECT_NEAR(area, 0.4334, 0.015);
  EXPECT_NEAR(log_ratio, 0.0293, 0.015);
  EXPECT_GT(tops.size(), 150u);
}

TEST(DrawResizedCrop, TakesTheLargestAllowedPartInTheMiddleWhereNoneFits) {
  const RandomKey key = AugmentKey(1, 0, 0);
  EXPECT_EQ(DrawResizedCrop(kUsual, key, 10, 1000),
            (Region{.left = 493, .height = 10, .width = 13}));
  EXPECT_EQ(DrawResizedCrop(kUsual, key, 1000, 9), (Region{.top = 494, .height = 12, .width = 9}));
  const Region one = DrawResizedCrop(kUsual, key, 1, 1);
  EXPECT_EQ(one, (Region{.height = 1, .width = 1}));
}

TEST(DrawResizedCrop, IsTheSamplesOwnInEveryEpoch) {
  const auto draw = [](uint64_t seed, int64_t epoch, uint64_t sample) {
    return DrawResizedCrop(kUsual, AugmentKey(seed, epoch, sample), 300, 400);
  };
  EXPECT_EQ(draw(1, 2, 3), draw(1, 2, 3));
  EXPECT_NE(draw(1, 2, 3), draw(2, 2, 3));
  EXPECT_NE(draw(1, 2, 3), draw(1, 3, 3));
  EXPECT_NE(draw(1, 2, 3), draw(1, 2, 4));
}

TEST(DrawColorChanges, AreThoseAskedForInEveryOrderAndWithinTheirRanges) {
  const ColorJitterOptions options{.brightness = 0.4, .contrast = 2, .hue = 0.1};
  std::set<std::vector<ColorChangeKind>> orders;
  for (uint64_t sample = 0; sample < 300; ++sample) {
    std::vector<ColorChangeKind> order;
    for (const ColorChange& change : DrawColorChanges(options, AugmentKey(1, 0, sample))) {
      order.push_back(change.kind);
      switch (change.kind) {
        case ColorChangeKind::kBrightness:
          EXPECT_NEAR(change.factor, 1, 0.4);
          break;
        case ColorChangeKind::kContrast:
          EXPECT_GE(change.factor, 0);
          EXPECT_LE(change.factor, 3);
          break;
        case ColorChangeKind::kHue:
          EXPECT_NEAR(change.factor, 0, 0.1);
          break;
        case ColorChangeKind::kSaturation:
          ADD_FAILURE();
      }
    }
    EXPECT_EQ(order.size(), 3u);
    orders.insert(order);
  }
  EXPECT_EQ(orders.size(), 6u);
  EXPECT_TRUE(DrawColorChanges({}, AugmentKey(1, 0, 0)).empty());
}

TEST(ChangeColor, OfOneChannelIsThatOfThreeEqualOnes) {
  std::vector<uint8_t> grey, colours;
  for (int i = 0; i < 256; i += 5) {
    grey.push_back(static_cast<uint8_t>(i));
    colours.insert(colours.end(), 3, static_cast<uint8_t>(i));
  }
  for (const ColorChangeKind kind : {ColorChangeKind::kBrightness, ColorChangeKind::kContrast}) {
    for (const double factor : {0.0, 0.5, 1.0, 1.7}) {
      std::vector<uint8_t> one = grey, three = colours;
      ChangeColor({.kind = kind, .factor = factor}, 1, one);
      ChangeColor({.kind = kind, .factor = factor}, 3, three);
      for (size_t i = 0; i < one.size(); ++i) EXPECT_EQ(one[i], three[3 * i + 1]);
    }
  }
}

}  // namespace
}  // namespace syncbn::data
