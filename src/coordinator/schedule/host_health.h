// Which hosts are not to be used for a while, because attempts keep failing there. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"

namespace syncbn::coordinator {

struct HostPolicy {
  // So many attempts that failed through a host within the window exclude it ...
  int failures = 3;
  std::chrono::microseconds window = std::chrono::hours(1);
  // ... for this long, doubled at every exclusion in a row up to the second.
  std::chrono::microseconds exclusion = std::chrono::minutes(30);
  std::chrono::microseconds longest_exclusion = std::chrono::hours(24);
};

struct HostFailure {
  DurableTime time;
  std::string attempt;  // "jobs/17/attempts/2"
  std::string message;

  bool operator==(const HostFailure&) const = default;
};

// What is remembered of a host.
struct HostHealth {
  std::string name;
  bool drained = false;  // by an administrator
  std::string reason;    // why it is drained or excluded
  int exclusions = 0;    // in a row
  std::optional<DurableTime> excluded_until;
  std::vector<HostFailure> failures;  // since the last exclusion, oldest first

  bool operator==(const HostHealth&) const = default;
};

// An attempt has failed for a reason that lies in this host. Several reports of one attempt count
// once.
HostHealth AfterFailure(HostHealth health, const HostFailure& failure, const HostPolicy& policy);

// An attempt on it ran well: what was before no longer counts.
HostHealth AfterSuccess(HostHealth health);

bool IsUsable(const HostHealth& health, DurableTime now);

// Why it is not usable: "drained: disk swap", "excluded until 2026-...: 3 attempts failed: ...".
std::string WhyUnusable(const HostHealth& health, Moment now);

}  // namespace syncbn::coordinator
