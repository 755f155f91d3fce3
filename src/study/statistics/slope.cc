#include "study/statistics/slope.h"

#include <cmath>

#include "base/error.h"
#include "study/statistics/distributions.h"
#include "study/statistics/samples.h"

namespace syncbn::study {

Interval Slope(std::span<const double> x, std::span<const double> y, double level) {
  CheckLevel(level);
  CheckPairs(x, y, 3);
  const Centered over = Center(x), of = Center(y);
  if (over.scale == 0) {
    throw Error(ErrorCode::kInvalidArgument,
                "a slope needs two values of x or more, and all are " + std::to_string(x[0]));
  }
  const std::vector<double>& dx = over.deviations;
  const std::vector<double>& dy = of.deviations;
  const double squares = over.SquaredDeviations();
  double products = 0;
  for (size_t i = 0; i < dx.size(); ++i) products += dx[i] * dy[i];
  const double slope = products / squares;
  double residuals = 0;
  for (size_t i = 0; i < dx.size(); ++i) {
    const double residual = dy[i] - slope * dx[i];
    residuals += residual * residual;
  }
  const double degrees = static_cast<double>(x.size() - 2);
  const double half =
      StudentsTQuantile((1 + level) / 2, degrees) * std::sqrt(residuals / degrees / squares);
  const double unit = of.scale / over.scale;
  return {Finite("a slope", unit * (slope - half)), Finite("a slope", unit * slope),
          Finite("a slope", unit * (slope + half))};
}

Interval LogLogSlope(std::span<const double> x, std::span<const double> y, double level) {
  CheckPairs(x, y, 3);
  return Slope(Logarithms("x", x), Logarithms("y", y), level);
}

}  // namespace syncbn::study
