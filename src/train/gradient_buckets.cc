#include "train/gradient_buckets.h"

#include <algorithm>

#include "base/check.h"

namespace syncbn::train {

std::vector<GradientBucket> MakeGradientBuckets(const nn::ParameterLayout& layout,
                                                size_t element_size, double bytes) {
  std::vector<GradientBucket> buckets;
  int64_t end = layout.flat_elements();
  int last = layout.size() - 1;
  for (int index = last; index >= 0; --index) {
    const int64_t begin = layout[index].offset;
    const double size = static_cast<double>(end - begin) * static_cast<double>(element_size);
    if (size >= bytes || index == 0) {
      buckets.push_back({.begin = begin,
                         .end = end,
                         .first_parameter = index,
                         .last_parameter = last,
                         .name = "gradients " + std::to_string(buckets.size())});
      end = begin;
      last = index - 1;
    }
  }
  return buckets;
}

BucketCounter::BucketCounter(const std::vector<GradientBucket>& buckets) : buckets_(buckets) {
  for (const GradientBucket& bucket : buckets) {
    missing_.push_back(bucket.last_parameter - bucket.first_parameter + 1);
  }
}

int BucketCounter::Complete(int parameter) {
  // Buckets are in descending order of parameters.
  const auto bucket = std::lower_bound(
      buckets_.begin(), buckets_.end(), parameter,
      [](const GradientBucket& b, int value) { return b.first_parameter > value; });
  SYNCBN_CHECK(bucket != buckets_.end()) << "parameter " << parameter << " is in no bucket";
  const auto index = bucket - buckets_.begin();
  return --missing_[static_cast<size_t>(index)] == 0 ? static_cast<int>(index) : -1;
}

}  // namespace syncbn::train
