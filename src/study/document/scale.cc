#include "study/document/scale.h"

#include <algorithm>
#include <cmath>

#include "study/document/number_text.h"

namespace syncbn::study::document {
namespace {

// Beyond it a range and its steps would not be numbers any more.
constexpr double kLargest = 1e100;
constexpr int kTicksOfRange = 5;

double Step(double span, int most) {
  const double rough = span / std::max(1, most);
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  const double share = rough / power;
  return power * (share <= 1 + 1e-9 ? 1 : share <= 2 + 1e-9 ? 2 : share <= 5 + 1e-9 ? 5 : 10);
}

std::string Superscript(int exponent) {
  static const char* const kDigits[] = {
      "\xe2\x81\xb0", "\xc2\xb9",     "\xc2\xb2",     "\xc2\xb3",     "\xe2\x81\xb4",
      "\xe2\x81\xb5", "\xe2\x81\xb6", "\xe2\x81\xb7", "\xe2\x81\xb8", "\xe2\x81\xb9"};
  std::string text;
  for (const char c : std::to_string(exponent))
    text += c == '-' ? "\xe2\x81\xbb" : kDigits[c - '0'];
  return text;
}

// Powers that are quicker to read than to count: 10^6, 2^20.
std::string PowerText(double base, int exponent) {
  const bool plain = base == 2 ? exponent >= -4 && exponent <= 16 : exponent >= -3 && exponent <= 4;
  if (plain) return NumberText(std::pow(base, exponent), 6);
  return NumberText(base) + Superscript(exponent);
}

}  // namespace

std::vector<double> NiceTicks(double low, double high, int most) {
  const double step = Step(high - low, most);
  std::vector<double> ticks;
  const double first = std::ceil(low / step - 1e-6), last = std::floor(high / step + 1e-6);
  for (double i = first; i <= last && ticks.size() < 100; ++i)
    ticks.push_back(i == 0 ? 0 : i * step);
  return ticks;
}

Scale::Scale(const Axis& axis, const std::vector<double>& values, double from, double to,
             AxisEnds ends)
    : kind_(axis.categories.empty() ? axis.scale : AxisScale::kLinear), from_(from), to_(to) {
  if (!axis.categories.empty()) {
    fixed_low_ = fixed_high_ = true;
    low_ = -0.5;
    high_ = static_cast<double>(axis.categories.size()) - 0.5;
    return;
  }
  double low = kLargest, high = -kLargest;
  for (const double value : values) {
    if (!Holds(value)) continue;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  const bool logarithmic = kind_ != AxisScale::kLinear;
  if (low > high) {
    low = logarithmic ? 1 : 0;
    high = logarithmic ? 10 : 1;
  }
  if (axis.low && Holds(*axis.low)) low = *axis.low, fixed_low_ = true;
  if (axis.high && Holds(*axis.high)) high = *axis.high, fixed_high_ = true;
  if (low > high) std::swap(low, high), std::swap(fixed_low_, fixed_high_);
  // One value only: it lies in the middle.
  if (logarithmic && high / low < 1 + 1e-6) {
    low /= 2;
    high *= 2;
  } else if (!logarithmic && high - low <= 1e-9 * std::max(std::abs(low), std::abs(high))) {
    const double margin = low == 0 ? 1 : std::abs(low) * 0.1;
    low -= margin;
    high += margin;
  }
  if (!logarithmic && ends == AxisEnds::kAtTicks) {
    const double step = Step(high - low, kTicksOfRange);
    if (!fixed_low_) low = std::floor(low / step + 1e-6) * step;
    if (!fixed_high_) high = std::ceil(high / step - 1e-6) * step;
  }
  low_ = low;
  high_ = high;
}

bool Scale::Holds(double value) const {
  if (!std::isfinite(value) || std::abs(value) > kLargest) return false;
  return kind_ == AxisScale::kLinear || value >= 1 / kLargest;
}

double Scale::Position(double value) const {
  return kind_ == AxisScale::kLinear ? value : std::log(value);
}

double Scale::Fraction(double value) const {
  const double low = Position(low_), high = Position(high_);
  return std::clamp((Position(value) - low) / (high - low), 0.0, 1.0);
}

std::optional<double> Scale::At(double value) const {
  if (!Holds(value)) return std::nullopt;
  const double slack = 1e-9 * (Position(high_) - Position(low_));
  if (Position(value) < Position(low_) - slack || Position(value) > Position(high_) + slack)
    return std::nullopt;
  return from_ + (to_ - from_) * Fraction(value);
}

std::optional<double> Scale::Clamped(double value) const {
  if (std::isnan(value)) return std::nullopt;
  if (!(value > low_)) return from_;
  if (!(value < high_)) return to_;
  return from_ + (to_ - from_) * Fraction(value);
}

std::vector<Tick> Scale::Ticks(int most) const {
  std::vector<Tick> ticks = kind_ == AxisScale::kLinear ? LinearTicks(most) : LogTicks(most);
  std::erase_if(ticks, [&](const Tick& tick) { return !At(tick.value); });
  return ticks;
}

std::vector<Tick> Scale::LinearTicks(int most) const {
  const std::vector<double> values = NiceTicks(low_, high_, most);
  std::vector<Tick> ticks;
  if (values.empty()) return ticks;
  const double step = Step(high_ - low_, most);
  const double largest = std::max(std::abs(values.front()), std::abs(values.back()));
  const int decimals = std::max(0, static_cast<int>(-std::floor(std::log10(step) + 1e-9)));
  const bool plain = largest < 1e7 && decimals <= 6;
  for (const double value : values) {
    ticks.push_back({value, plain ? FixedText(value, decimals) : NumberText(value, 6)});
  }
  return ticks;
}

std::vector<Tick> Scale::LogTicks(int most) const {
  const double base = kind_ == AxisScale::kLog2 ? 2 : 10;
  const int first = static_cast<int>(std::ceil(std::log(low_) / std::log(base) - 1e-9));
  const int last = static_cast<int>(std::floor(std::log(high_) / std::log(base) + 1e-9));
  const int powers = last - first + 1;
  // Within less than two powers the axis is nearly a linear one.
  if (powers < 2) return LinearTicks(most);
  std::vector<Tick> ticks;
  const int stride = (powers + most - 1) / std::max(1, most);
  for (int i = first - 1; i <= last; ++i) {
    if (i >= first && (i - first) % stride == 0)
      ticks.push_back({std::pow(base, i), PowerText(base, i)});
    if (base == 2 || stride > 1) continue;
    for (int digit = 2; digit < 10; ++digit) {
      const double value = digit * std::pow(10.0, i);
      const bool named = (digit == 2 || digit == 5) && 3 * powers <= most && std::abs(i) <= 3;
      ticks.push_back({value, named ? NumberText(value, 6) : ""});
    }
  }
  return ticks;
}

}  // namespace syncbn::study::document
