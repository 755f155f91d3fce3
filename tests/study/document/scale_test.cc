#include "study/document/scale.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "study/document/axis_labels.h"
#include "study/document/text_layout.h"

namespace syncbn::study::document {
namespace {

using testing::ElementsAre;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::vector<std::string> Labels(const Scale& scale, int most) {
  std::vector<std::string> labels;
  for (const Tick& tick : scale.Ticks(most)) {
    if (!tick.label.empty()) labels.push_back(tick.label);
  }
  return labels;
}

TEST(NiceTicks, AreMultiplesOfOneTwoOrFiveTimesAPowerOfTen) {
  EXPECT_THAT(NiceTicks(0, 1, 5),
              ElementsAre(0, 0.2, testing::DoubleEq(0.4), testing::DoubleNear(0.6, 1e-12), 0.8, 1));
  EXPECT_THAT(NiceTicks(-7, 12, 4), ElementsAre(-5, 0, 5, 10));
  EXPECT_THAT(NiceTicks(91.2, 93.9, 6), ElementsAre(91.5, 92, 92.5, 93, 93.5));
  EXPECT_THAT(NiceTicks(0, 1700, 4), ElementsAre(0, 500, 1000, 1500));
}

TEST(NiceTicks, AreFewForEveryRange) {
  for (const double high : {1e-90, 3e-7, 0.7, 1.0, 9.99, 12345.0, 6e90}) {
    for (int most = 1; most < 12; ++most) {
      const std::vector<double> ticks = NiceTicks(0, high, most);
      EXPECT_LE(ticks.size(), static_cast<size_t>(most) + 1) << high;
      EXPECT_GE(ticks.size(), 1u) << high;
    }
  }
}

TEST(Scale, EndsAtTheOutermostValuesOrAtTheTicksBeyond) {
  const Scale exact(Axis{}, {3, 117}, 0, 100);
  EXPECT_EQ(exact.low(), 3);
  EXPECT_EQ(exact.high(), 117);
  const Scale at_ticks(Axis{}, {3, 117}, 0, 100, AxisEnds::kAtTicks);
  EXPECT_EQ(at_ticks.low(), 0);
  EXPECT_EQ(at_ticks.high(), 150);
}

TEST(Scale, OfALogarithmicAxisHoldsNeitherZeroNorNegativeValues) {
  for (const AxisScale kind : {AxisScale::kLog2, AxisScale::kLog10}) {
    const Scale scale(Axis{.scale = kind}, {0, -4, 1, 100, kInfinity, std::nan("")}, 0, 200);
    EXPECT_EQ(scale.low(), 1);
    EXPECT_EQ(scale.high(), 100);
    EXPECT_DOUBLE_EQ(*scale.At(10), 100);
    EXPECT_FALSE(scale.At(0));
    EXPECT_FALSE(scale.At(-4));
    EXPECT_FALSE(scale.At(std::nan("")));
    EXPECT_EQ(scale.Clamped(-4), 0);
    EXPECT_EQ(scale.Clamped(kInfinity), 200);
    EXPECT_FALSE(scale.Clamped(std::nan("")));
  }
}

TEST(Scale, OfNoValueOfOneOrOfExtremeOnesIsFinite) {
  for (const AxisScale kind : {AxisScale::kLinear, AxisScale::kLog2, AxisScale::kLog10}) {
    for (const std::vector<double>& values : {std::vector<double>{},
                                              {0},
                                              {5},
                                              {-5},
                                              {1e-300},
                                              {1e300, 1},
                                              {1e-99, 1e99},
                                              {kInfinity},
                                              {1, 1 + 1e-15}}) {
      const Scale scale(Axis{.scale = kind}, values, 10, 110, AxisEnds::kAtTicks);
      EXPECT_LT(scale.low(), scale.high());
      EXPECT_TRUE(std::isfinite(scale.low()) && std::isfinite(scale.high()));
      const std::vector<Tick> ticks = scale.Ticks(6);
      EXPECT_LT(ticks.size(), 30u);
      for (const Tick& tick : ticks) {
        ASSERT_TRUE(scale.At(tick.value));
        EXPECT_GE(*scale.At(tick.value), 10 - 1e-6);
        EXPECT_LE(*scale.At(tick.value), 110 + 1e-6);
      }
    }
  }
}

TEST(Scale, ShowsNothingOutsideOfAStatedRange) {
  const Scale scale(Axis{.low = 0, .high = 100}, {-20, 50, 120}, 0, 10);
  EXPECT_DOUBLE_EQ(*scale.At(50), 5);
  EXPECT_FALSE(scale.At(-20));
  EXPECT_FALSE(scale.At(120));
}

TEST(Ticks, OfLogarithmicAxesArePowers) {
  EXPECT_THAT(Labels(Scale(Axis{.scale = AxisScale::kLog10}, {0.0001, 1}, 0, 1), 6),
              ElementsAre("10\xe2\x81\xbb\xe2\x81\xb4", "0.001", "0.01", "0.1", "1"));
  EXPECT_THAT(Labels(Scale(Axis{.scale = AxisScale::kLog2}, {8, 4096}, 0, 1), 5),
              ElementsAre("8", "32", "128", "512", "2048"));
  EXPECT_THAT(Labels(Scale(Axis{.scale = AxisScale::kLog10}, {8, 120}, 0, 1), 9),
              ElementsAre("10", "20", "50", "100"));
  // Less than two powers: as on a linear axis.
  EXPECT_THAT(Labels(Scale(Axis{.scale = AxisScale::kLog10}, {2, 8}, 0, 1), 4),
              ElementsAre("2", "4", "6", "8"));
}

TEST(Ticks, OfALinearAxisHaveEquallyManyDecimals) {
  EXPECT_THAT(Labels(Scale(Axis{}, {0.5, 2}, 0, 1), 4), ElementsAre("0.5", "1.0", "1.5", "2.0"));
}

TEST(TickLabelsBelow, NeverOverlap) {
  for (const double width : {40.0, 120.0, 336.0, 720.0}) {
    for (const AxisScale kind : {AxisScale::kLinear, AxisScale::kLog2, AxisScale::kLog10}) {
      for (const double high : {0.013, 7.0, 123456.0, 3e9}) {
        const Scale scale(Axis{.scale = kind}, {high / 30000, high}, 5, width - 5);
        double end = -1e9;
        for (const Tick& tick : TickLabelsBelow(scale, 0, width).ticks) {
          if (tick.label.empty()) continue;
          const double half = TextWidth(tick.label) / 2;
          EXPECT_GT(*scale.At(tick.value) - half + 10, end) << tick.label << " in " << width;
          end = *scale.At(tick.value) + half;
        }
      }
    }
  }
}

TEST(WrappedText, BreaksAtBlanksElseBehindPunctuationElseAnywhere) {
  EXPECT_THAT(WrappedText("one two three", TextWidth("one two "), 5),
              ElementsAre("one two", "three"));
  EXPECT_THAT(WrappedText("batch-across-clusters", TextWidth("batch-across-c"), 5),
              ElementsAre("batch-across-", "clusters"));
  EXPECT_THAT(WrappedText("aaaaaaaa", TextWidth("aaaaa"), 5), ElementsAre("aaaaa", "aaa"));
  EXPECT_THAT(WrappedText("", 100, 5), ElementsAre(""));
}

TEST(WrappedText, EndsInAnEllipsisWhereSomethingIsLeftOver) {
  const auto lines = WrappedText("one two three four five six", TextWidth("one two "), 2);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_TRUE(lines[1].ends_with("\xe2\x80\xa6")) << lines[1];
  EXPECT_LE(TextWidth(lines[1]), TextWidth("one two "));
}

TEST(WrappedText, NeverCutsACharacterOfSeveralBytes) {
  const std::string umlauts = "\xc3\xa4\xc3\xb6\xc3\xbc\xe6\x89\xb9\xe9\x87\x8f\xf0\x9f\x98\x80";
  for (double width = 0; width < 120; width += 5) {
    std::string joined;
    for (const std::string& line : WrappedText(umlauts, width, 50)) joined += line;
    EXPECT_EQ(joined, umlauts) << width;
  }
}

}  // namespace
}  // namespace syncbn::study::document
