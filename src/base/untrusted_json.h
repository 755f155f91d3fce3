// JSON from outside: bodies of requests, answers of other programs, files that others may have
// written or damaged. nlohmann reads, and frees, a value of any depth, but copies and writes it by
// recursion: 100,000 brackets, 100 KB, then end the program by an overflow of its stack. What is
// parsed here never nests so deeply.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "base/error.h"

namespace syncbn {

// Levels of objects and lists in one another; protobuf's own limit for JSON.
inline constexpr int kMaxJsonNesting = 100;

// DATA_LOSS. The message is one of "it is not JSON (at byte 17)", "it is nested too deeply: more
// than 100 levels of objects and lists (at byte 101)" and "it has a number that is out of range";
// who knows what "it" is says so, with the code that fits.
class JsonFault : public Error {
 public:
  explicit JsonFault(const std::string& message) : Error(ErrorCode::kDataLoss, message) {}
};

// Throws JsonFault for what nests more deeply than kMaxJsonNesting, and looks at nothing else: for
// texts that a parser of another kind takes.
void CheckJsonNesting(std::string_view text);

// For nlohmann::json and nlohmann::ordered_json. Throws JsonFault.
template <typename Json = nlohmann::json>
Json ParseUntrustedJson(std::string_view text);

// Null for what ParseUntrustedJson() refuses.
template <typename Json = nlohmann::json>
Json UntrustedJsonOrNull(std::string_view text);

}  // namespace syncbn
