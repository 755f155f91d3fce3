// How large an answer may be: every client takes 4 MiB, and a page is a little more than what is
// counted. Lists end a page there; what has no pages refuses or says what it left out. All look
// while they build, so that none takes more memory either.
#pragma once

#include <cstdint>

namespace syncbn::coordinator {

inline constexpr int64_t kMostAnswer = int64_t{3} << 20;

}  // namespace syncbn::coordinator
