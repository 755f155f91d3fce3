// What the trials of a claim's arm come to, by seed.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "study/outlook.h"
#include "study/paired.h"
#include "study/plan.h"

namespace syncbn::study {

using Where = google::protobuf::RepeatedPtrField<v1::SettingSpec>;

struct ArmSamples {
  // Axes that the arm and `along` leave open, in their order; and by seed and the levels of those.
  std::vector<size_t> open;
  std::map<uint64_t, std::map<std::vector<int>, Sample>> by_seed;
  int diverged = 0;
  // Samples of which only a bound is known.
  int at_least = 0, at_most = 0;

  size_t settings() const { return by_seed.begin()->second.size(); }
  // Seeds are what is repeated: trials of one seed under other open settings are no further
  // evidence, but its mean (geometric, of ratios).
  std::vector<double> Means(bool geometric) const;
};

// Throws NOT_FOUND, with what is missing, where there is not a figure of each.
ArmSamples SamplesOf(const Plan& plan, const Outlook& outlook, const v1::ClaimSpec& claim,
                     const Where& where);

// The trials of the arm, by seed and the levels of the open axes. Throws NOT_FOUND where one has
// not ended, or has failed.
std::map<uint64_t, std::map<std::vector<int>, const TrialResult*>> TrialsOf(const Plan& plan,
                                                                            const Outlook& outlook,
                                                                            const Where& where);

}  // namespace syncbn::study
