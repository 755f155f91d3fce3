#include "study/statistics/interval.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "study/statistics/bootstrap.h"
#include "study/statistics/distributions.h"
#include "study/statistics/samples.h"

namespace syncbn::study {
namespace {

// Sorted, so that the order in which runs ended is not in the last bits, nor in what the bootstrap
// draws.
Centered CenterSorted(std::span<const double> samples, double level) {
  CheckLevel(level);
  CheckSamples("interval", samples, 2);
  std::vector<double> sorted(samples.begin(), samples.end());
  std::sort(sorted.begin(), sorted.end());
  return Center(sorted);
}

Interval StudentsInterval(const Centered& samples, double level) {
  const double degrees = static_cast<double>(samples.deviations.size() - 1);
  const double half = samples.StandardError() * StudentsTQuantile((1 + level) / 2, degrees);
  return {Finite("an interval", samples.mean - half), samples.mean,
          Finite("an interval", samples.mean + half)};
}

}  // namespace

Interval StudentsInterval(std::span<const double> samples, double level) {
  return StudentsInterval(CenterSorted(samples, level), level);
}

Interval MeanInterval(std::span<const double> samples, double level) {
  const Centered centered = CenterSorted(samples, level);
  return samples.size() < kBootstrapFrom ? StudentsInterval(centered, level)
                                         : BootstrapInterval(centered, level);
}

Interval PairedDifference(std::span<const double> a, std::span<const double> b, double level) {
  return MeanInterval(Differences(a, b), level);
}

Interval PairedRatio(std::span<const double> a, std::span<const double> b, double level) {
  CheckPairs(a, b, 2);
  return Exponential(
      MeanInterval(Differences(Logarithms("numerator", a), Logarithms("denominator", b)), level));
}

Interval Exponential(const Interval& interval) {
  return {std::exp(interval.low), Finite("a ratio", std::exp(interval.estimate)),
          Finite("the upper end of a ratio", std::exp(interval.high))};
}

}  // namespace syncbn::study
