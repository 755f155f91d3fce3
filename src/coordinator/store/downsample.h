// Thins out a series while it is read: steps become at most so many buckets, each with the mean,
// least, largest and last of what it holds.
#pragma once

#include <cstdint>
#include <vector>

#include "syncbn/v1/metrics.pb.h"

namespace syncbn::coordinator {

struct MetricPoint {
  int64_t step = 0;
  int attempt = 0;
  int64_t time_us = 0;
  double value = 0;
};

// Points of steps that follow one another, as one.
struct MetricBucket {
  int64_t first_step, last_step;
  double sum, min, max;  // of the finite ones; infinite where there are none
  int64_t count, non_finite;
  int attempt;  // of the last point, as the time
  int64_t time_us;
};

MetricBucket MakeBucket(const MetricPoint& point);
// `bucket` comes after `into`.
void Merge(MetricBucket& into, const MetricBucket& bucket);

class Downsampler {
 public:
  // Points will have steps in [first_step, last_step]. As long as there are no more points than
  // buckets each has its own; beyond that steps are divided into `max_buckets` equal ranges.
  Downsampler(int64_t first_step, int64_t last_step, int max_buckets);

  // In the order of steps, one point a step.
  void Add(const MetricPoint& point);
  // Many points at once, which stay together: from then on steps are divided into ranges, and a
  // bucket can reach beyond its own by what it was given so.
  void AddBucket(const MetricBucket& bucket);

  // Moves the buckets into `series`, whose other fields stay.
  void Finish(v1::Series& series);

 private:
  uint64_t IndexOf(int64_t step) const;
  void Divide();
  void Place(const MetricBucket& bucket);

  int64_t first_step_;
  uint64_t width_;
  size_t max_buckets_;
  bool divided_ = false;
  int64_t points_ = 0;
  std::vector<MetricBucket> buckets_;
};

}  // namespace syncbn::coordinator
