#include "study/document/number_text.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace syncbn::study::document {
namespace {

constexpr double kExactBelow = 1e7;
constexpr double kPlainFrom = 1e-4;

// "1.2e-7": the exponent without padding.
std::string Scientific(double value, int digits) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*e", std::max(0, digits - 1), value);
  std::string number = text;
  const size_t e = number.find('e');
  std::string mantissa = number.substr(0, e);
  if (mantissa.find('.') != std::string::npos) {
    mantissa.erase(mantissa.find_last_not_of('0') + 1);
    if (mantissa.back() == '.') mantissa.pop_back();
  }
  return mantissa + "e" + std::to_string(std::atoi(number.c_str() + e + 1));
}

int Exponent(double value) {
  return static_cast<int>(std::floor(std::log10(std::abs(value))));
}

bool IsPlain(double value) {
  return value == 0 || (std::abs(value) >= kPlainFrom && std::abs(value) < kExactBelow);
}

double RoundedAt(double value, int decimals) {
  const double unit = std::pow(10.0, -decimals);
  return std::round(value / unit) * unit;
}

}  // namespace

std::string LostText(const std::string& lost) {
  return lost == "diverged" ? "diverged (not finite)" : lost;
}

std::string FixedText(double value, int decimals) {
  char text[400];
  if (decimals < 0) value = RoundedAt(value, decimals);
  std::snprintf(text, sizeof text, "%.*f", std::clamp(decimals, 0, 20), value);
  std::string number = text;
  const bool negative = number.front() == '-';
  if (negative) number.erase(0, 1);
  if (number.find_first_not_of("0.") == std::string::npos) return number;  // no "-0.0"
  // Four digits are read at a glance; more are set apart.
  const size_t whole = std::min(number.find('.'), number.size());
  if (whole > 4) {
    for (size_t i = whole; i > 3; i -= 3) {
      if (i - 3 > 0) number.insert(i - 3, ",");
    }
  }
  return (negative ? "-" : "") + number;
}

std::string NumberText(double value, int digits) {
  if (std::isnan(value)) return "not finite";
  if (std::isinf(value)) return value < 0 ? "-\xe2\x88\x9e" : "\xe2\x88\x9e";
  if (!IsPlain(value)) return Scientific(value, digits);
  if (value == std::round(value)) return FixedText(value, 0);
  int decimals = digits - 1 - Exponent(value);
  // 9.999 is 10 with three digits.
  if (Exponent(RoundedAt(value, decimals)) > Exponent(value)) --decimals;
  std::string text = FixedText(value, decimals);
  // 0.1 is short; 12.0 was 11.98 and has three digits.
  const bool exact = std::abs(RoundedAt(value, decimals) - value) <= 1e-9 * std::abs(value);
  if (exact && text.find('.') != std::string::npos) {
    text.erase(text.find_last_not_of('0') + 1);
    if (text.back() == '.') text.pop_back();
  }
  return text;
}

std::string WithUnit(const std::string& number, const std::string& unit) {
  return unit.empty() ? number : number + " " + unit;
}

std::string IntervalText(double value, const std::optional<Interval>& interval,
                         const std::string& unit) {
  if (!interval || !std::isfinite(value)) return WithUnit(NumberText(value), unit);
  const double low = interval->low, high = interval->high;
  // Of what is bounded on one side alone the value is a bound, too, and no estimate.
  if (std::isinf(low) && std::isinf(high)) return "not known";
  if (std::isinf(high)) return "at least " + WithUnit(NumberText(low), unit);
  if (std::isinf(low)) return "at most " + WithUnit(NumberText(high), unit);
  const double width = high - low;
  if (!std::isfinite(width) || width <= 0 || !IsPlain(width) || !IsPlain(value)) {
    return WithUnit(NumberText(value), unit) + " (" + NumberText(low) + " to " + NumberText(high) +
           ")";
  }
  const int decimals = 1 - Exponent(width * (1 + 1e-9));  // 0.1 less what rounding took
  return WithUnit(FixedText(value, decimals), unit) + " (" + FixedText(low, decimals) + " to " +
         FixedText(high, decimals) + ")";
}

std::string LabelText(const Axis& axis) {
  return axis.unit.empty() ? axis.label : axis.label + ", " + axis.unit;
}

std::string AxisValueText(const Axis& axis, double value) {
  if (!axis.categories.empty() && value >= 0 &&
      value < static_cast<double>(axis.categories.size()) && value == std::floor(value)) {
    return axis.categories[static_cast<size_t>(value)];
  }
  return NumberText(value);
}

}  // namespace syncbn::study::document
