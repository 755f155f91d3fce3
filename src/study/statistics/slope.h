// How much y grows with x: the slope of the straight line of least squares, in units of y per unit
// of x.
//
// The interval is Student's with n - 2 degrees of freedom: right where the deviations from the line
// are independent, normal and of one variance. y without spread, or all on one line, gives an
// interval without width (to rounding).
//
// Errors: INVALID_ARGUMENT for fewer than 3 pairs, unequal numbers, a sample that is not finite, a
// level, and where all x are equal.
#pragma once

#include <span>

#include "study/statistics/interval.h"

namespace syncbn::study {

Interval Slope(std::span<const double> x, std::span<const double> y, double level = kLevel);

// The slope of log y over log x, the exponent k of y = c x^k: y doubles k times while x doubles.
// All above 0.
Interval LogLogSlope(std::span<const double> x, std::span<const double> y, double level = kLevel);

}  // namespace syncbn::study
