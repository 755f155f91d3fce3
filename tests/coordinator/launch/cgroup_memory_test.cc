// Whose control group it is, and what the kernel counts there. The groups are made up.
#include "coordinator/launch/cgroup_memory.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "tests/support/temp_folder.h"

namespace syncbn::coordinator {
namespace {

class CgroupMemoryTest : public ::testing::Test {
 protected:
  // A group below the root with these processes; `own` is the one that process 7 is in.
  void Make(const std::string& group, const std::string& processes, int oom_kills) {
    const std::filesystem::path path = folder.path() / group;
    std::filesystem::create_directories(path);
    WriteFileAtomically(path / "cgroup.procs", processes);
    WriteFileAtomically(path / "cgroup.events", processes.empty() ? "populated 0\nfrozen 0\n"
                                                                  : "populated 1\nfrozen 0\n");
    Count(group, oom_kills);
  }
  void Count(const std::string& group, int oom_kills) {
    WriteFileAtomically(folder.path() / group / "memory.events",
                        "low 0\nhigh 0\nmax 9\noom 3\noom_kill " + std::to_string(oom_kills) +
                            "\noom_group_kill 0\n");
  }
  CgroupMemory Of(const std::string& group, const std::string& slurm_job = "") {
    const std::filesystem::path membership = folder.path() / "membership";
    WriteFileAtomically(membership, "12:memory:/old\n0::/" + group + "\n");
    return CgroupMemory(
        {.membership = membership, .root = folder.path(), .pid = 7, .slurm_job = slurm_job});
  }

  TempFolder folder;
};

TEST_F(CgroupMemoryTest, WhatIsKilledInTheAttemptsOwnGroupIsCountedFromItsStartOn) {
  Make("jobs/a", "7\n", 2);
  const CgroupMemory memory = Of("jobs/a");
  EXPECT_EQ(memory.group(), "/jobs/a");
  EXPECT_EQ(memory.OomKilled(), 0) << "those of before are not the attempt's";
  Count("jobs/a", 3);
  EXPECT_EQ(memory.OomKilled(), 1);
}

TEST_F(CgroupMemoryTest, AGroupThatOthersAreInProvesNothing) {
  Make("service", "5\n7\n", 0);
  const CgroupMemory shared = Of("service");
  Make("parent", "7\n", 0);
  Make("parent/child", "9\n", 0);
  const CgroupMemory above = Of("parent");
  Make("quiet", "7\n", 0);
  Make("quiet/empty", "", 0);
  const CgroupMemory alone = Of("quiet");
  for (const char* group : {"service", "parent", "quiet"}) Count(group, 4);
  EXPECT_EQ(shared.group(), "");
  EXPECT_EQ(shared.OomKilled(), 0);
  EXPECT_EQ(above.OomKilled(), 0);
  EXPECT_EQ(alone.OomKilled(), 4);
}

TEST_F(CgroupMemoryTest, AllOfASlurmJobIsItsAttempts) {
  Make("slurm/job_17", "", 0);
  Make("slurm/job_17/step_batch/user/task_0", "7\n", 0);
  const CgroupMemory job = Of("slurm/job_17/step_batch/user/task_0", "17");
  EXPECT_EQ(job.group(), "/slurm/job_17");
  Count("slurm/job_17", 1);  // of a rank in another step
  EXPECT_EQ(job.OomKilled(), 1);
  // Without a group of that name it is this process's own.
  EXPECT_EQ(Of("slurm/job_17/step_batch/user/task_0", "18").group(),
            "/slurm/job_17/step_batch/user/task_0");
}

TEST_F(CgroupMemoryTest, WhereThereIsNothingToReadNothingIsCounted) {
  EXPECT_EQ(Of("nowhere").OomKilled(), 0);
  const CgroupMemory none({.membership = folder.path() / "none", .root = folder.path()});
  EXPECT_EQ(none.group(), "");
  EXPECT_EQ(none.OomKilled(), 0);
  Make("bare", "7\n", 0);
  std::filesystem::remove(folder.path() / "bare" / "memory.events");
  EXPECT_EQ(Of("bare").OomKilled(), 0);
}

}  // namespace
}  // namespace syncbn::coordinator
