#include "base/environment.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace syncbn {
namespace {

TEST(Environment, AVariableIsSetOnceWhateverItWas) {
  std::vector<std::string> environment = {"A=1", "AB=2", "A=3", "B="};
  EXPECT_TRUE(HasVariable(environment, "A"));
  EXPECT_TRUE(HasVariable(environment, "B"));
  EXPECT_FALSE(HasVariable(environment, "a"));
  SetVariable(environment, "A", "x=y");
  EXPECT_EQ(environment, (std::vector<std::string>{"AB=2", "B=", "A=x=y"}));
  EXPECT_EQ(VariableName("A=x=y"), "A");
}

TEST(Environment, OwnVariablesAreThereAndPointersEndWithNull) {
  ::setenv("SYNCBN_ENVIRONMENT_TEST", "here", 1);
  std::vector<std::string> own = OwnEnvironment();
  ::unsetenv("SYNCBN_ENVIRONMENT_TEST");
  EXPECT_TRUE(HasVariable(own, "SYNCBN_ENVIRONMENT_TEST"));
  const std::vector<char*> pointers = ExecPointers(own);
  ASSERT_EQ(pointers.size(), own.size() + 1);
  EXPECT_EQ(pointers.back(), nullptr);
  EXPECT_EQ(pointers.front(), own.front());
}

}  // namespace
}  // namespace syncbn
