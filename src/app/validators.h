// What options accept, where CLI11's own checks would speak of the largest double.
#pragma once

#include <charconv>
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
    int64_t value = 0;
    const char* end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data(), end, value);
    const bool whole = rest == end && error != std::errc::invalid_argument;
    // One that no integer holds is whole as well.
    const bool too_large = whole && (error == std::errc() ? value > most : !text.starts_with('-'));
    if (whole && error == std::errc() && value >= least && !too_large) return std::string();
    // The upper bound is worth a word where it is met, or where it is the option's own.
    const bool any = most == std::numeric_limits<int>::max() || most == kAnyWhole;
    const bool bounded = !any || too_large;
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
