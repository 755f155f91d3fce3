// Token buckets by name: so many calls a second on average, so many at once. Time is passed in.
// Thread-safe.
#pragma once

#include <chrono>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

#include "base/clock.h"

namespace syncbn::coordinator {

struct RateLimit {
  double per_second = 100;
  double burst = 200;
};

class RateLimiter {
 public:
  explicit RateLimiter(RateLimit limit) : limit_(limit) {}

  // Takes one call of `name`. Nothing: it may go on; else how long until one may.
  std::optional<std::chrono::microseconds> Take(const std::string& name, MonotonicTime now);

 private:
  struct Bucket {
    double left;
    MonotonicTime time;
  };

  // Forgets buckets that are full again.
  void Prune(MonotonicTime now);
  double LeftOf(const Bucket& bucket, MonotonicTime now) const;

  RateLimit limit_;
  std::mutex mutex_;
  std::unordered_map<std::string, Bucket> buckets_;
};

}  // namespace syncbn::coordinator
