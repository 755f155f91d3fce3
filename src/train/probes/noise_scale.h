// The gradient noise scale (McCandlish et al. 2018, "An Empirical Model of Large-Batch Training",
// appendix A.1).
//
// Let the gradients of single samples be independent with mean G and covariance of trace S. The
// gradient g_r of replica r, a mean over b_r samples, and the step's g = sum over r of (b_r / B)
// g_r, over all B, then have
//   E |g_r|^2 = |G|^2 + S / b_r        E |g|^2 = |G|^2 + S / B
// With W = sum over r of (b_r / B) |g_r|^2 over the n replicas that have samples, E W = |G|^2 + S n
// / B: the paper's pair of batch sizes, with the mean batch b = B / n of these replicas for the
// small one. So, unbiased however uneven they are,
//   S     = (W - |g|^2) / (1 / b - 1 / B) = B (W - |g|^2) / (n - 1)
//   |G|^2 = (B |g|^2 - b W) / (B - b)     = |g|^2 - S / B
// W - |g|^2 is the weighted variance between replicas, sum of (b_r / B) |g_r - g|^2: S is the
// estimate of a one-way analysis of variance. Both are noisy, and |G|^2 may come out below 0: they
// are averaged apart over steps before their ratio is taken. Replicas are independent where a
// normalization batch lies within one.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "train/probe.h"

namespace syncbn::train {

struct GradientNoise {
  double squared_gradient = 0;  // |G|^2
  double variance = 0;          // S
};

// Nothing where fewer than two replicas have samples, or something is not finite.
std::optional<GradientNoise> EstimateNoise(std::span<const ReplicaGradient> replicas,
                                           double squared_gradient_norm);

// Looks at every step; figures as v1::NoiseScaleSpec names them, every so many steps. The plain
// means of |G|^2 and S over the steps since the last figure that could be estimated; their ratio is
// NaN where the mean of |G|^2 is not above 0: the gradient is then smaller than can be told.
class NoiseScaleProbe : public Probe {
 public:
  // `biased`: replicas share statistics.
  NoiseScaleProbe(int64_t every_steps, bool biased) : every_steps_(every_steps), biased_(biased) {}

  std::string_view name() const override { return "noise_scale"; }
  bool IsDue(int64_t step, bool last) const override { return true; }
  NamedFigures Look(const ProbedStep& step) override;
  NamedFigures Kept() const override;
  void Restore(const NamedFigures& kept) override;

 private:
  const int64_t every_steps_;
  const bool biased_;
  // Since the last figure.
  GradientNoise sums_;
  int64_t steps_ = 0;
};

}  // namespace syncbn::train
