// Metric points and the batches in which they travel (syncbn.v1.MetricBatch).
#pragma once

#include <cstdint>
#include <string>

#include "syncbn/v1/metrics.pb.h"

namespace syncbn::report {

// One number of one step.
struct Point {
  std::string name;
  int64_t step = 0;
  double value = 0;
  int64_t time_us = 0;  // since 1970, UTC
};

// A serialized batch is at most this long.
inline constexpr size_t kLargestBatch = 128 * 1024;

// Sequence of the last point; first_sequence - 1 for a batch without points.
int64_t LastSequence(const v1::MetricBatch& batch);

// Adds a point that follows the last one. The first point of a batch gives it its first sequence.
void AddPoint(v1::MetricBatch& batch, int64_t sequence, const Point& point);

// Whether the batch, grown by a point of this name, surely fits in `most_bytes`.
bool HasRoom(const v1::MetricBatch& batch, const std::string& name, size_t most_bytes);

// Adds the points of `next`, which follow directly, if they fit in `most_bytes`; false if not.
bool Append(v1::MetricBatch& batch, const v1::MetricBatch& next, size_t most_bytes);

// Takes away the points up to `sequence`, and the lost ones before them.
void DropThrough(v1::MetricBatch& batch, int64_t sequence);

// Says that the points between `acknowledged` and the batch are lost, if there are such. Returns how
// many more are lost than the batch said itself.
int64_t CloseGap(v1::MetricBatch& batch, int64_t acknowledged);

}  // namespace syncbn::report
