// Lists of numbers that people read.
#pragma once

#include <string>
#include <vector>

namespace syncbn {

// "0-3, 7 and 9" of ascending numbers.
std::string RangesText(const std::vector<int>& numbers);

}  // namespace syncbn
