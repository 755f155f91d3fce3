#include "study/statistics/quantiles.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "base/error.h"
#include "study/statistics/samples.h"

namespace syncbn::study {

double QuantileOfSorted(std::span<const double> sorted, double p) {
  const double at = p * static_cast<double>(sorted.size() - 1);
  const size_t below = std::min(static_cast<size_t>(at), sorted.size() - 1);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return std::lerp(sorted[below], sorted[above], at - static_cast<double>(below));
}

double Quantile(std::span<const double> samples, double p) {
  CheckSamples("quantile", samples, 1);
  if (!(p >= 0 && p <= 1)) {
    throw Error(ErrorCode::kInvalidArgument,
                "a quantile is asked for at " + std::to_string(p) + ", and must be from 0 to 1");
  }
  std::vector<double> sorted(samples.begin(), samples.end());
  std::sort(sorted.begin(), sorted.end());
  return QuantileOfSorted(sorted, p);
}

double Median(std::span<const double> samples) {
  return Quantile(samples, 0.5);
}

double MedianAbsoluteDeviation(std::span<const double> samples) {
  const double median = Median(samples);
  std::vector<double> deviations;
  for (double sample : samples) deviations.push_back(std::abs(sample - median));
  return Median(deviations);
}

}  // namespace syncbn::study
