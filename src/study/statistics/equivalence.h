// Equivalence of two arms: that they do not differ by more than a margin that was stated before.
//
// Two one-sided tests (Schuirmann 1987, "A comparison of the two one-sided tests procedure and the
// power approach for assessing the equivalence of average bioavailability"), each at alpha, by
// Student's t on the paired differences whatever their number: so interval and p-value always
// agree. That no difference was found is not equivalence.
//
// Samples, units and errors as in interval.h. Without spread, p is 0 inside the margin and 1
// elsewhere.
#pragma once

#include <span>

#include "study/statistics/interval.h"

namespace syncbn::study {

struct Equivalence {
  // The margin, as the least and the largest value that the estimate must stay between.
  double lower_margin = 0;
  double upper_margin = 0;
  // At level 1 - 2 alpha (90 %): equivalent if and only if it is inside the margin.
  Interval inner;
  // At level 1 - alpha (95 %): wholly outside of the margin shows that the arms differ by more.
  Interval outer;
  // The larger of the two one-sided tests' p-values; below alpha if and only if equivalent.
  double p = 1;
  bool equivalent = false;
};

inline constexpr double kAlpha = 0.05;

// Of the mean of a[i] - b[i] and [-margin, margin]; margin > 0, in the unit of the samples. 0 <
// alpha < 0.5.
Equivalence TestEquivalence(std::span<const double> a, std::span<const double> b, double margin,
                            double alpha = kAlpha);

// Of the geometric mean of a[i] / b[i] and [1 / factor, factor]; factor > 1, samples above 0.
Equivalence TestRatioEquivalence(std::span<const double> a, std::span<const double> b,
                                 double factor, double alpha = kAlpha);

}  // namespace syncbn::study
