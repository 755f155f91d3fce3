// The distribution functions that intervals and tests ask for: Boost.Math's, exact to some
// roundings of a double.
//
// Preconditions are the caller's: 0 < p < 1, degrees >= 1, no NaN.
#pragma once

namespace syncbn::study {

// The standard normal distribution.
double NormalCdf(double z);
double NormalQuantile(double p);

// Student's t with `degrees` degrees of freedom.
double StudentsTCdf(double t, double degrees);
double StudentsTQuantile(double p, double degrees);

}  // namespace syncbn::study
