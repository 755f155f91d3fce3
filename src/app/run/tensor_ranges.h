// Range of every tensor that passes through a replica's step, and where the first value that is not
// finite appeared.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "nn/step_context.h"

namespace syncbn::app {

struct TensorRange {
  int replica = 0;
  std::string layer;
  std::string what;  // as observers are told: "output", "output behind ReLU", "gradient", ...
  // Over the finite values; 0 and 0 when there are none.
  double min = 0, max = 0;
  int64_t elements = 0;
  int64_t not_finite = 0;
  // Which of the replica's samples holds the first value that is not finite; -1: none.
  int64_t first_bad_sample = -1;
};

// Collects the ranges of all replicas of a step. Thread-safe.
class RangeCollector {
 public:
  // Observer of one replica; must not outlive the collector.
  nn::TensorObserver Observer(int replica);

  // Replica by replica, each in the order of computation.
  std::vector<TensorRange> Ranges() const;

 private:
  mutable std::mutex mutex_;
  std::vector<std::vector<TensorRange>> by_replica_;
};

// Of a tensor whose first axis are samples.
TensorRange RangeOf(const Tensor& tensor);

}  // namespace syncbn::app
