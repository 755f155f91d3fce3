// What the kernel counts of processes that it killed for want of memory in a control group (cgroup
// v2) that is the attempt's alone: proof that one of the attempt was among them. A group that
// others are in, too, proves nothing, and is not looked at: that of the coordinator's service, say,
// of which the supervisors of all attempts are.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace syncbn::coordinator {

class CgroupMemory {
 public:
  struct Options {
    std::filesystem::path membership = "/proc/self/cgroup";
    std::filesystem::path root = "/sys/fs/cgroup";
    int64_t pid = 0;  // of this process; 0: it is asked for
    // Of the Slurm job that this process is part of; Slurm keeps a group "job_17" for all of it.
    std::string slurm_job;
  };

  // To be made before the attempt has any other process: that this one is alone in its group is
  // what makes the group the attempt's. Does not throw; without such a group nothing is ever
  // counted.
  explicit CgroupMemory(Options options);

  // As /proc/PID/cgroup names it; empty: there is none.
  const std::string& group() const { return group_; }
  // Since this object was made.
  int64_t OomKilled() const;

 private:
  int64_t Count() const;

  std::filesystem::path root_;
  std::string group_;
  int64_t before_ = 0;
};

}  // namespace syncbn::coordinator
