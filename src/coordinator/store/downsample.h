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

class Downsampler {
 public:
  // Points will have steps in [first_step, last_step]. As long as there are no more points than
  // buckets each has its own; beyond that steps are divided into `max_buckets` equal ranges.
  Downsampler(int64_t first_step, int64_t last_step, int max_buckets);

  // In the order of steps, one point a step.
  void Add(const MetricPoint& point);

  // Moves the buckets into `series`, whose other fields stay.
  void Finish(v1::Series& series);

 private:
  struct Bucket {
    int64_t first_step, last_step;
    double sum, min, max;
    int64_t count, non_finite;
    int attempt;
    int64_t time_us;
  };

  static Bucket MakeBucket(const MetricPoint& point);
  static void Merge(Bucket& into, const Bucket& bucket);
  uint64_t IndexOf(int64_t step) const;
  void Place(const Bucket& bucket);

  int64_t first_step_;
  uint64_t width_;
  size_t max_buckets_;
  bool divided_ = false;
  int64_t points_ = 0;
  std::vector<Bucket> buckets_;
};

}  // namespace syncbn::coordinator
