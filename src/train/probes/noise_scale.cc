#include "train/probes/noise_scale.h"

#include <cmath>
#include <limits>

namespace syncbn::train {

std::optional<GradientNoise> EstimateNoise(std::span<const ReplicaGradient> replicas,
                                           double squared_gradient_norm) {
  int64_t batch = 0;
  int with_samples = 0;
  for (const ReplicaGradient& replica : replicas) {
    batch += replica.samples;
    with_samples += replica.samples > 0 ? 1 : 0;
  }
  if (with_samples < 2) return std::nullopt;
  double weighted = 0;
  for (const ReplicaGradient& replica : replicas) {
    weighted +=
        static_cast<double>(replica.samples) / static_cast<double>(batch) * replica.squared_norm;
  }
  const double variance = static_cast<double>(batch) * (weighted - squared_gradient_norm) /
                          static_cast<double>(with_samples - 1);
  if (!std::isfinite(variance) || !std::isfinite(squared_gradient_norm)) return std::nullopt;
  return GradientNoise{
      .squared_gradient = squared_gradient_norm - variance / static_cast<double>(batch),
      .variance = variance};
}

NamedFigures NoiseScaleProbe::Look(const ProbedStep& step) {
  if (const auto noise = EstimateNoise(step.replicas, step.squared_gradient_norm)) {
    sums_.squared_gradient += noise->squared_gradient;
    sums_.variance += noise->variance;
    ++steps_;
  }
  const bool complete = EndsInterval(step.step, every_steps_);
  if (!complete && !step.last) return {};
  const double steps = static_cast<double>(steps_);  // 0: the means are NaN
  const GradientNoise mean{.squared_gradient = sums_.squared_gradient / steps,
                           .variance = sums_.variance / steps};
  NamedFigures figures{
      {"noise_scale", mean.squared_gradient > 0 ? mean.variance / mean.squared_gradient
                                                : std::numeric_limits<double>::quiet_NaN()},
      {"noise_scale.squared_gradient", mean.squared_gradient},
      {"noise_scale.variance", mean.variance}};
  if (biased_) figures["noise_scale.biased"] = 1;
  // A run that is made longer goes on with an interval that its end has cut.
  if (complete) {
    sums_ = {};
    steps_ = 0;
  }
  return figures;
}

NamedFigures NoiseScaleProbe::Kept() const {
  return {{"squared_gradient", sums_.squared_gradient},
          {"variance", sums_.variance},
          {"steps", static_cast<double>(steps_)}};
}

void NoiseScaleProbe::Restore(const NamedFigures& kept) {
  const auto find = [&](const char* name) {
    const auto found = kept.find(name);
    return found == kept.end() ? 0 : found->second;
  };
  sums_ = {.squared_gradient = find("squared_gradient"), .variance = find("variance")};
  steps_ = static_cast<int64_t>(find("steps"));
}

}  // namespace syncbn::train
