#include "coordinator/store/metric_blocks.h"

#include <algorithm>
#include <cmath>

namespace syncbn::coordinator {

void MetricBlocks::Add(int64_t series, int64_t before, const std::vector<MetricPoint>& points) {
  for (size_t begin = 0; begin < points.size();) {
    const int64_t block = (before + static_cast<int64_t>(begin)) / kBlockPoints;
    const auto room = static_cast<size_t>((block + 1) * kBlockPoints - before);
    const size_t end = std::min(points.size(), room);
    MetricBucket sum = MakeBucket(points[begin]);
    bool in_order = true;
    for (size_t i = begin + 1; i < end; ++i) {
      // One point a step, and all of one attempt: then the block is what a reader would make of
      // them.
      in_order &= points[i].step > points[i - 1].step && points[i].attempt == points[begin].attempt;
      sum.first_step = std::min(sum.first_step, points[i].step);
      const int64_t last = std::max(sum.last_step, points[i].step);
      Merge(sum, MakeBucket(points[i]));
      sum.last_step = last;
    }
    const bool finite = sum.count > sum.non_finite;
    std::optional<double> least, greatest;
    if (finite) least = sum.min, greatest = sum.max;
    database_.Run(
        "INSERT INTO blocks(series, block, first_step, last_step, in_order, sum, least, greatest, "
        "count, non_finite, attempt, time) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT DO UPDATE SET "
        "in_order = in_order AND excluded.in_order AND excluded.first_step > last_step AND "
        "attempt = excluded.attempt, "
        "first_step = min(first_step, excluded.first_step), "
        "last_step = max(last_step, excluded.last_step), sum = sum + excluded.sum, "
        "least = min(coalesce(least, excluded.least), coalesce(excluded.least, least)), "
        "greatest = max(coalesce(greatest, excluded.greatest), "
        "coalesce(excluded.greatest, greatest)), "
        "count = count + excluded.count, non_finite = non_finite + excluded.non_finite, "
        "attempt = excluded.attempt, time = excluded.time",
        series, block, sum.first_step, sum.last_step, int64_t{in_order}, sum.sum, least, greatest,
        sum.count, sum.non_finite, int64_t{sum.attempt}, sum.time_us);
    begin = end;
  }
}

std::optional<std::vector<MetricBlocks::Stretch>> MetricBlocks::Read(int64_t series, int64_t points,
                                                                     int64_t first_step,
                                                                     int64_t last_step) const {
  std::vector<Stretch> stretches;
  int64_t known = 0;
  Rows rows = database_.Query(
      "SELECT first_step, last_step, in_order, sum, least, greatest, count, non_finite, attempt, "
      "time "
      "FROM blocks WHERE series = ? ORDER BY block",
      series);
  const double infinity = std::numeric_limits<double>::infinity();
  while (rows.Next()) {
    known += rows.Int(6);
    Stretch stretch{.first_step = rows.Int(0), .last_step = rows.Int(1)};
    if (stretch.last_step < first_step || stretch.first_step > last_step) continue;
    // One that lies partly outside has points that were not asked for.
    if (rows.Int(2) != 0 && stretch.first_step >= first_step && stretch.last_step <= last_step) {
      stretch.block = {.first_step = stretch.first_step,
                       .last_step = stretch.last_step,
                       .sum = rows.Real(3),
                       .min = rows.IsNull(4) ? infinity : rows.Real(4),
                       .max = rows.IsNull(5) ? -infinity : rows.Real(5),
                       .count = rows.Int(6),
                       .non_finite = rows.Int(7),
                       .attempt = static_cast<int>(rows.Int(8)),
                       .time_us = rows.Int(9)};
    }
    stretches.push_back(stretch);
  }
  if (known != points) return std::nullopt;
  std::stable_sort(
      stretches.begin(), stretches.end(),
      [](const Stretch& one, const Stretch& other) { return one.first_step < other.first_step; });
  std::vector<Stretch> apart;
  for (const Stretch& next : stretches) {
    if (apart.empty() || next.first_step > apart.back().last_step) {
      apart.push_back(next);
      continue;
    }
    apart.back().last_step = std::max(apart.back().last_step, next.last_step);
    apart.back().block.reset();
  }
  return apart;
}

}  // namespace syncbn::coordinator
