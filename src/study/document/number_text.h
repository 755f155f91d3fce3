// Numbers as a reader wants them.
#pragma once

#include <optional>
#include <string>

#include "study/document/chart.h"

namespace syncbn::study::document {

// `digits` significant ones where it has more: 0.1, 0.0123, 12.0, 12,300. Whole numbers below ten
// million are exact. Very small and very large ones are 1.2e-7. What is not finite is "not finite",
// or a sign of infinity.
std::string NumberText(double value, int digits = 3);

// "91.2 %", "4 s", "12"
std::string WithUnit(const std::string& number, const std::string& unit);

// The same number of decimals in all, as many as the interval's width gives sense to: "91.23 %
// (91.18 to 91.28)".
std::string IntervalText(double value, const std::optional<Interval>& interval,
                         const std::string& unit = "");

// "accuracy, %"; the label alone where there is no unit.
std::string LabelText(const Axis& axis);

// A value of an axis: the name of its category, or the number.
std::string AxisValueText(const Axis& axis, double value);

// What stands for a value that is not finite: "diverged (not finite)", or the other reason.
std::string LostText(const std::string& lost);

// With `decimals` behind the point, thousands set apart.
std::string FixedText(double value, int decimals);

}  // namespace syncbn::study::document
