// Hosts, what is free on them, and where a request fits. Pure.
//
// A slot is one core. A process takes `threads` slots and `memory_mib` of one host; a request is
// placed as a whole or not at all. Where its processes go does not change what they compute.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace syncbn::coordinator {

struct HostCapacity {
  std::string name;
  int slots = 0;
  int cores = 0;           // that there are; 0: as many as slots
  int64_t memory_mib = 0;  // 0: memory is not counted here
  std::vector<std::string> tags;
  // Empty: usable. Else why not: drained, excluded, not reached.
  std::string unusable;
};

// What a job asks of the cluster.
struct SlotRequest {
  int64_t job = 0;
  int processes = 1;
  int threads = 1;         // slots of each process
  int64_t memory_mib = 0;  // of each process; 0: not counted
  std::vector<std::string> tags;
  std::vector<std::string> hosts;  // only these, if any
  std::vector<std::string> excluded_hosts;
  int max_per_host = 0;  // processes; 0: as many as fit

  int slots() const { return processes * threads; }
};

struct Share {
  std::string host;
  int processes = 0;

  bool operator==(const Share&) const = default;
};

using Placement = std::vector<Share>;

// What a running job holds.
struct Holding {
  SlotRequest request;
  Placement placement;
};

// "1 process", "3 processes"
std::string ProcessesText(int count);

// Whether a host is one that the request allows, whatever is free there.
bool Allows(const SlotRequest& request, const HostCapacity& host);

// Free slots and memory of every host, as jobs are added and taken away.
class FreeCapacity {
 public:
  // `hosts` must outlive it.
  explicit FreeCapacity(const std::vector<HostCapacity>& hosts);

  // Shares on hosts that are not (or no longer) in the hosts file are passed over.
  void Take(const SlotRequest& request, const Placement& placement);
  void Return(const SlotRequest& request, const Placement& placement);

  // Processes of the request that fit on the host of that index now; 0 where the host is unusable
  // or not allowed.
  int Fits(const SlotRequest& request, size_t host) const;

  // A place for all processes: on one host if possible, the one that leaves least free; else on as
  // few as possible. Nothing if they do not fit.
  std::optional<Placement> Find(const SlotRequest& request) const;

  int free_slots(size_t host) const { return slots_[host]; }
  int64_t free_memory(size_t host) const { return memory_[host]; }
  const std::vector<HostCapacity>& hosts() const { return *hosts_; }

 private:
  void Change(const SlotRequest& request, const Placement& placement, int sign);

  const std::vector<HostCapacity>* hosts_;
  std::vector<int> slots_;
  std::vector<int64_t> memory_;
};

// Why no state of this cluster, with every host usable and empty, could place the request; nothing
// if one could. The text says what is needed, what there is, and where a name is wrong.
std::optional<std::string> WhyNeverFits(const SlotRequest& request,
                                        const std::vector<HostCapacity>& hosts);

}  // namespace syncbn::coordinator
