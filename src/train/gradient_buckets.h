// The flat gradient cut into consecutive ranges that are reduced one by one while the backward pass
// goes on. The cut does not change the result: the tree sums element by element.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "nn/parameters.h"

namespace syncbn::train {

struct GradientBucket {
  // Elements [begin, end) of the flat gradient, and the parameters that lie in it.
  int64_t begin = 0, end = 0;
  int first_parameter = 0, last_parameter = 0;
  std::string name;  // "gradients 0"
};

// Buckets of at least `bytes` each (the last may be smaller), filled from the last parameter to the
// first: the order in which a backward pass completes gradients. Bucket 0 is complete first.
std::vector<GradientBucket> MakeGradientBuckets(const nn::ParameterLayout& layout,
                                                size_t element_size, double bytes);

// Counts, for one replica and step, which buckets are complete.
class BucketCounter {
 public:
  explicit BucketCounter(const std::vector<GradientBucket>& buckets);
  // Says that this parameter's gradient is complete. Returns the bucket this completes, or -1.
  int Complete(int parameter);

 private:
  const std::vector<GradientBucket>& buckets_;
  std::vector<int> missing_;
};

}  // namespace syncbn::train
