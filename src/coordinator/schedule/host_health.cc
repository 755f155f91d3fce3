#include "coordinator/schedule/host_health.h"

#include <algorithm>

#include "base/text.h"

namespace syncbn::coordinator {

HostHealth AfterFailure(HostHealth health, const HostFailure& failure, const HostPolicy& policy) {
  std::erase_if(health.failures, [&](const HostFailure& one) {
    return failure.time - one.time > policy.window || one.attempt == failure.attempt;
  });
  health.failures.push_back(failure);
  const bool excluded = health.excluded_until && failure.time < *health.excluded_until;
  if (static_cast<int>(health.failures.size()) < policy.failures || excluded) return health;
  const int doublings = std::min(health.exclusions, 20);
  const auto time =
      std::min(policy.longest_exclusion, policy.exclusion * (int64_t{1} << doublings));
  health.excluded_until = failure.time + time;
  ++health.exclusions;
  health.reason = Plural(static_cast<long long>(health.failures.size()), "attempt") +
                  " failed there; the last: " + failure.message;
  health.failures.clear();
  return health;
}

HostHealth AfterSuccess(HostHealth health) {
  health.failures.clear();
  health.exclusions = 0;
  return health;
}

bool IsUsable(const HostHealth& health, DurableTime now) {
  return !health.drained && !(health.excluded_until && now < *health.excluded_until);
}

std::string WhyUnusable(const HostHealth& health, Moment now) {
  if (health.drained) return "drained" + (health.reason.empty() ? "" : ": " + health.reason);
  if (IsUsable(health, now.durable)) return "";
  return "excluded until " + FormatTime(now.WallAt(*health.excluded_until)) + ": " + health.reason;
}

}  // namespace syncbn::coordinator
