#include "coordinator/service/rate_limiter.h"

#include <algorithm>

namespace syncbn::coordinator {

namespace {
constexpr size_t kPruneAbove = 1000;
}

double RateLimiter::LeftOf(const Bucket& bucket, MonotonicTime now) const {
  const double passed = std::chrono::duration<double>(now - bucket.time).count();
  return std::min(limit_.burst, bucket.left + passed * limit_.per_second);
}

std::optional<std::chrono::microseconds> RateLimiter::Take(const std::string& name,
                                                           MonotonicTime now) {
  std::lock_guard lock(mutex_);
  if (buckets_.size() > kPruneAbove) Prune(now);
  Bucket& bucket = buckets_.try_emplace(name, Bucket{limit_.burst, now}).first->second;
  bucket = {LeftOf(bucket, now), now};
  // A whole call, but for rounding.
  if (bucket.left >= 1 - 1e-9) {
    bucket.left -= 1;
    return std::nullopt;
  }
  const double seconds = (1 - bucket.left) / limit_.per_second;
  return std::chrono::microseconds(static_cast<int64_t>(seconds * 1e6) + 1);
}

void RateLimiter::Prune(MonotonicTime now) {
  std::erase_if(buckets_,
                [&](const auto& entry) { return LeftOf(entry.second, now) >= limit_.burst; });
}

}  // namespace syncbn::coordinator
