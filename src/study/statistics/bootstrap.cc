#include "study/statistics/bootstrap.h"

#include <algorithm>
#include <cmath>

#include "study/statistics/distributions.h"
#include "study/statistics/quantiles.h"

namespace syncbn::study {
namespace {

// Means of resamples that are equal to the samples' mean but for rounding; in units of the largest
// deviation. Figures like accuracies take few values, and many resamples then have that mean.
constexpr double kEqual = 1e-12;

// Of the deviations, sorted.
std::vector<double> ResampledMeans(std::span<const double> deviations) {
  const double n = static_cast<double>(deviations.size());
  Resampler resampler(deviations.size());
  std::vector<double> means(kResamples);
  for (double& mean : means) {
    double sum = 0;
    for (uint32_t index : resampler.Next()) sum += deviations[index];
    mean = sum / n;
  }
  std::sort(means.begin(), means.end());
  return means;
}

// z0: how far the median of the resampled means is from the mean, which is 0 here; equal ones count
// half.
double Bias(std::span<const double> means) {
  const auto equal = std::lower_bound(means.begin(), means.end(), -kEqual);
  const auto above = std::upper_bound(equal, means.end(), kEqual);
  const double below = static_cast<double>(equal - means.begin());
  const double share = (below + 0.5 * static_cast<double>(above - equal)) / kResamples;
  // The quantiles at 0 and 1 are not finite; no share between them is nearer to them than this.
  return NormalQuantile(std::clamp(share, 0.5 / kResamples, 1 - 0.5 / kResamples));
}

// a: a sixth of the skewness of the mean, by the jackknife.
double Acceleration(const Centered& samples) {
  double cubes = 0;
  for (double deviation : samples.deviations) cubes += deviation * deviation * deviation;
  return cubes / (6 * std::pow(samples.SquaredDeviations(), 1.5));
}

// Which quantile of the resampled means is the end of the interval that is z from the middle.
double CorrectedShare(double z, double bias, double acceleration) {
  const double shifted = bias + z;
  const double shrink = 1 - acceleration * shifted;
  // Past the pole, which only levels near to 1 reach: no quantile is far enough out.
  if (shrink <= 0) return shifted > 0 ? 1 : 0;
  return NormalCdf(bias + shifted / shrink);
}

}  // namespace

Resampler::Resampler(size_t n)
    : stream_(RandomKey(0).Fold("study bootstrap").Fold(static_cast<uint64_t>(n))), indices_(n) {}

std::span<const uint32_t> Resampler::Next() {
  for (uint32_t& index : indices_) index = static_cast<uint32_t>(stream_.Below(indices_.size()));
  return indices_;
}

Interval BootstrapInterval(const Centered& samples, double level) {
  if (samples.scale == 0) return {samples.mean, samples.mean, samples.mean};
  const double n = static_cast<double>(samples.deviations.size());
  const double z = std::sqrt(n / (n - 1)) * StudentsTQuantile((1 + level) / 2, n - 1);
  const std::vector<double> means = ResampledMeans(samples.deviations);
  const double bias = Bias(means), acceleration = Acceleration(samples);
  const auto end = [&](double at) {
    const double share = CorrectedShare(at, bias, acceleration);
    return Finite("an interval", samples.mean + samples.scale * QuantileOfSorted(means, share));
  };
  return {end(-z), samples.mean, end(z)};
}

}  // namespace syncbn::study
