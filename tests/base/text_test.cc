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

}  // namespace
}  // namespace syncbn
