#include "study/claim_samples.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/unknown_value.h"
#include "study/bounds.h"

namespace syncbn::study {
namespace {

[[noreturn]] void Missing(const std::string& what) {
  throw Error(ErrorCode::kNotFound, what);
}

bool Names(const Where& where, const std::string& axis) {
  return std::ranges::any_of(
      where, [&](const v1::SettingSpec& setting) { return setting.path() == axis; });
}

// A cell whose tuned value is not found yet has no trials at all.
bool AllTuned(const Plan& plan, const Outlook& outlook, const Where& where) {
  for (size_t cell = 0; cell < outlook.tuned().size(); ++cell) {
    if (!outlook.tuned()[cell].value && Matches(plan, plan.cells()[cell], where)) return false;
  }
  return true;
}

class Sampling {
 public:
  Sampling(const Plan& plan, const Outlook& outlook, const v1::ClaimSpec& claim, const Where& where)
      : plan_(plan), outlook_(outlook), claim_(claim), where_(where) {
    const std::vector<Axis>& axes = plan.file().axes;
    for (size_t axis = 0; axis < axes.size(); ++axis) {
      if (Names(where, axes[axis].name)) continue;
      if (claim.has_along() && axes[axis].name == claim.along().over()) {
        along_ = axis;
        along_at_ = samples_.open.size();
      } else {
        samples_.open.push_back(axis);
      }
    }
  }

  ArmSamples Run() {
    for (const auto& [seed, trials] : TrialsOf(plan_, outlook_, where_)) {
      // By the levels of what stays open: value by the level along the axis.
      std::map<std::vector<int>, std::map<int, Sample>> groups;
      for (const auto& [levels, trial] : trials) {
        std::vector<int> open = levels;
        int at = 0;
        if (along_) {
          at = levels[along_at_];
          open.erase(open.begin() + static_cast<std::ptrdiff_t>(along_at_));
        }
        groups[open][at] = ValueOf(*trial);
      }
      for (const auto& [open, values] : groups) Add(seed, open, Reduce(values));
    }
    return std::move(samples_);
  }

 private:
  Sample ValueOf(const TrialResult& trial) {
    samples_.diverged += trial.record->end == TrialEnd::kDiverged ? 1 : 0;
    const Sample sample = SampleOf(outlook_, claim_.measure(), trial);
    if (std::isnan(sample.value)) {
      Missing("a trial of it has no figure of " + claim_.measure() + ": " + trial.id);
    }
    return sample;
  }

  void Add(uint64_t seed, const std::vector<int>& open, const Sample& sample) {
    samples_.by_seed[seed][open] = sample;
    samples_.at_least += sample.beyond == Beyond::kAtLeast ? 1 : 0;
    samples_.at_most += sample.beyond == Beyond::kAtMost ? 1 : 0;
  }

  Sample Reduce(const std::map<int, Sample>& values) const {
    if (!along_) return values.begin()->second;
    switch (claim_.along().take()) {
      case v1::TAKE_UNSPECIFIED:
      case v1::TAKE_BEST:
        return Best(values);
      case v1::TAKE_LARGEST_VALUE:
        return Extreme(values, /*largest=*/true);
      case v1::TAKE_SMALLEST_VALUE:
        return Extreme(values, /*largest=*/false);
      case v1::TAKE_SPREAD:
        return Spread(values);
      default:
        ThrowUnknownValue("claims.along.take", static_cast<int>(claim_.along().take()));
    }
  }

  Sample Best(const std::map<int, Sample>& values) const {
    const bool more = MoreIsBetter(claim_.measure());
    Sample best = values.begin()->second;
    for (const auto& [level, one] : values) {
      // What may still be better than its bound goes before what is known.
      const bool better = more ? one.value > best.value : one.value < best.value;
      if (better || (one.value == best.value && best.beyond != Beyond::kNo)) best = one;
    }
    return best;
  }

  Sample Spread(const std::map<int, Sample>& values) const {
    double low = values.begin()->second.value, high = low;
    for (const auto& [level, one] : values) {
      if (one.beyond != Beyond::kNo) Missing("the spread of what was not reached is not known");
      low = std::min(low, one.value);
      high = std::max(high, one.value);
    }
    return {.value = high - low, .beyond = Beyond::kNo};
  }

  Sample Extreme(const std::map<int, Sample>& values, bool largest) const {
    const Axis& axis = plan_.file().axes[*along_];
    const auto number = [&](int level) { return *axis.levels[static_cast<size_t>(level)].number; };
    double low = number(values.begin()->first), high = low;
    std::optional<double> found;
    for (const auto& [level, one] : values) {
      const double here = number(level);
      low = std::min(low, here);
      high = std::max(high, here);
      if (one.beyond != Beyond::kNo || !Contains(claim_.along().where(), one.value)) continue;
      if (!found || (largest ? here > *found : here < *found)) found = here;
    }
    if (largest) {
      if (!found) return {.value = low, .beyond = Beyond::kAtMost};
      return {.value = *found, .beyond = *found == high ? Beyond::kAtLeast : Beyond::kNo};
    }
    if (!found) return {.value = high, .beyond = Beyond::kAtLeast};
    return {.value = *found, .beyond = *found == low ? Beyond::kAtMost : Beyond::kNo};
  }

  const Plan& plan_;
  const Outlook& outlook_;
  const v1::ClaimSpec& claim_;
  const Where& where_;
  std::optional<size_t> along_;
  // Which of the levels that the arm leaves open is that of `along`.
  size_t along_at_ = 0;
  ArmSamples samples_;
};

}  // namespace

std::vector<double> ArmSamples::Means(bool geometric) const {
  std::vector<double> means;
  for (const auto& [seed, trials] : by_seed) {
    double sum = 0;
    for (const auto& [levels, sample] : trials) {
      if (geometric && !(sample.value > 0)) Missing("a ratio needs figures above 0");
      sum += geometric ? std::log(sample.value) : sample.value;
    }
    const double mean = sum / static_cast<double>(trials.size());
    means.push_back(geometric ? std::exp(mean) : mean);
  }
  return means;
}

std::map<uint64_t, std::map<std::vector<int>, const TrialResult*>> TrialsOf(const Plan& plan,
                                                                            const Outlook& outlook,
                                                                            const Where& where) {
  std::map<uint64_t, std::map<std::vector<int>, const TrialResult*>> trials;
  for (const TrialResult& one : outlook.trials()) {
    const Cell& cell = plan.cells()[one.trial.cell];
    if (one.trial.tuning || !Matches(plan, cell, where)) continue;
    if (one.record == nullptr) Missing("not all of its trials have ended");
    if (one.record->end == TrialEnd::kFailed) {
      Missing("a trial of it has failed: " + one.record->reason);
    }
    trials[one.trial.seed][OpenLevelsOf(plan, cell, where)] = &one;
  }
  if (trials.empty() || !AllTuned(plan, outlook, where))
    Missing("not all of its trials have ended");
  return trials;
}

ArmSamples SamplesOf(const Plan& plan, const Outlook& outlook, const v1::ClaimSpec& claim,
                     const Where& where) {
  return Sampling(plan, outlook, claim, where).Run();
}

}  // namespace syncbn::study
