#include "base/printable.h"
#include "base/text.h"

#include <gtest/gtest.h>

namespace syncbn {
namespace {

TEST(NearestWord, FindsTypingMistakesAndNothingFarther) {
  const std::vector<std::string> words = {"momentum", "nesterov", "weight_decay"};
  EXPECT_EQ(NearestWord("momentun", words), "momentum");
  EXPECT_EQ(NearestWord("moemntum", words), "momentum");
  EXPECT_EQ(NearestWord("weigth_decay", words), "weight_decay");
  EXPECT_EQ(NearestWord("banana", words), "");
}

TEST(DidYouMean, AsksAfterTheNearestOrNotAtAll) {
  const std::vector<std::string> words = {"momentum", "nesterov"};
  EXPECT_EQ(DidYouMean("momentun", words), "; did you mean `momentum`?");
  EXPECT_EQ(DidYouMean("momentun", words, '\''), "; did you mean 'momentum'?");
  EXPECT_EQ(DidYouMean("banana", words), "");
}

TEST(FormatDouble, IsTheShortestThatReadsBack) {
  EXPECT_EQ(FormatDouble(0.1), "0.1");
  EXPECT_EQ(FormatDouble(1e-5), "1e-05");
  EXPECT_EQ(FormatDouble(3), "3");
}

TEST(JoinAlternatives, ReadsAsASentence) {
  EXPECT_EQ(JoinAlternatives(std::vector<std::string>{"a", "b", "c"}), "a, b or c");
  EXPECT_EQ(JoinAlternatives(std::vector<std::string>{"a"}), "a");
}

TEST(Plural, SaysOneAsOneAndProcessesAsProcesses) {
  EXPECT_EQ(Plural(1, "process"), "1 process");
  EXPECT_EQ(Plural(2, "process"), "2 processes");
  EXPECT_EQ(Plural(0, "step"), "0 steps");
}

TEST(Printable, LeavesNothingThatCouldChangeATerminalAndAllThatIsText) {
  EXPECT_EQ(Printable("gr\u00fc\u00df, \u65e5\u672c\u8a9e\t\U0001f600\n"),
            "gr\u00fc\u00df, \u65e5\u672c\u8a9e\t\U0001f600\n");
  EXPECT_EQ(Printable("a\033[31mb\rc\x7f"), "a [31mb c ");
  EXPECT_EQ(Printable("a\u009b31m\u0085b"), "a 31m b") << "control characters of the second set";
  EXPECT_EQ(Printable("a\u202eb\u2066c\u200fd\u061ce"), "a b c d e") << "marks of direction";
  EXPECT_EQ(Printable("a\u2028b\ufeffc\u200bd\U000e0041e"), "a b c d e");
  EXPECT_EQ(Printable("a\x9b"
                      "31m\xc3"),
            "a\ufffd31m\ufffd")
      << "what is no text";
  EXPECT_EQ(Printable(std::string("a\0b", 3)), "a b");
}

TEST(OneLine, IsOneLine) {
  EXPECT_EQ(OneLine("a\nb\tc\u2029d \n"), "a b c d");
  EXPECT_EQ(OneLine(""), "");
}

TEST(PrintableJson, MeansTheSame) {
  EXPECT_EQ(PrintableJson("{\"a\": \"x\u202ey\u009bz\U000e0041\"}\n"),
            "{\"a\": \"x\\u202ey\\u009bz\\udb40\\udc41\"}\n");
}

}  // namespace
}  // namespace syncbn
