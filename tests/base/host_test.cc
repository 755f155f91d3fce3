#include "base/host.h"

#include <gtest/gtest.h>
#include <sys/utsname.h>

#include <fstream>

namespace syncbn {
namespace {

TEST(HostName, IsTheOneTheKernelKnows) {
  utsname names{};
  ASSERT_EQ(::uname(&names), 0);
  EXPECT_EQ(HostName(), names.nodename);
  EXPECT_FALSE(HostName().empty());
}

TEST(MemoryBytes, IsWhatTheKernelCountsAtMost) {
  std::ifstream file("/proc/meminfo");
  std::string name;
  int64_t kib = 0;
  ASSERT_TRUE(file >> name >> kib);
  ASSERT_EQ(name, "MemTotal:");
  EXPECT_LE(MemoryBytes(), kib * 1024);
  EXPECT_GE(MemoryBytes(), int64_t{64} << 20);
}

}  // namespace
}  // namespace syncbn
