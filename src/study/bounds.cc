#include "study/bounds.h"

#include <cstdio>

namespace syncbn::study {

std::string BoundText(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", value);
  return text;
}

std::string BoundsText(const v1::BoundsSpec& bounds) {
  if (bounds.has_above() && bounds.has_below()) {
    return "between " + BoundText(bounds.above()) + " and " + BoundText(bounds.below());
  }
  return bounds.has_above() ? "above " + BoundText(bounds.above())
                            : "below " + BoundText(bounds.below());
}

bool Contains(const v1::BoundsSpec& bounds, double value) {
  return (!bounds.has_above() || value > bounds.above()) &&
         (!bounds.has_below() || value < bounds.below());
}

bool Within(const Interval& interval, const v1::BoundsSpec& bounds) {
  return (!bounds.has_above() || interval.low > bounds.above()) &&
         (!bounds.has_below() || interval.high < bounds.below());
}

}  // namespace syncbn::study
