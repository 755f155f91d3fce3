// Names the values of a set of parameters, so that copies of them in other layouts can be kept as long as the
// values stay.
#pragma once

#include <atomic>
#include <cstdint>

namespace syncbn::backend {

// Two are equal only if one is a copy of the other: nobody can make up one that somebody else uses.
class WeightsVersion {
 public:
  // None: the values may change at any time, and nothing is kept of them.
  WeightsVersion() = default;
  // One that this process has not had before. Thread-safe.
  static WeightsVersion New() {
    static std::atomic<uint64_t> last{0};
    WeightsVersion version;
    version.number_ = ++last;
    return version;
  }

  explicit operator bool() const { return number_ != 0; }
  bool operator==(const WeightsVersion&) const = default;

 private:
  uint64_t number_ = 0;
};

}  // namespace syncbn::backend
