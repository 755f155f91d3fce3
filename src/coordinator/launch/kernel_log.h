// What the kernel says in its log of processes that it killed for want of memory: the only proof
// that one of a given number was among them. The kernel's counters are of everybody's.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace syncbn::coordinator {

class KernelLog {
 public:
  // From what is said from now on. Silent where the log may not be read, or where this process sees
  // other numbers of processes than the kernel does (containers).
  KernelLog();
  ~KernelLog();
  KernelLog(const KernelLog&) = delete;
  KernelLog& operator=(const KernelLog&) = delete;

  // Those that were killed since the last call.
  std::vector<int64_t> OomKilled();

 private:
  int file_ = -1;
};

// Whom a record of /dev/kmsg says was killed for want of memory, of a control group or of the
// machine. Nothing for any other record, also for one that a program wrote there.
std::optional<int64_t> OomVictim(std::string_view record);

}  // namespace syncbn::coordinator
