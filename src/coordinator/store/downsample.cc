#include "coordinator/store/downsample.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace syncbn::coordinator {

Downsampler::Downsampler(int64_t first_step, int64_t last_step, int max_buckets)
    : first_step_(first_step), max_buckets_(static_cast<size_t>(std::max(max_buckets, 1))) {
  // Unsigned: the range of all 64-bit steps does not fit into a signed difference.
  const uint64_t range = static_cast<uint64_t>(last_step) - static_cast<uint64_t>(first_step);
  width_ = range / max_buckets_;
  // The width of one bucket of all 2^64 steps does not fit; IndexOf keeps the last step in it.
  if (width_ < std::numeric_limits<uint64_t>::max()) ++width_;
}

void Downsampler::Add(const MetricPoint& point) {
  ++points_;
  const MetricBucket bucket = MakeBucket(point);
  if (!divided_ && buckets_.size() == max_buckets_) Divide();
  if (divided_) {
    Place(bucket);
  } else {
    buckets_.push_back(bucket);
  }
}

void Downsampler::AddBucket(const MetricBucket& bucket) {
  points_ += bucket.count;
  if (!divided_) Divide();
  Place(bucket);
}

void Downsampler::Divide() {
  divided_ = true;
  std::vector<MetricBucket> single;
  single.swap(buckets_);
  for (const MetricBucket& one : single) Place(one);
}

void Downsampler::Finish(v1::Series& series) {
  for (const MetricBucket& bucket : buckets_) {
    const int64_t finite = bucket.count - bucket.non_finite;
    const bool none = finite == 0;
    const double nan = std::numeric_limits<double>::quiet_NaN();
    series.add_first_step(bucket.first_step);
    series.add_last_step(bucket.last_step);
    // The value itself where there is one: x / 1 is x, and no sum was rounded.
    series.add_mean(none ? nan : bucket.sum / static_cast<double>(finite));
    series.add_min(none ? nan : bucket.min);
    series.add_max(none ? nan : bucket.max);
    series.add_count(bucket.count);
    series.add_non_finite(bucket.non_finite);
    series.add_attempt(bucket.attempt);
    series.add_time_us(bucket.time_us);
  }
  series.set_points(points_);
}

MetricBucket MakeBucket(const MetricPoint& point) {
  const bool finite = std::isfinite(point.value);
  const double infinity = std::numeric_limits<double>::infinity();
  return {.first_step = point.step,
          .last_step = point.step,
          .sum = finite ? point.value : 0,
          .min = finite ? point.value : infinity,
          .max = finite ? point.value : -infinity,
          .count = 1,
          .non_finite = finite ? 0 : 1,
          .attempt = point.attempt,
          .time_us = point.time_us};
}

void Merge(MetricBucket& into, const MetricBucket& bucket) {
  into.last_step = bucket.last_step;
  into.sum += bucket.sum;
  into.min = std::min(into.min, bucket.min);
  into.max = std::max(into.max, bucket.max);
  into.count += bucket.count;
  into.non_finite += bucket.non_finite;
  into.attempt = bucket.attempt;
  into.time_us = bucket.time_us;
}

uint64_t Downsampler::IndexOf(int64_t step) const {
  const uint64_t offset = static_cast<uint64_t>(step) - static_cast<uint64_t>(first_step_);
  return std::min<uint64_t>(offset / width_, max_buckets_ - 1);
}

void Downsampler::Place(const MetricBucket& bucket) {
  if (!buckets_.empty() && IndexOf(buckets_.back().first_step) == IndexOf(bucket.first_step)) {
    Merge(buckets_.back(), bucket);
  } else {
    buckets_.push_back(bucket);
  }
}

}  // namespace syncbn::coordinator
