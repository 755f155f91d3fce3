// Time to a target over SGD batch and cluster size: steps from the law of the noise scale, seconds
// from the model of the step. Their product is what Pollux (Qiao et al. 2021) calls goodput, the
// other way round, of an experiment in place of a scheduler.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "forecast/noise_law.h"
#include "study/statistics/interval.h"

namespace syncbn::forecast {

// A way to run the experiment.
struct Setting {
  int64_t sgd_batch = 0;
  int processes = 0;
  double step_seconds = 0;
};

struct TargetTime {
  Setting setting;
  double steps = 0;
  // Seconds; in the unit of S_min where that is not known. The interval, 95 %, is of the law alone:
  // it has no width where nothing is known of that.
  study::Interval time;
  // Of the draws of the law in how many no setting that may be advised is quicker; 0 or 1 without
  // draws.
  double best_share = 0;
};

struct TargetTimes {
  std::vector<TargetTime> settings;
  // Index of the quickest by the estimate; of equals the one with fewer processes, then the smaller
  // batch.
  size_t best = 0;
};

// Precondition: at least one setting. The quickest is one of those with an SGD batch of at most
// `most_advised`, where there are such.
TargetTimes PredictTimes(const UncertainLaw& law, const std::vector<Setting>& settings,
                         std::optional<int64_t> most_advised = std::nullopt);

}  // namespace syncbn::forecast
