// How many steps a target takes at an SGD batch: the law of the gradient noise scale (McCandlish et
// al. 2018, "An Empirical Model of Large-Batch Training", eq. 2.11 and appendix A)
//
//   steps(B) = S_min (1 + B_noise / B)
//
// S_min: steps at a batch without noise. B_noise: the batch that takes twice as many steps, and
// twice as many samples as the smallest batches do. Learning rates are tuned to each batch.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "study/statistics/interval.h"

namespace syncbn::forecast {

struct NoiseLaw {
  double steps_min = 1;
  double noise_scale = 0;

  double Steps(double batch) const { return steps_min * (1 + noise_scale / batch); }
  bool operator==(const NoiseLaw&) const = default;
};

// A law and how well it is known: draws from what it may be, as likely as they are. No draws:
// nothing is known of that.
struct UncertainLaw {
  NoiseLaw estimate;
  std::vector<NoiseLaw> draws;
  // Steps are in the unit of S_min: how many that are is not known.
  bool relative = false;
  // Why there are no draws although there are seeds for them; for people.
  std::string no_draws = {};
};

inline constexpr int kDraws = 2000;

// Of the noise scales of draws, one or more: 95 %, and the median.
study::Interval ScaleInterval(std::span<const NoiseLaw> draws);

// Steps that were counted to the target at a batch.
struct CountedSteps {
  double batch = 0;
  double steps = 0;
};

// From a noise scale and its 95 % interval, taken as log-normal; `counted` gives S_min its unit.
// Equal bounds: no draws.
UncertainLaw LawOf(const study::Interval& noise_scale, const std::optional<CountedSteps>& counted);

// A trial of a study that has reached the target.
struct CountedTrial {
  double batch = 0;
  uint64_t seed = 0;
  double steps = 0;
};

// The law with the smallest sum of squared relative deviations of the trials' steps, S_min and
// B_noise not below 0; draws are fits to resamples of the seeds, where there are three or more.
// Where more than 2.5 % of the resamples fall so that S_min is 0, the scale has no upper end, and
// there are no draws; nor where the estimate is not inside of 95 % of them. Throws
// FAILED_PRECONDITION where the trials have fewer than two batches, or fall so that S_min is 0: the
// largest batch still pays in full.
UncertainLaw FitLaw(std::span<const CountedTrial> trials);

}  // namespace syncbn::forecast
