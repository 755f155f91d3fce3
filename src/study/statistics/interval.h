// Intervals of means over seeds: where the mean over all seeds lies, as far as the samples tell.
//
// Below kBootstrapFrom samples Student's t (Student 1908, "The probable error of a mean"), from
// there on the bootstrap (bootstrap.h: BCa with expanded percentiles). The jump between them is
// small by design.
//
// For all of them: low and high are in the unit of the estimate; `level` is the share of
// repetitions of the whole study whose interval would contain the true mean, 0 < level < 1. The
// order of the samples (of the pairs) does not matter, and the same samples give the same bits.
//
// Samples without spread give an interval without width: they say nothing of what a further seed
// would give, and whoever judges by it must have other reasons to think the figure a constant.
// Errors are INVALID_ARGUMENT (samples.h): fewer than 2 samples, one that is not finite, pairs of
// unequal number. No result is NaN or infinite.
#pragma once

#include <cstddef>
#include <span>

namespace syncbn::study {

struct Interval {
  double low = 0;
  double estimate = 0;
  double high = 0;

  bool operator==(const Interval&) const = default;
};

inline constexpr double kLevel = 0.95;
inline constexpr size_t kBootstrapFrom = 10;

Interval MeanInterval(std::span<const double> samples, double level = kLevel);

// The mean of a[i] - b[i], where i is a seed of both arms.
Interval PairedDifference(std::span<const double> a, std::span<const double> b,
                          double level = kLevel);

// The geometric mean of a[i] / b[i]: the interval of the mean of log a[i] - log b[i], as ratios.
// All samples must be above 0. Each pair's ratio weighs the same, and the interval of b / a is the
// reciprocal one (to rounding, and the bootstrap's resamples); the ratio of the means of two arms
// (Fieller 1954, "Some problems in interval estimation") would weigh the pairs by their size, and
// may have no bounded interval.
Interval PairedRatio(std::span<const double> a, std::span<const double> b, double level = kLevel);

// Student's, whatever the number of samples: mean -+ t((1 + level) / 2; n - 1) s / sqrt(n).
Interval StudentsInterval(std::span<const double> samples, double level = kLevel);

// log's inverse on all three.
Interval Exponential(const Interval& interval);

}  // namespace syncbn::study
