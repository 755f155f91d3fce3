// Spearman's rank correlation (Spearman 1904, "The proof and measurement of association between two
// things"): whether y grows with x, by whatever curve. 1: always; -1: it always falls; 0: neither.
#pragma once

#include <span>

#include "study/statistics/interval.h"

namespace syncbn::study {

struct RankCorrelation {
  Interval rho;
  // Of no association, two-sided.
  double p = 1;
};

// rho is Pearson's correlation of the ranks; equal values share the mean of their ranks. 2 pairs or
// more, at most 1,000,000. The order of the pairs does not matter.
//
// p: below 10 pairs exact, the share of all pairings of these ranks (ties and all) whose |rho| is
// as large; from 10 on by Student's t of rho sqrt((n - 2) / (1 - rho^2)) with n - 2 degrees of
// freedom (Kendall & Stuart).
//
// The interval is Fisher's z with the variance (1 + rho^2 / 2) / (n - 3) of Bonett & Wright 2000
// ("Sample size requirements for estimating Pearson, Kendall and Spearman correlations"): of normal
// pairs it contains the true rho as often as it says, up to a rho of 0.9, and some hundredths less
// often beyond, where 1.06 / (n - 3) of Fieller, Hartley & Pearson 1957 falls short sooner and by
// more. Not the bootstrap: resamples have ties that the samples have not, which pull its rho
// towards 0, most in small samples.
//
// Where a formula ends:
//   - A perfect order is no proof of rho = 1, least of few pairs. The interval is that of half a
//     step below, 1 - 6 / (n^3 - n) (Kendall's correction for continuity), and reaches to 1.
//   - Below 4 pairs the interval is [-1, 1].
//   - Where all x or all y are equal there is no order to agree with: rho = 0 in [-1, 1], p = 1.
//
// Errors: INVALID_ARGUMENT for unequal numbers, fewer than 2 pairs, a sample that is not finite, a
// level.
RankCorrelation Spearman(std::span<const double> x, std::span<const double> y,
                         double level = kLevel);

}  // namespace syncbn::study
