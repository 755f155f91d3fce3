// Arms compared seed by seed, where of some samples only a bound is known: the one way in which the
// verdicts of claims and the opening sentences of a report do it.
#pragma once

#include <span>
#include <string>

#include "study/outlook.h"
#include "study/statistics/interval.h"

namespace syncbn::study {

// Of a target that was not reached, and of a largest value at the end of its axis, only a bound is
// known.
enum class Beyond { kNo, kAtLeast, kAtMost };

struct Sample {
  double value = 0;
  Beyond beyond = Beyond::kNo;
};

// The trial's figure of the measure; of a target that it did not reach, its own end in the
// measure's unit (steps, samples or seconds), at the least. NaN as Outlook::MeasureOf.
Sample SampleOf(const Outlook& outlook, const std::string& measure, const TrialResult& trial);

// On which sides the figures of some seeds may be anything beyond what stands for them.
struct OpenSides {
  bool below = false, above = false;
};

// The mean of a[i] - b[i], or the geometric one of a[i] / b[i], where i is a seed. With an open
// side no mean is known, and the interval is of the median: from the smallest figure to the
// largest, which bound it with a probability of 1 - 2^-n each (five seeds: 97 %), and without
// bound on an open side. The estimate is then that of the bounds. Errors: those of
// PairedDifference and PairedRatio.
Interval PairedInterval(std::span<const double> a, std::span<const double> b, bool ratio,
                        const OpenSides& open);

// To rounding. Of seeds: they say nothing of what a further one would give, and few are soon alike.
bool HasNoWidth(const Interval& interval);

}  // namespace syncbn::study
