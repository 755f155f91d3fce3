// What a study says of a claim: by a rule that was written down before it ran, from an interval.
#pragma once

#include <cstddef>
#include <limits>
#include <string_view>

#include "study/statistics/equivalence.h"
#include "study/statistics/interval.h"

namespace syncbn::study {

// Seeds that a verdict should have.
inline constexpr size_t kFewestSeeds = 5;

enum class Verdict {
  kSupported,
  kRefuted,
  kInconclusive,  // the interval lies across a threshold, or between the two
};

// "supported", "refuted", "inconclusive".
std::string_view VerdictName(Verdict verdict);

// Supported where the whole interval is in [low, high]; refuted where it is wholly below
// `refuted_below` or wholly above `refuted_above`; else inconclusive. refuted_below <= low <= high
// <= refuted_above: between them neither is shown, however narrow the interval. A threshold itself
// is on the claim's side, and so is what misses it by 1e-9 of it: roundings of a ratio on a grid of
// powers decide nothing.
//
// Made by the functions below, which throw INVALID_ARGUMENT for thresholds in another order, and
// NaN.
struct Rule {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  double refuted_below = -std::numeric_limits<double>::infinity();
  double refuted_above = std::numeric_limits<double>::infinity();
};

// Supported if at least `low`, refuted if less than `refuted_below` (or than `low` itself):
// AtLeast(10, 3) is "supported if the ratio is >= 10, refuted if < 3".
Rule AtLeast(double low);
Rule AtLeast(double low, double refuted_below);
// Supported if at most `high`, refuted if more than `refuted_above` (or than `high` itself).
Rule AtMost(double high);
Rule AtMost(double high, double refuted_above);
// Supported if from `low` to `high`, refuted if less than `refuted_below` or more than
// `refuted_above`.
Rule Between(double low, double high);
Rule Between(double low, double high, double refuted_below, double refuted_above);

// An interval may be without width (a figure that is exact) and may be unbounded (a target that was
// never reached). INVALID_ARGUMENT where an end is NaN or low > high.
Verdict Decide(const Interval& interval, const Rule& rule);

// That two arms do not differ: supported if equivalent, refuted if the outer interval is wholly
// outside of the margin.
Verdict Decide(const Equivalence& equivalence);

}  // namespace syncbn::study
