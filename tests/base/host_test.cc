#include "base/host.h"

#include <gtest/gtest.h>
#include <sys/utsname.h>

namespace syncbn {
namespace {

TEST(HostName, IsTheOneTheKernelKnows) {
  utsname names{};
  ASSERT_EQ(::uname(&names), 0);
  EXPECT_EQ(HostName(), names.nodename);
  EXPECT_FALSE(HostName().empty());
}

}  // namespace
}  // namespace syncbn
