#include "coordinator/schedule/placement.h"

#include <algorithm>

#include "base/text.h"

namespace syncbn::coordinator {
namespace {

bool Contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// "node1: 4, node2: 4", cut off where it gets long.
template <typename Describe>
std::string ListHosts(const std::vector<const HostCapacity*>& hosts, Describe describe) {
  constexpr size_t kMost = 6;
  std::vector<std::string> parts;
  for (const HostCapacity* host : hosts) {
    if (parts.size() == kMost) {
      parts.push_back("and " + std::to_string(hosts.size() - kMost) + " more");
      break;
    }
    parts.push_back(host->name + ": " + describe(*host));
  }
  return Join(parts, ", ");
}

}  // namespace

std::string ProcessesText(int count) {
  return std::to_string(count) + (count == 1 ? " process" : " processes");
}

bool Allows(const SlotRequest& request, const HostCapacity& host) {
  if (!request.hosts.empty() && !Contains(request.hosts, host.name)) return false;
  if (Contains(request.excluded_hosts, host.name)) return false;
  return std::all_of(request.tags.begin(), request.tags.end(),
                     [&](const std::string& tag) { return Contains(host.tags, tag); });
}

FreeCapacity::FreeCapacity(const std::vector<HostCapacity>& hosts) : hosts_(&hosts) {
  for (const HostCapacity& host : hosts) {
    slots_.push_back(host.slots);
    memory_.push_back(host.memory_mib);
  }
}

void FreeCapacity::Take(const SlotRequest& request, const Placement& placement) {
  Change(request, placement, -1);
}

void FreeCapacity::Return(const SlotRequest& request, const Placement& placement) {
  Change(request, placement, +1);
}

void FreeCapacity::Change(const SlotRequest& request, const Placement& placement, int sign) {
  for (const Share& share : placement) {
    for (size_t i = 0; i < hosts_->size(); ++i) {
      if ((*hosts_)[i].name != share.host) continue;
      slots_[i] += sign * share.processes * request.threads;
      memory_[i] += sign * share.processes * request.memory_mib;
    }
  }
}

int FreeCapacity::Fits(const SlotRequest& request, size_t index) const {
  const HostCapacity& host = (*hosts_)[index];
  if (!host.unusable.empty() || !Allows(request, host)) return 0;
  int64_t count = slots_[index] / request.threads;
  if (host.memory_mib > 0 && request.memory_mib > 0) {
    count = std::min(count, memory_[index] / request.memory_mib);
  }
  if (request.max_per_host > 0) count = std::min<int64_t>(count, request.max_per_host);
  return static_cast<int>(std::clamp<int64_t>(count, 0, request.processes));
}

std::optional<Placement> FreeCapacity::Find(const SlotRequest& request) const {
  struct Candidate {
    size_t host;
    int fits;
  };
  std::vector<Candidate> candidates;
  int total = 0;
  for (size_t i = 0; i < hosts_->size(); ++i) {
    const int fits = Fits(request, i);
    if (fits > 0) candidates.push_back({i, fits});
    total += fits;
  }
  if (total < request.processes) return std::nullopt;
  // One host that takes all: the fullest, so that large gaps stay for large jobs.
  const Candidate* best = nullptr;
  for (const Candidate& one : candidates) {
    if (one.fits < request.processes) continue;
    if (best == nullptr || slots_[one.host] < slots_[best->host]) best = &one;
  }
  if (best != nullptr) return Placement{{(*hosts_)[best->host].name, request.processes}};
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const Candidate& a, const Candidate& b) { return a.fits > b.fits; });
  Placement placement;
  int left = request.processes;
  for (const Candidate& one : candidates) {
    const int processes = std::min(left, one.fits);
    placement.push_back({(*hosts_)[one.host].name, processes});
    left -= processes;
    if (left == 0) break;
  }
  return placement;
}

std::optional<std::string> WhyNeverFits(const SlotRequest& request,
                                        const std::vector<HostCapacity>& hosts) {
  std::vector<std::string> names, tags;
  for (const HostCapacity& host : hosts) {
    names.push_back(host.name);
    tags.insert(tags.end(), host.tags.begin(), host.tags.end());
  }
  for (const std::string& name : request.hosts) {
    if (Contains(names, name)) continue;
    const std::string meant = DidYouMean(name, names, '\'');
    return "there is no host '" + name + "'" +
           (meant.empty() ? "; there are " + JoinAlternatives(names) : meant);
  }
  for (const std::string& tag : request.tags) {
    if (!Contains(tags, tag)) return "no host has the tag '" + tag + "'";
  }
  std::vector<HostCapacity> idle = hosts;
  for (HostCapacity& host : idle) host.unusable.clear();
  const FreeCapacity free(idle);
  if (free.Find(request)) return std::nullopt;

  std::vector<const HostCapacity*> allowed;
  int slots = 0, largest = 0, possible = 0;
  int64_t largest_memory = 0;
  bool memory_counts = true;
  for (size_t i = 0; i < idle.size(); ++i) {
    if (!Allows(request, idle[i])) continue;
    allowed.push_back(&idle[i]);
    slots += idle[i].slots;
    largest = std::max(largest, idle[i].slots);
    largest_memory = std::max(largest_memory, idle[i].memory_mib);
    memory_counts &= idle[i].memory_mib > 0;
    possible += free.Fits(request, i);
  }
  if (allowed.empty())
    return "no host has all that is asked of hosts (tags, hosts, excluded hosts)";
  auto slots_of = [](const HostCapacity& host) { return std::to_string(host.slots); };
  const std::string hosts_have = allowed.size() == 1 ? "the only host it could use has "
                                                     : "the hosts it could use together have ";
  if (slots < request.slots()) {
    return "needs " + Plural(request.slots(), "slot") + " (" + ProcessesText(request.processes) +
           " x " + Plural(request.threads, "thread") + "); " + hosts_have + std::to_string(slots) +
           " (" + ListHosts(allowed, slots_of) + ")";
  }
  if (largest < request.threads) {
    return "a process needs " + Plural(request.threads, "slot") + "; the largest host has " +
           std::to_string(largest) + " (" + ListHosts(allowed, slots_of) + ")";
  }
  if (memory_counts && largest_memory < request.memory_mib) {
    return "a process needs " + std::to_string(request.memory_mib) +
           " MiB of memory; the largest host has " + std::to_string(largest_memory) + " MiB";
  }
  return "only " + std::to_string(possible) + " of " + ProcessesText(request.processes) +
         " fit on the hosts it could use, empty (" +
         ListHosts(allowed,
                   [&](const HostCapacity& host) {
                     const size_t index = static_cast<size_t>(&host - idle.data());
                     return std::to_string(free.Fits(request, index));
                   }) +
         ")";
}

}  // namespace syncbn::coordinator
