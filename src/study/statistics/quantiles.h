// Quantiles of samples, in the unit of the samples.
//
// Errors: INVALID_ARGUMENT where there is no sample, or one that is not finite.
#pragma once

#include <span>

namespace syncbn::study {

// The value below which a share p of the samples lies, 0 <= p <= 1: linear between the order
// statistics, the smallest at 0 and the largest at 1 (type 7 of Hyndman & Fan 1996, "Sample
// quantiles in statistical packages"; the default of R and NumPy). INVALID_ARGUMENT for another p.
double Quantile(std::span<const double> samples, double p);
// The same of samples that are sorted already, and neither empty nor unbounded.
double QuantileOfSorted(std::span<const double> sorted, double p);

double Median(std::span<const double> samples);

// The median of |sample - median|. As it is: 1.4826 times it estimates the standard deviation of
// normal samples.
double MedianAbsoluteDeviation(std::span<const double> samples);

}  // namespace syncbn::study
