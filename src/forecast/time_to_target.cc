#include "forecast/time_to_target.h"

#include <algorithm>
#include <tuple>

#include "base/check.h"

namespace syncbn::forecast {
namespace {

double TimeOf(const NoiseLaw& law, const Setting& setting) {
  return law.Steps(static_cast<double>(setting.sgd_batch)) * setting.step_seconds;
}

// One of `advised`: indices of settings.
size_t Quickest(const NoiseLaw& law, const std::vector<Setting>& settings,
                const std::vector<size_t>& advised) {
  const auto key = [&](size_t at) {
    const Setting& setting = settings[at];
    return std::tuple(TimeOf(law, setting), setting.processes, setting.sgd_batch);
  };
  return *std::ranges::min_element(advised, {}, key);
}

// Of sorted values, by linear interpolation.
double Quantile(const std::vector<double>& values, double share) {
  const double at = share * static_cast<double>(values.size() - 1);
  const auto below = static_cast<size_t>(at);
  const size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (at - static_cast<double>(below)) * (values[above] - values[below]);
}

}  // namespace

TargetTimes PredictTimes(const UncertainLaw& law, const std::vector<Setting>& settings,
                         std::optional<int64_t> most_advised) {
  SYNCBN_CHECK(!settings.empty());
  std::vector<size_t> advised, all;
  for (size_t i = 0; i < settings.size(); ++i) {
    all.push_back(i);
    if (!most_advised || settings[i].sgd_batch <= *most_advised) advised.push_back(i);
  }
  if (advised.empty()) advised = all;
  TargetTimes times{.best = Quickest(law.estimate, settings, advised)};
  for (const Setting& setting : settings) {
    TargetTime& one = times.settings.emplace_back(TargetTime{.setting = setting});
    one.steps = law.estimate.Steps(static_cast<double>(setting.sgd_batch));
    const double time = TimeOf(law.estimate, setting);
    one.time = {.low = time, .estimate = time, .high = time};
    if (law.draws.empty()) continue;
    std::vector<double> drawn;
    for (const NoiseLaw& draw : law.draws) drawn.push_back(TimeOf(draw, setting));
    std::ranges::sort(drawn);
    // The estimate is not one of the draws, and may lie beyond them.
    one.time.low = std::min(time, Quantile(drawn, 0.025));
    one.time.high = std::max(time, Quantile(drawn, 0.975));
  }
  if (law.draws.empty()) times.settings[times.best].best_share = 1;
  for (const NoiseLaw& draw : law.draws) {
    times.settings[Quickest(draw, settings, advised)].best_share +=
        1 / static_cast<double>(law.draws.size());
  }
  return times;
}

}  // namespace syncbn::forecast
