#include "study/paired.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace syncbn::study {
namespace {

double LengthOf(const std::string& measure, const TrialRecord& record) {
  if (measure.starts_with("samples_to")) return static_cast<double>(record.samples);
  if (!measure.starts_with("seconds_to")) return static_cast<double>(record.steps);
  const auto seconds = record.timings.find("seconds");
  return seconds == record.timings.end() ? 0 : seconds->second;
}

}  // namespace

Sample SampleOf(const Outlook& outlook, const std::string& measure, const TrialResult& trial) {
  const double value = outlook.MeasureOf(measure, trial);
  if (!std::isinf(value)) return {.value = value, .beyond = Beyond::kNo};
  // Of a target that was not reached it is known only that it comes later than the run's end.
  return {.value = LengthOf(measure, *trial.record), .beyond = Beyond::kAtLeast};
}

Interval PairedInterval(std::span<const double> a, std::span<const double> b, bool ratio,
                        const OpenSides& open) {
  Interval interval = ratio ? PairedRatio(a, b) : PairedDifference(a, b);
  if (!open.below && !open.above) return interval;
  constexpr double kOpen = std::numeric_limits<double>::infinity();
  interval.low = kOpen;
  interval.high = -kOpen;
  for (size_t i = 0; i < a.size(); ++i) {
    const double one = ratio ? a[i] / b[i] : a[i] - b[i];
    interval.low = std::min(interval.low, one);
    interval.high = std::max(interval.high, one);
  }
  if (open.below) interval.low = -kOpen;
  if (open.above) interval.high = kOpen;
  return interval;
}

bool HasNoWidth(const Interval& interval) {
  const double width = interval.high - interval.low;
  return std::isfinite(width) &&
         width <= 1e-9 * std::max(std::abs(interval.low), std::abs(interval.high));
}

}  // namespace syncbn::study
