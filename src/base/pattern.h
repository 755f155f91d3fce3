// Patterns of names, as run files have them.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace syncbn {

// Whether all of `name` fits: `*` stands for any text, also none, `?` for one character, all else
// for itself.
bool FitsPattern(std::string_view pattern, std::string_view name);

// Whether it fits one of them.
bool FitsAny(std::span<const std::string> patterns, std::string_view name);

// For a message about a pattern that fits none of `names`: "fits no WHAT", and the nearest if one
// is near.
std::string FitsNone(std::string_view pattern, std::string_view what,
                     std::span<const std::string> names);

}  // namespace syncbn
