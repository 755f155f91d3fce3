// The value that a cell is given of what is tuned: found by a grid, with one seed. Of values that
// are equally good it is the one nearest to the middle of the given grid in its steps, and of two
// that are as near the smaller: an end of the grid is the optimum, beyond which the grid is
// widened, only where it is better than all others.
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
