// What options accept, where CLI11's own checks would speak of the largest double.
#pragma once

#include <cstdint>
#include <limits>
#include <string>

#include "app/command_line.h"

namespace syncbn::app {

// What fits 64 bits.
inline constexpr int64_t kAnyWhole = 999'999'999'999'999'999;

// A whole number from `least` to `most`, which is what the option's variable can hold.
inline Check WholeNumberFrom(int64_t least, int64_t most = std::numeric_limits<int>::max()) {
  return [least, most](const std::string& text) {
    const std::string digits = text.starts_with('-') ? text.substr(1) : text;
    const bool whole = !digits.empty() && digits.size() < 19 &&
                       digits.find_first_not_of("0123456789") == std::string::npos;
    const int64_t value = whole ? std::stoll(text) : 0;
    if (whole && value >= least && value <= most) return std::string();
    // The upper bound is worth a word where it is met, or where it is the option's own.
    const bool bounded = most < std::numeric_limits<int>::max() || (whole && value > most);
    return "expected a whole number " +
           (bounded ? "from " + std::to_string(least) + " to " + std::to_string(most)
                    : "of at least " + std::to_string(least)) +
           ", found '" + text + "'";
  };
}

// Also what an unset shell variable leaves: a default would be a surprise.
inline Check NotEmpty() {
  return [](const std::string& text) {
    return text.empty() ? std::string("the value is empty") : std::string();
  };
}

}  // namespace syncbn::app
