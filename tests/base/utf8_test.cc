#include "base/utf8.h"

#include <gtest/gtest.h>

#include "base/text.h"

namespace syncbn {
namespace {

TEST(Utf8Beginning, IsWholeWhereItFitsAndIsUtf8) {
  EXPECT_EQ(Utf8Beginning("", 10), "");
  EXPECT_EQ(Utf8Beginning("0123456789", 10), "0123456789");
  EXPECT_EQ(Utf8Beginning("\xc3\xa4\xc3\xa4", 4), "\xc3\xa4\xc3\xa4");
}

TEST(Utf8Beginning, IsCutBetweenCharactersAndSaysSo) {
  EXPECT_EQ(Utf8Beginning("0123456789x", 10), "012345 ...");
  EXPECT_EQ(Utf8Beginning("01234\xc3\xa4-6789", 10), "01234 ...");
  EXPECT_EQ(Utf8Beginning("\xc3\xa4\xc3\xa4", 3), " ..");
}

TEST(Utf8Beginning, HasAMarkWhereTheBytesAreNoText) {
  EXPECT_EQ(Utf8Beginning("a\xff\xfe z", 100), "a?? z");
  // A character that was cut before.
  EXPECT_EQ(Utf8Beginning("ab\xc3", 100), "ab?");
  std::string bytes;
  for (int byte = 1; byte < 256; ++byte) bytes += static_cast<char>(byte);
  for (size_t most = 0; most < 300; ++most) {
    EXPECT_TRUE(IsUtf8(Utf8Beginning(bytes, most))) << most;
    EXPECT_LE(Utf8Beginning(bytes, most).size(), most);
  }
}

}  // namespace
}  // namespace syncbn
