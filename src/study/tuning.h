// The value that a cell is given of what is tuned: found by a grid, with one seed.
#pragma once

#include <functional>

#include "study/outlook.h"
#include "study/plan.h"

namespace syncbn::study {

// `add` takes a trial that the search needs into the outlook, and gives its result, or null where
// it has not ended. A pure function of the results.
Tuned Tune(const Plan& plan, size_t cell,
           const std::function<const TrialRecord*(const Trial& trial)>& add);

}  // namespace syncbn::study
