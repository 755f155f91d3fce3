#include "study/statistics/equivalence.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "base/error.h"
#include "study/statistics/distributions.h"
#include "study/statistics/samples.h"

namespace syncbn::study {
namespace {

Equivalence TestMean(std::vector<double> differences, double margin, double alpha) {
  if (!(alpha > 0 && alpha < 0.5)) {
    throw Error(ErrorCode::kInvalidArgument, "the alpha of an equivalence test is " +
                                                 std::to_string(alpha) +
                                                 ", and must lie between 0 and 0.5; 0.05 is usual");
  }
  std::sort(differences.begin(), differences.end());
  const Centered centered = Center(differences);
  const double error = centered.StandardError();
  // How far inside the margin; the test against the nearer end has the larger p-value.
  const double inside = margin - std::abs(centered.mean);
  Equivalence result;
  result.lower_margin = -margin;
  result.upper_margin = margin;
  result.inner = StudentsInterval(differences, 1 - 2 * alpha);
  result.outer = StudentsInterval(differences, 1 - alpha);
  if (error == 0) {
    result.p = inside > 0 ? 0 : 1;
  } else {
    result.p = StudentsTCdf(-inside / error, static_cast<double>(differences.size() - 1));
  }
  result.equivalent = result.p < alpha;
  return result;
}

}  // namespace

Equivalence TestEquivalence(std::span<const double> a, std::span<const double> b, double margin,
                            double alpha) {
  if (!(margin > 0 && std::isfinite(margin))) {
    throw Error(ErrorCode::kInvalidArgument, "the margin of an equivalence test is " +
                                                 std::to_string(margin) + ", and must be above 0");
  }
  return TestMean(Differences(a, b), margin, alpha);
}

Equivalence TestRatioEquivalence(std::span<const double> a, std::span<const double> b,
                                 double factor, double alpha) {
  if (!(factor > 1 && std::isfinite(factor))) {
    throw Error(ErrorCode::kInvalidArgument, "the factor of an equivalence test of a ratio is " +
                                                 std::to_string(factor) +
                                                 ", and must be above 1; 1.1 is within a tenth");
  }
  CheckPairs(a, b, 2);
  Equivalence result =
      TestMean(Differences(Logarithms("numerator", a), Logarithms("denominator", b)),
               std::log(factor), alpha);
  result.lower_margin = 1 / factor;
  result.upper_margin = factor;
  result.inner = Exponential(result.inner);
  result.outer = Exponential(result.outer);
  return result;
}

}  // namespace syncbn::study
