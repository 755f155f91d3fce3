#include "study/statistics/verdict.h"

#include <cmath>
#include <sstream>

#include "base/check.h"
#include "base/error.h"

namespace syncbn::study {
namespace {

// Relative; far above what logarithms and sums leave, far below what any study can tell.
constexpr double kRounding = 1e-9;

bool IsBelow(double value, double threshold) {
  return value < threshold - kRounding * std::abs(threshold);
}

bool IsAbove(double value, double threshold) {
  return value > threshold + kRounding * std::abs(threshold);
}

Rule Checked(const Rule& rule) {
  // False also with NaN.
  if (rule.refuted_below <= rule.low && rule.low <= rule.high && rule.high <= rule.refuted_above) {
    return rule;
  }
  std::ostringstream message;
  message << "a rule is supported from " << rule.low << " to " << rule.high << " and refuted below "
          << rule.refuted_below << " and above " << rule.refuted_above
          << "; what refutes must lie outside of what supports";
  throw Error(ErrorCode::kInvalidArgument, message.str());
}

}  // namespace

std::string_view VerdictName(Verdict verdict) {
  switch (verdict) {
    case Verdict::kSupported:
      return "supported";
    case Verdict::kRefuted:
      return "refuted";
    case Verdict::kInconclusive:
      return "inconclusive";
  }
  SYNCBN_CHECK(false) << "verdict " << static_cast<int>(verdict);
}

Rule AtLeast(double low) {
  return AtLeast(low, low);
}

Rule AtLeast(double low, double refuted_below) {
  return Checked({.low = low, .refuted_below = refuted_below});
}

Rule AtMost(double high) {
  return AtMost(high, high);
}

Rule AtMost(double high, double refuted_above) {
  return Checked({.high = high, .refuted_above = refuted_above});
}

Rule Between(double low, double high) {
  return Between(low, high, low, high);
}

Rule Between(double low, double high, double refuted_below, double refuted_above) {
  return Checked({low, high, refuted_below, refuted_above});
}

Verdict Decide(const Interval& interval, const Rule& rule) {
  if (!(interval.low <= interval.high) || std::isnan(interval.estimate)) {
    std::ostringstream message;
    message << "no verdict from an interval of " << interval.low << " to " << interval.high
            << " around " << interval.estimate;
    throw Error(ErrorCode::kInvalidArgument, message.str());
  }
  if (!IsBelow(interval.low, rule.low) && !IsAbove(interval.high, rule.high)) {
    return Verdict::kSupported;
  }
  if (IsBelow(interval.high, rule.refuted_below) || IsAbove(interval.low, rule.refuted_above)) {
    return Verdict::kRefuted;
  }
  return Verdict::kInconclusive;
}

Verdict Decide(const Equivalence& equivalence) {
  if (equivalence.equivalent) return Verdict::kSupported;
  if (equivalence.outer.high <= equivalence.lower_margin ||
      equivalence.outer.low >= equivalence.upper_margin) {
    return Verdict::kRefuted;
  }
  return Verdict::kInconclusive;
}

}  // namespace syncbn::study
