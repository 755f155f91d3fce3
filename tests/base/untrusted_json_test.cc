#include "base/untrusted_json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace syncbn {
namespace {

std::string Nested(int levels) {
  return std::string(levels, '[') + std::string(levels, ']');
}

std::string FaultOf(const std::string& text) {
  try {
    ParseUntrustedJson(text);
    return "";
  } catch (const JsonFault& fault) {
    EXPECT_EQ(fault.code(), ErrorCode::kDataLoss);
    return fault.message();
  }
}

TEST(UntrustedJson, IsParsed) {
  EXPECT_EQ(ParseUntrustedJson(R"({"b": [1, "x"], "a": null})").dump(),
            R"({"a":null,"b":[1,"x"]})");
  EXPECT_EQ(ParseUntrustedJson<nlohmann::ordered_json>(R"({"b": [1, "x"], "a": null})").dump(),
            R"({"b":[1,"x"],"a":null})");
}

TEST(UntrustedJson, MayBeAsDeepAsTheLimit) {
  EXPECT_EQ(ParseUntrustedJson(Nested(kMaxJsonNesting)).dump(), Nested(kMaxJsonNesting));
  // Beside one another is not within one another.
  std::string many = "[" + Nested(99);
  for (int i = 0; i < 500; ++i) many += ", " + Nested(99);
  EXPECT_EQ(ParseUntrustedJson(many + "]").size(), 501);
}

TEST(UntrustedJson, IsRefusedWhenNestedTooDeeply) {
  const std::string fault =
      "it is nested too deeply: more than 100 levels of objects and lists (at byte 101)";
  EXPECT_EQ(FaultOf(Nested(101)), fault);
  EXPECT_EQ(FaultOf(Nested(100'000)), fault);
  // Whether or not they end.
  EXPECT_EQ(FaultOf(std::string(100'000, '[')), fault);
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
  EXPECT_EQ(FaultOf(objects),
            "it is nested too deeply: more than 100 levels of objects and lists (at byte 501)");
  EXPECT_THROW(CheckJsonNesting(objects), JsonFault);
}

TEST(UntrustedJson, BracketsInStringsAreText) {
  const std::string brackets(200, '[');
  EXPECT_EQ(ParseUntrustedJson("[\"" + brackets + "\"]")[0], brackets);
  EXPECT_EQ(ParseUntrustedJson("[\"\\\"" + brackets + "\"]")[0], "\"" + brackets);
  EXPECT_EQ(ParseUntrustedJson("{\"" + brackets + "\": 1}")[brackets], 1);
  // A string that ends in a backslash has ended all the same.
  EXPECT_NE(FaultOf("[\"\\\\\", " + brackets).find("nested too deeply"), std::string::npos);
}

TEST(UntrustedJson, SaysWhereItIsNone) {
  EXPECT_EQ(FaultOf("{\"a\": tru}"), "it is not JSON (at byte 10)");
  EXPECT_EQ(FaultOf(""), "it is not JSON (at byte 1)");
  EXPECT_EQ(FaultOf("]]]]"), "it is not JSON (at byte 1)");
  EXPECT_EQ(FaultOf("\"open"), "it is not JSON (at byte 6)");
  EXPECT_EQ(FaultOf("\"open\\"), "it is not JSON (at byte 7)");
  EXPECT_EQ(FaultOf("[1e999]"), "it has a number that is out of range");
}

TEST(UntrustedJson, OrNull) {
  EXPECT_EQ(UntrustedJsonOrNull("[1]")[0], 1);
  EXPECT_TRUE(UntrustedJsonOrNull("[1").is_null());
  EXPECT_TRUE(UntrustedJsonOrNull(Nested(100'000)).is_null());
  EXPECT_TRUE(UntrustedJsonOrNull<nlohmann::ordered_json>("[1e999]").is_null());
}

}  // namespace
}  // namespace syncbn
