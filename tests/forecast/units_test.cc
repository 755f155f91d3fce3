#include "forecast/units.h"

#include <gmock/gmock.h>

#include "base/error.h"

namespace syncbn::forecast {
namespace {

using ::testing::ElementsAre;

TEST(Units, TimesAreReadWithTheirUnit) {
  EXPECT_DOUBLE_EQ(ParseDuration("5us"), 5e-6);
  EXPECT_DOUBLE_EQ(ParseDuration("0.1 ms"), 1e-4);
  EXPECT_DOUBLE_EQ(ParseDuration("250ns"), 2.5e-7);
  EXPECT_DOUBLE_EQ(ParseDuration("1s"), 1);
  EXPECT_DOUBLE_EQ(ParseDuration("10000ms"), 10);
  EXPECT_DOUBLE_EQ(ParseDuration("1ns"), 1e-9);
}

TEST(Units, BandwidthsAreBitsASecondInPowersOfAThousand) {
  EXPECT_DOUBLE_EQ(ParseBandwidth("25Gbit"), 25e9 / 8);
  EXPECT_DOUBLE_EQ(ParseBandwidth("10 Gbit/s"), 10e9 / 8);
  EXPECT_DOUBLE_EQ(ParseBandwidth("800Mbit"), 1e8);
  EXPECT_DOUBLE_EQ(ParseBandwidth("100kbit"), 12500);
  EXPECT_DOUBLE_EQ(ParseBandwidth("100 Tbit/s"), 1.25e13);
}

TEST(Units, ARangeDoublesAndAListIsSorted) {
  EXPECT_THAT(ParseDoublings("2..1024", 65536),
              ElementsAre(2, 4, 8, 16, 32, 64, 128, 256, 512, 1024));
  EXPECT_THAT(ParseDoublings("3..20", 65536), ElementsAre(3, 6, 12));
  EXPECT_THAT(ParseDoublings("8,3,2,3", 65536), ElementsAre(2, 3, 8));
  EXPECT_THAT(ParseDoublings("4", 65536), ElementsAre(4));
  EXPECT_THAT(ParseDoublings("65536..65536", 65536), ElementsAre(65536));
}

TEST(Units, AnIntervalHasItsGeometricMean) {
  EXPECT_EQ(ParseInterval("400"), (study::Interval{400, 400, 400}));
  EXPECT_EQ(ParseInterval("100..400"), (study::Interval{100, 200, 400}));
}

TEST(Units, WhatIsNoQuantityIsRefusedWithWhatWasExpected) {
  for (const char* text : {"", "5", "us", "5 m", "-5us", "0us", "nanus", "1e999s", "5us ", "infs",
                           "0.9ns", "11s", "31536000s"}) {
    EXPECT_THROW(ParseDuration(text), Error) << text;
  }
  for (const char* text : {"", "25", "25GB", "25gbit", "0Gbit", "Gbit", "25Gbit/s/s", "1Gbit/min",
                           "0.001kbit", "99kbit", "101Tbit"}) {
    EXPECT_THROW(ParseBandwidth(text), Error) << text;
  }
  for (const char* text :
       {"", "0..4", "8..4", "2..", "..4", "2,,3", "2,", "2.5", "2..4..8", "70000", "2 4"}) {
    EXPECT_THROW(ParseDoublings(text, 65536), Error) << text;
  }
  for (const char* text : {"", "0", "-4", "4..2", "4..", "..4", "x", "1..2..3", "nan"}) {
    EXPECT_THROW(ParseInterval(text), Error) << text;
  }
  try {
    ParseBandwidth("25GB");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.message(), testing::HasSubstr("such as 25Gbit, found '25GB'"));
  }
}

}  // namespace
}  // namespace syncbn::forecast
