// The words below a plot: at ticks, or of categories. They never overlap.
#pragma once

#include <string>
#include <vector>

#include "study/document/scale.h"

namespace syncbn::study::document {

struct AxisLabels {
  std::string svg;
  double height = 0;
  std::vector<Tick> ticks;  // those that were chosen
};

// As many ticks as have room; labels stay within [0, width].
AxisLabels TickLabelsBelow(const Scale& scale, double y, double width);

// Category i is centred at left + (i + 0.5) * slot. Wrapped where they fit so, else upright, else
// every few.
AxisLabels CategoryLabelsBelow(const std::vector<std::string>& categories, double left, double slot,
                               double y);

// The label of an axis, centred within [left, right]: at most two lines.
AxisLabels AxisTitleBelow(const std::string& text, double left, double right, double y);

}  // namespace syncbn::study::document
