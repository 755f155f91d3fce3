#include "coordinator/launch/pending_text.h"

#include <algorithm>

#include "base/text.h"
#include "coordinator/job/job_record.h"

namespace syncbn::coordinator {
namespace {

// Slots that a job holds on hosts the request could use.
struct Held {
  int64_t job;
  int slots;
};

std::vector<Held> HeldOnAllowedHosts(const SlotRequest& request, const FreeCapacity& free,
                                     const std::vector<RunningJob>& holders) {
  std::vector<Held> held;
  for (const RunningJob& one : holders) {
    int slots = 0;
    for (const Share& share : one.holding.placement) {
      for (const HostCapacity& host : free.hosts()) {
        if (host.name == share.host && host.unusable.empty() && Allows(request, host)) {
          slots += share.processes * one.holding.request.threads;
        }
      }
    }
    if (slots > 0) held.push_back({one.holding.request.job, slots});
  }
  std::stable_sort(held.begin(), held.end(),
                   [](const Held& a, const Held& b) { return a.slots > b.slots; });
  return held;
}

// "5 held by jobs/17, 2 by jobs/18 and 4 by 2 more jobs"
std::string HeldText(const std::vector<Held>& held) {
  constexpr size_t kMost = 3;
  std::vector<std::string> parts;
  for (size_t i = 0; i < std::min(kMost, held.size()); ++i) {
    parts.push_back(std::to_string(held[i].slots) + (i == 0 ? " held by " : " by ") +
                    JobName(held[i].job));
  }
  std::string text = Join(parts, ", ");
  if (held.size() > kMost) {
    int rest = 0;
    for (size_t i = kMost; i < held.size(); ++i) rest += held[i].slots;
    text += " and " + std::to_string(rest) + " by " +
            Plural(static_cast<long long>(held.size() - kMost), "more job");
  }
  return text;
}

struct FreeNow {
  int slots = 0, most_on_one_host = 0;
  int64_t most_memory_on_one_host = 0;
};

FreeNow Count(const SlotRequest& request, const FreeCapacity& free) {
  FreeNow now;
  for (size_t i = 0; i < free.hosts().size(); ++i) {
    const HostCapacity& host = free.hosts()[i];
    if (!host.unusable.empty() || !Allows(request, host)) continue;
    now.slots += std::max(0, free.free_slots(i));
    now.most_on_one_host = std::max(now.most_on_one_host, free.free_slots(i));
    now.most_memory_on_one_host = std::max(now.most_memory_on_one_host, free.free_memory(i));
  }
  return now;
}

// Whether it would fit if memory were not counted.
bool FitsBySlots(SlotRequest request, const FreeCapacity& free) {
  request.memory_mib = 0;
  return free.Find(request).has_value();
}

// Whole minutes, rounded down, "25 min"; seconds below one.
std::string Minutes(std::chrono::microseconds time) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(time).count();
  return seconds >= 60 ? std::to_string(seconds / 60) + " min" : std::to_string(seconds) + " s";
}

}  // namespace

PendingReason ExplainCapacity(const SlotRequest& request, const FreeCapacity& free,
                              const std::vector<RunningJob>& holders) {
  const FreeNow now = Count(request, free);
  const std::vector<Held> held = HeldOnAllowedHosts(request, free, holders);
  PendingReason reason{.needed_slots = request.slots(), .free_slots = now.slots};
  for (const Held& one : held) reason.blocking_jobs.push_back(one.job);
  const std::string needs = "needs " + Plural(request.slots(), "slot") + ", ";
  std::string text;
  if (FitsBySlots(request, free)) {
    reason.code = PendingCode::kMemory;
    text = needs + std::to_string(now.slots) +
           " free, but not the memory: " + std::to_string(request.memory_mib) +
           " MiB for each of " + ProcessesText(request.processes) + ", at most " +
           std::to_string(now.most_memory_on_one_host) + " MiB free on one host";
  } else if (now.slots < request.slots()) {
    text = needs + std::to_string(now.slots) + " free";
  } else if (request.max_per_host > 0) {
    text = needs + std::to_string(now.slots) +
           " free, but not enough of them on different hosts (at most " +
           ProcessesText(request.max_per_host) + " on one)";
  } else {
    text = needs + std::to_string(now.slots) + " free, but at most " +
           std::to_string(now.most_on_one_host) + " on one host, and a process takes " +
           std::to_string(request.threads);
  }
  reason.message = held.empty() ? text : text + ", " + HeldText(held);
  return reason;
}

PendingReason ExplainBehind(const SlotRequest& request, const SlotRequest& first,
                            const std::optional<DurableTime>& first_starts_by,
                            const FreeCapacity& free, std::chrono::microseconds ending_margin,
                            DurableTime now) {
  PendingReason reason{.code = PendingCode::kBehind,
                       .needed_slots = request.slots(),
                       .free_slots = Count(request, free).slots,
                       .blocking_jobs = {first.job}};
  reason.message = "needs " + Plural(request.slots(), "slot") + ", " +
                   std::to_string(reason.free_slots) + " free, but would delay " +
                   JobName(first.job) + ", which is first in line and needs " +
                   std::to_string(first.slots());
  if (!first_starts_by) return reason;
  const auto longest = *first_starts_by - now - ending_margin;
  if (longest >= std::chrono::seconds(1)) {
    reason.message += "; a time limit of at most " + Minutes(longest) + " would let it pass";
  }
  return reason;
}

PendingReason ExplainHosts(const SlotRequest& request, const FreeCapacity& free) {
  PendingReason reason{.code = PendingCode::kHosts,
                       .needed_slots = request.slots(),
                       .free_slots = Count(request, free).slots};
  // The hosts file may have changed since the job was taken.
  if (const auto never = WhyNeverFits(request, free.hosts())) {
    reason.message = "can no longer be placed: " + *never;
    return reason;
  }
  std::vector<std::string> unusable;
  for (const HostCapacity& host : free.hosts()) {
    if (!host.unusable.empty() && Allows(request, host))
      unusable.push_back(host.name + " (" + host.unusable + ")");
  }
  reason.message = "needs " + Plural(request.slots(), "slot") +
                   ", and hosts it could use are out of use: " + Join(unusable, ", ");
  return reason;
}

}  // namespace syncbn::coordinator
