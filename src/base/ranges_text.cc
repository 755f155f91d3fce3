#include "base/ranges_text.h"

#include "base/text.h"

namespace syncbn {

std::string RangesText(const std::vector<int>& numbers) {
  std::vector<std::string> parts;
  for (size_t i = 0; i < numbers.size();) {
    size_t end = i;
    while (end + 1 < numbers.size() && numbers[end + 1] == numbers[end] + 1) ++end;
    // Two in a row are shorter as two.
    if (end > i + 1) {
      parts.push_back(std::to_string(numbers[i]) + "-" + std::to_string(numbers[end]));
    } else {
      for (size_t j = i; j <= end; ++j) parts.push_back(std::to_string(numbers[j]));
    }
    i = end + 1;
  }
  if (parts.size() < 2) return Join(parts, "");
  const std::string last = parts.back();
  parts.pop_back();
  return Join(parts, ", ") + " and " + last;
}

}  // namespace syncbn
