// Where values lie on an axis, and which of them are written at it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "study/document/chart.h"

namespace syncbn::study::document {

struct Tick {
  double value = 0;
  std::string label;  // empty: a small one between others
};

// At most about `most` multiples of 1, 2 or 5 times a power of ten within [low, high]; low < high,
// both finite.
std::vector<double> NiceTicks(double low, double high, int most);

// Where an axis ends that is linear and has no stated range: at the outermost values, or at the
// ticks beyond them.
enum class AxisEnds { kExact, kAtTicks };

// The part of an axis that is shown, as pixels from `from` to `to` (which may be the smaller one).
class Scale {
 public:
  // `values` are what must be seen; those that the axis cannot hold do not count.
  Scale(const Axis& axis, const std::vector<double>& values, double from, double to,
        AxisEnds ends = AxisEnds::kExact);

  // Pixel of a value that is shown; empty for what is not finite, not positive on a logarithmic
  // axis, or outside of a stated range.
  std::optional<double> At(double value) const;
  // The same, with what lies outside or is infinite moved to the nearest end; empty only for NaN.
  std::optional<double> Clamped(double value) const;
  // Share of the way from the low to the high end, in [0, 1]; for colours. `value` is shown.
  double Fraction(double value) const;

  // Ascending. About `most` of them have a label.
  std::vector<Tick> Ticks(int most) const;

  double low() const { return low_; }
  double high() const { return high_; }

 private:
  bool Holds(double value) const;
  double Position(double value) const;  // the logarithm, on a logarithmic axis
  std::vector<Tick> LogTicks(int most) const;
  std::vector<Tick> LinearTicks(int most) const;

  AxisScale kind_;
  bool fixed_low_ = false, fixed_high_ = false;
  double low_ = 0, high_ = 1;
  double from_, to_;
};

}  // namespace syncbn::study::document
