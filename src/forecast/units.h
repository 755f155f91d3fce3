// Quantities as a command line has them. All throw INVALID_ARGUMENT with what was expected.
#pragma once

#include <string_view>
#include <vector>

#include "study/statistics/interval.h"

namespace syncbn::forecast {

// "5us", "0.1 ms", "250ns", "1s": seconds, from 1 ns to 10 s.
double ParseDuration(std::string_view text);
// "25Gbit", "10 Gbit/s", "800Mbit": bytes a second, from 100 kbit to 100 Tbit. A bit's prefixes are
// powers of 1000.
double ParseBandwidth(std::string_view text);
// "2..1024": 2, 4, 8 and so on by doubling, up to 1024; "2,3,8": these. Ascending, each once.
std::vector<int> ParseDoublings(std::string_view text, int most);
// "400": without width; "300..500": a 95 % interval around its geometric mean. Above 0.
study::Interval ParseInterval(std::string_view text);

}  // namespace syncbn::forecast
