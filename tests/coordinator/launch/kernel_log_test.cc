// Whom the kernel says it has killed for want of memory.
#include "coordinator/launch/kernel_log.h"

#include <gtest/gtest.h>

namespace syncbn::coordinator {
namespace {

TEST(KernelLog, NamesTheProcessThatTheKernelKilledAndNoOther) {
  EXPECT_EQ(
      OomVictim("3,1241,28301,-;Out of memory: Killed process 4711 (syncbn) total-vm:90kB, "
                "anon-rss:8kB, file-rss:0kB, shmem-rss:0kB, UID:0 pgtables:9kB oom_score_adj:0\n"),
      4711);
  EXPECT_EQ(
      OomVictim("3,7,9,-;Memory cgroup out of memory: Killed process 17 (python3) total-vm:9kB"),
      17);
  EXPECT_EQ(OomVictim("6,7,9,-;oom-kill:constraint=CONSTRAINT_NONE,task=syncbn,pid=4711,uid=0"),
            std::nullopt)
      << "the record before it, of the same process";
  EXPECT_EQ(OomVictim("6,7,9,-;usb 1-1: new device 4711"), std::nullopt);
  EXPECT_EQ(OomVictim("12,7,9,-;Out of memory: Killed process 4711 (syncbn)"), std::nullopt)
      << "a program wrote it";
  EXPECT_EQ(OomVictim(""), std::nullopt);
  EXPECT_EQ(OomVictim("3,7,9,-;Out of memory: Killed process"), std::nullopt);
}

TEST(KernelLog, HoldsNothingOfBeforeItsTime) {
  KernelLog log;
  // Whether or not it may be read here, and however much is in it.
  EXPECT_TRUE(log.OomKilled().empty());
}

}  // namespace
}  // namespace syncbn::coordinator
