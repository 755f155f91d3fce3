// Bounds of a rule, and what lies within them. Both ends are outside.
#pragma once

#include <string>

#include "study/statistics/interval.h"
#include "syncbn/v1/study.pb.h"

namespace syncbn::study {

// "between 0.1 and 0.2", "above 3"
std::string BoundsText(const v1::BoundsSpec& bounds);
// Four digits.
std::string BoundText(double value);
bool Contains(const v1::BoundsSpec& bounds, double value);
// Whether the whole interval is within.
bool Within(const Interval& interval, const v1::BoundsSpec& bounds);

}  // namespace syncbn::study
