// The order in which an epoch visits the samples. A function of (seed, epoch) alone. Thread-safe.
#pragma once

#include <cstdint>
#include <vector>

namespace syncbn::data {

class Sampler {
 public:
  struct Options {
    int64_t samples = 0;
    uint64_t seed = 0;
    bool shuffle = true;
  };

  explicit Sampler(const Options& options);

  int64_t samples() const { return options_.samples; }

  // Sample ids by position. Shuffled by Fisher and Yates from (seed, "order", epoch); 0, 1, 2, ...
  // without `shuffle`.
  std::vector<uint64_t> Order(int64_t epoch) const;

 private:
  Options options_;
};

}  // namespace syncbn::data
