// The estimate of the gradient noise scale, against its definition.
#include "train/probes/noise_scale.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace syncbn::train {
namespace {

// Gradients of one number; sample i of a draw has gradients[draw[i]].
std::optional<GradientNoise> NoiseOf(const std::vector<double>& gradients,
                                     const std::vector<size_t>& draw,
                                     const std::vector<int64_t>& sizes) {
  std::vector<ReplicaGradient> replicas;
  double total = 0;
  size_t next = 0;
  for (const int64_t size : sizes) {
    double sum = 0;
    for (int64_t i = 0; i < size; ++i) sum += gradients[draw[next++]];
    total += sum;
    const double mean = size > 0 ? sum / static_cast<double>(size) : 0;
    replicas.push_back({.samples = size, .squared_norm = mean * mean});
  }
  const double mean = total / static_cast<double>(draw.size());
  return EstimateNoise(replicas, mean * mean);
}

TEST(EstimateNoise, IsUnbiasedWhateverTheSizesOfTheReplicas) {
  const std::vector<double> gradients = {-1, 0.5, 4};
  const double mean = 3.5 / 3;
  const double variance = (1 + 0.25 + 16) / 3 - mean * mean;
  for (const std::vector<int64_t>& sizes :
       {std::vector<int64_t>{1, 1}, {2, 2}, {3, 0, 2}, {1, 4}, {1, 2, 3}, {0, 5, 1}}) {
    size_t samples = 0;
    for (const int64_t size : sizes) samples += static_cast<size_t>(size);
    // Every draw of so many samples is as likely as every other: the mean over all is the
    // expectation.
    std::vector<size_t> draw(samples, 0);
    GradientNoise sum;
    double draws = 0;
    for (bool more = true; more;) {
      const auto noise = NoiseOf(gradients, draw, sizes);
      ASSERT_TRUE(noise.has_value());
      sum.squared_gradient += noise->squared_gradient;
      sum.variance += noise->variance;
      draws += 1;
      more = false;
      for (size_t& index : draw) {
        index = (index + 1) % gradients.size();
        more = index != 0;
        if (more) break;
      }
    }
    EXPECT_EQ(draws, std::pow(3, samples));
    EXPECT_NEAR(sum.variance / draws, variance, 1e-12) << "of " << sizes.size() << " replicas";
    EXPECT_NEAR(sum.squared_gradient / draws, mean * mean, 1e-12);
  }
}

TEST(EstimateNoise, OfEvenReplicasIsThePapersOfTwoBatchSizes) {
  const double b = 8, B = 32, small = 5, large = 3;
  const std::vector<ReplicaGradient> replicas = {{.samples = 8, .squared_norm = small - 1},
                                                 {.samples = 8, .squared_norm = small + 1},
                                                 {.samples = 8, .squared_norm = small},
                                                 {.samples = 8, .squared_norm = small}};
  const auto noise = EstimateNoise(replicas, large);
  ASSERT_TRUE(noise.has_value());
  EXPECT_NEAR(noise->squared_gradient, (B * large - b * small) / (B - b), 1e-12);
  EXPECT_NEAR(noise->variance, (small - large) / (1 / b - 1 / B), 1e-12);
}

TEST(EstimateNoise, NeedsTwoReplicasWithSamplesAndFiniteNorms) {
  const std::vector<ReplicaGradient> one = {{.samples = 8, .squared_norm = 1}, {.samples = 0}};
  EXPECT_FALSE(EstimateNoise(one, 1).has_value());
  const std::vector<ReplicaGradient> infinite = {{.samples = 8, .squared_norm = 1},
                                                 {.samples = 8, .squared_norm = INFINITY}};
  EXPECT_FALSE(EstimateNoise(infinite, 1).has_value());
}

// A step of two replicas of 2 samples: S = 4 (W - |g|^2), |G|^2 = |g|^2 - (W - |g|^2).
ProbedStep Step(int64_t step, double small, double large, bool last = false) {
  return {
      .step = step,
      .last = last,
      .squared_gradient_norm = large,
      .replicas = {{.samples = 2, .squared_norm = small}, {.samples = 2, .squared_norm = small}}};
}

TEST(NoiseScaleProbe, DividesMeansOverTheStepsSinceTheLastFigure) {
  NoiseScaleProbe probe(3, /*biased=*/false);
  EXPECT_TRUE(probe.Look(Step(0, 3, 2)).empty());
  EXPECT_TRUE(probe.Look(Step(1, 6, 2)).empty());
  // A skipped step is not looked at; the interval ends at the next that is its end.
  const NamedFigures figures = probe.Look(Step(5, 4, 4));
  ASSERT_EQ(figures.size(), 3u);
  EXPECT_NEAR(figures.at("noise_scale.variance"), (4 + 16 + 0) / 3.0, 1e-12);
  EXPECT_NEAR(figures.at("noise_scale.squared_gradient"), (1 - 2 + 4) / 3.0, 1e-12);
  EXPECT_NEAR(figures.at("noise_scale"), 20 / 3.0, 1e-12);
  // The next has forgotten them.
  probe.Look(Step(6, 3, 2));
  probe.Look(Step(7, 3, 2));
  EXPECT_NEAR(probe.Look(Step(8, 3, 2)).at("noise_scale"), 4, 1e-12);
}

TEST(NoiseScaleProbe, AGradientThatCannotBeToldFromNothingHasNoNoiseScale) {
  NoiseScaleProbe probe(1, /*biased=*/true);
  const NamedFigures figures = probe.Look(Step(0, 6, 2));
  EXPECT_TRUE(std::isnan(figures.at("noise_scale")));
  EXPECT_NEAR(figures.at("noise_scale.squared_gradient"), -2, 1e-12);
  EXPECT_EQ(figures.at("noise_scale.biased"), 1);
}

TEST(NoiseScaleProbe, ALastFigureThatCutsAnIntervalLeavesItToARunThatIsMadeLonger) {
  NoiseScaleProbe whole(3, /*biased=*/false), parts(3, /*biased=*/false);
  whole.Look(Step(0, 3, 2));
  whole.Look(Step(1, 6, 2));
  parts.Look(Step(0, 3, 2));
  EXPECT_EQ(parts.Look(Step(1, 6, 2, /*last=*/true)).size(), 3u);
  NoiseScaleProbe longer(3, /*biased=*/false);
  longer.Restore(parts.Kept());
  EXPECT_EQ(longer.Look(Step(2, 4, 4)), whole.Look(Step(2, 4, 4)));
}

}  // namespace
}  // namespace syncbn::train
