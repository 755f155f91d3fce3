#include "forecast/noise_law.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <string>

#include "base/error.h"
#include "base/rng.h"
#include "base/text.h"

namespace syncbn::forecast {
namespace {

// steps / observed = a x + c y is to be 1, with x = 1 / observed, y = 1 / (B observed).
std::optional<NoiseLaw> Fit(std::span<const CountedTrial> trials) {
  double xx = 0, xy = 0, yy = 0, x1 = 0, y1 = 0;
  for (const CountedTrial& trial : trials) {
    const double x = 1 / trial.steps, y = x / trial.batch;
    xx += x * x;
    xy += x * y;
    yy += y * y;
    x1 += x;
    y1 += y;
  }
  const double determinant = xx * yy - xy * xy;
  if (!(determinant > 1e-12 * xx * yy)) return std::nullopt;  // one batch only
  const double a = (x1 * yy - y1 * xy) / determinant, c = (xx * y1 - xy * x1) / determinant;
  if (a <= 0) return std::nullopt;
  if (c < 0) return NoiseLaw{.steps_min = x1 / xx, .noise_scale = 0};
  return NoiseLaw{.steps_min = a, .noise_scale = c / a};
}

// What is left out of an interval of 95 % at either end.
constexpr double kTail = 0.025;

}  // namespace

study::Interval ScaleInterval(std::span<const NoiseLaw> draws) {
  std::vector<double> scales;
  for (const NoiseLaw& draw : draws) scales.push_back(draw.noise_scale);
  std::ranges::sort(scales);
  const auto last = static_cast<double>(scales.size() - 1);
  return {.low = scales[static_cast<size_t>(kTail * last)],
          .estimate = scales[scales.size() / 2],
          .high = scales[static_cast<size_t>((1 - kTail) * last)]};
}

UncertainLaw LawOf(const study::Interval& noise_scale, const std::optional<CountedSteps>& counted) {
  const auto law = [&](double scale) {
    return NoiseLaw{.steps_min = counted ? counted->steps / (1 + scale / counted->batch) : 1,
                    .noise_scale = scale};
  };
  UncertainLaw result{.estimate = law(noise_scale.estimate), .relative = !counted};
  if (noise_scale.low == noise_scale.high) return result;
  constexpr double kNormal95 = 1.959963984540054;
  const double sigma = std::log(noise_scale.high / noise_scale.low) / (2 * kNormal95);
  RandomStream stream(RandomKey(1).Fold("noise scale"));
  for (int i = 0; i < kDraws; ++i) {
    result.draws.push_back(law(noise_scale.estimate * std::exp(sigma * stream.Normal())));
  }
  return result;
}

UncertainLaw FitLaw(std::span<const CountedTrial> trials) {
  std::set<double> batches;
  std::set<uint64_t> seeds;
  for (const CountedTrial& trial : trials) {
    batches.insert(trial.batch);
    seeds.insert(trial.seed);
  }
  if (batches.size() < 2) {
    throw Error(ErrorCode::kFailedPrecondition,
                "the target was reached at " + std::to_string(batches.size()) +
                    " SGD batch sizes; the law of the noise scale needs two or more");
  }
  const std::optional<NoiseLaw> all = Fit(trials);
  if (!all) {
    throw Error(ErrorCode::kFailedPrecondition,
                "steps to the target fall at least as fast as the SGD batch grows, up to " +
                    FormatDouble(*batches.rbegin()) +
                    ", the largest that was used: the noise scale is above it, and cannot be told");
  }
  UncertainLaw result{.estimate = *all};
  if (seeds.size() < 3) return result;
  const std::vector<uint64_t> list(seeds.begin(), seeds.end());
  RandomStream stream(RandomKey(1).Fold("seeds").Fold(seeds.size()));
  std::vector<CountedTrial> resample;
  int unbounded = 0;
  for (int i = 0; i < kDraws; ++i) {
    resample.clear();
    for (size_t k = 0; k < list.size(); ++k) {
      const uint64_t seed = list[stream.Below(list.size())];
      std::ranges::copy_if(trials, std::back_inserter(resample),
                           [&](const CountedTrial& trial) { return trial.seed == seed; });
    }
    if (const std::optional<NoiseLaw> law = Fit(resample)) {
      result.draws.push_back(*law);
    } else {
      ++unbounded;
    }
  }
  // Draws that leave out the largest scales would make an interval that is not one.
  const double lost = static_cast<double>(unbounded) / kDraws;
  if (lost > kTail) {
    result.no_draws = "with " + std::to_string(std::lround(100 * lost)) +
                      " % of resamples of the seeds, steps fall as fast as the SGD batch grows";
  } else {
    const study::Interval scale = ScaleInterval(result.draws);
    const bool spread = scale.high - scale.low > 1e-9 * scale.high;
    const bool inside = all->noise_scale > scale.low && all->noise_scale < scale.high;
    // A scale of 0 is the end of what there is, not of what the seeds say.
    if (spread && !inside && all->noise_scale > 0) {
      result.no_draws = "the estimate is not inside of 95 % of the resamples of the seeds";
    }
  }
  if (!result.no_draws.empty()) result.draws.clear();
  return result;
}

}  // namespace syncbn::forecast
