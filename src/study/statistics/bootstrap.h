// The bootstrap interval of a mean: BCa, bias-corrected and accelerated (Efron 1987, "Better
// bootstrap confidence intervals"), with expanded percentiles (Hesterberg 2015, "What teachers
// should know about the bootstrap").
//
// Why not plain percentiles: they are wrong to first order where samples are skewed, as times,
// losses and counts of steps are; BCa is right to second order and needs no more resamples. Both
// are too narrow in small samples, by sqrt((n - 1) / n) and for taking normal quantiles where t's
// are due (18 % at n = 10): so the normal quantile z of the level is replaced by sqrt(n / (n - 1))
// t(n - 1), which makes the interval of symmetric samples about Student's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/rng.h"
#include "study/statistics/interval.h"
#include "study/statistics/samples.h"

namespace syncbn::study {

// An end of a 95 % interval is then known to about 4 % of a standard error of the mean.
inline constexpr int kResamples = 10000;

// The resamples of n samples: which of them are drawn, with replacement. Keyed by n alone, so
// always the same.
class Resampler {
 public:
  explicit Resampler(size_t n);

  // n indices below n; valid until the next call.
  std::span<const uint32_t> Next();

 private:
  RandomStream stream_;
  std::vector<uint32_t> indices_;
};

// 2 samples or more, 0 < level < 1. Time and draws: kResamples * n, some 30 ns each.
Interval BootstrapInterval(const Centered& samples, double level);

}  // namespace syncbn::study
