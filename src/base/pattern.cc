#include "base/pattern.h"

#include <algorithm>

#include "base/text.h"

namespace syncbn {

bool FitsPattern(std::string_view pattern, std::string_view name) {
  // Where the last `*` stands, and what it has to cover so far: the only place to come back to.
  size_t star = std::string_view::npos, covered = 0, p = 0, n = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      covered = n;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == name[n])) {
      ++p;
      ++n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++covered;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

bool FitsAny(std::span<const std::string> patterns, std::string_view name) {
  return std::ranges::any_of(
      patterns, [&](const std::string& pattern) { return FitsPattern(pattern, name); });
}

std::string FitsNone(std::string_view pattern, std::string_view what,
                     std::span<const std::string> names) {
  return "`" + std::string(pattern) + "` fits no " + std::string(what) + DidYouMean(pattern, names);
}

}  // namespace syncbn
