// What options accept, where CLI11's own checks would speak of the largest double.
#pragma once

#include <string>

#include "app/command_line.h"

namespace syncbn::app {

// A whole number that fits 64 bits, of at least `least`.
inline Check WholeNumberFrom(int64_t least) {
  return [least](const std::string& text) {
    int64_t value = 0;
    const bool digits = !text.empty() && text.size() < 19 &&
                        text.find_first_not_of("0123456789") == std::string::npos;
    if (digits) value = std::stoll(text);
    return digits && value >= least ? std::string()
                                    : "expected a whole number of at least " +
                                          std::to_string(least) + ", found '" + text + "'";
  };
}

// Also what an unset shell variable leaves: a default would be a surprise.
inline Check NotEmpty() {
  return [](const std::string& text) {
    return text.empty() ? std::string("the value is empty") : std::string();
  };
}

}  // namespace syncbn::app
