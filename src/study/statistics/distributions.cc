#include "study/statistics/distributions.h"

// Nowhere else: these headers are seconds of a compiler's time.
#include <boost/math/distributions/normal.hpp>
#include <boost/math/distributions/students_t.hpp>

namespace syncbn::study {
namespace {

// long double is another type on other machines.
using InDouble = boost::math::policies::policy<boost::math::policies::promote_double<false>>;
using Normal = boost::math::normal_distribution<double, InDouble>;
using StudentsT = boost::math::students_t_distribution<double, InDouble>;

}  // namespace

double NormalCdf(double z) {
  return boost::math::cdf(Normal(), z);
}

double NormalQuantile(double p) {
  return boost::math::quantile(Normal(), p);
}

double StudentsTCdf(double t, double degrees) {
  return boost::math::cdf(StudentsT(degrees), t);
}

double StudentsTQuantile(double p, double degrees) {
  return boost::math::quantile(StudentsT(degrees), p);
}

}  // namespace syncbn::study
