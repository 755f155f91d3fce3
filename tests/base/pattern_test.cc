#include "base/pattern.h"

#include <gtest/gtest.h>

#include <vector>

namespace syncbn {
namespace {

TEST(Pattern, AStarIsAnyTextAndAQuestionMarkOneCharacter) {
  const std::vector<std::string> fits[] = {{"fc.weight", "fc.weight"},
                                           {"fc.*", "fc.weight"},
                                           {"*", ""},
                                           {"*", "a.b"},
                                           {"layer?.0.*", "layer4.0.bn1.bias"},
                                           {"*.bias", "a.bias.bias"},
                                           {"a*b*c", "abbcbc"},
                                           {"**", "x"},
                                           {"", ""}};
  for (const auto& pair : fits)
    EXPECT_TRUE(FitsPattern(pair[0], pair[1])) << pair[0] << " " << pair[1];
  const std::vector<std::string> not_fits[] = {
      {"fc", "fc.weight"}, {"fc.*", "fcx"},    {"?", ""}, {"?", "ab"},
      {"*.bias", "bias"},  {"a*b*c", "abbcb"}, {"", "x"}, {"a.c", "abc"}};
  for (const auto& pair : not_fits)
    EXPECT_FALSE(FitsPattern(pair[0], pair[1])) << pair[0] << " " << pair[1];
}

TEST(Pattern, OneThatFitsNothingNamesTheNearest) {
  const std::vector<std::string> names = {"layer1.0.conv1.weight", "fc.weight"};
  EXPECT_EQ(FitsNone("fc.wieght", "parameter", names),
            "`fc.wieght` fits no parameter; did you mean `fc.weight`?");
  EXPECT_EQ(FitsNone("zzz*", "parameter", names), "`zzz*` fits no parameter");
}

}  // namespace
}  // namespace syncbn
