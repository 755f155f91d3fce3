#include "study/document/number_text.h"

#include <gtest/gtest.h>

#include <limits>

namespace syncbn::study::document {
namespace {

TEST(NumberText, HasThreeSignificantDigitsAndNoMoreThanTheNumberHas) {
  EXPECT_EQ(NumberText(0), "0");
  EXPECT_EQ(NumberText(-0.0), "0");
  EXPECT_EQ(NumberText(0.1), "0.1");
  EXPECT_EQ(NumberText(91.234), "91.2");
  EXPECT_EQ(NumberText(11.98), "12.0");
  EXPECT_EQ(NumberText(9.999), "10.0");
  EXPECT_EQ(NumberText(0.012345), "0.0123");
  EXPECT_EQ(NumberText(-0.5), "-0.5");
  EXPECT_EQ(NumberText(1234.56), "1230");
  EXPECT_EQ(NumberText(12345.6), "12,300");
  EXPECT_EQ(NumberText(0.031622, 2), "0.032");
}

TEST(NumberText, KeepsWholeNumbersExactAndSetsThousandsApartFromFiveDigitsOn) {
  EXPECT_EQ(NumberText(4096), "4096");
  EXPECT_EQ(NumberText(65536), "65,536");
  EXPECT_EQ(NumberText(1234567), "1,234,567");
  EXPECT_EQ(NumberText(-123456), "-123,456");
}

TEST(NumberText, WritesVerySmallAndVeryLargeOnesWithAnExponent) {
  EXPECT_EQ(NumberText(1.25e-7), "1.25e-7");
  EXPECT_EQ(NumberText(3e12), "3e12");
  EXPECT_EQ(NumberText(1e308), "1e308");
}

TEST(NumberText, SaysThatANumberIsNotFinite) {
  EXPECT_EQ(NumberText(std::numeric_limits<double>::quiet_NaN()), "not finite");
  EXPECT_EQ(NumberText(-std::numeric_limits<double>::infinity()), "-\xe2\x88\x9e");
}

TEST(IntervalText, HasTheDecimalsThatItsWidthGivesSenseTo) {
  EXPECT_EQ(IntervalText(91.234, Interval{91.18, 91.28}), "91.23 (91.18 to 91.28)");
  EXPECT_EQ(IntervalText(91.234, Interval{89.1, 93.4}, "%"), "91.2 % (89.1 to 93.4)");
  EXPECT_EQ(IntervalText(12345, Interval{11800, 12900}), "12,300 (11,800 to 12,900)");
  EXPECT_EQ(IntervalText(0.5, Interval{-0.02, 1.02}), "0.5 (0.0 to 1.0)");
  EXPECT_EQ(IntervalText(3, std::nullopt), "3");
}

TEST(IntervalText, OfWhatIsOpenOnASideNamesTheBoundAlone) {
  constexpr double kOpen = std::numeric_limits<double>::infinity();
  EXPECT_EQ(IntervalText(2, Interval{1.5, kOpen}, "points"), "at least 1.5 points");
  EXPECT_EQ(IntervalText(2, Interval{-kOpen, -0.25}), "at most -0.25");
  EXPECT_EQ(IntervalText(1, Interval{-kOpen, kOpen}), "not known");
}

TEST(IntervalText, HoldsForEndsThatAreEqual) {
  EXPECT_EQ(IntervalText(2, Interval{2, 2}), "2 (2 to 2)");
}

TEST(AxisValueText, IsTheCategoryWhereThereIsOne) {
  const Axis axis{.categories = {"one", "two"}};
  EXPECT_EQ(AxisValueText(axis, 1), "two");
  EXPECT_EQ(AxisValueText(axis, 2), "2");
  EXPECT_EQ(AxisValueText(Axis{}, 0.031622), "0.0316");
}

}  // namespace
}  // namespace syncbn::study::document
