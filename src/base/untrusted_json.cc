#include "base/untrusted_json.h"

#include <nlohmann/json.hpp>

namespace syncbn {

void CheckJsonNesting(std::string_view text) {
  int open = 0;
  bool in_string = false;
  for (size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (in_string) {
      if (c == '\\') ++at;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++open > kMaxJsonNesting) {
        throw JsonFault("it is nested too deeply: more than " + std::to_string(kMaxJsonNesting) +
                        " levels of objects and lists (at byte " + std::to_string(at + 1) + ")");
      }
    } else if (c == ']' || c == '}') {
      --open;
    }
  }
}

template <typename Json>
Json ParseUntrustedJson(std::string_view text) {
  CheckJsonNesting(text);
  try {
    return Json::parse(text);
  } catch (const typename Json::parse_error& error) {
    throw JsonFault("it is not JSON (at byte " + std::to_string(error.byte) + ")");
  } catch (const typename Json::exception&) {
    throw JsonFault("it has a number that is out of range");
  }
}

template <typename Json>
Json UntrustedJsonOrNull(std::string_view text) {
  try {
    return ParseUntrustedJson<Json>(text);
  } catch (const JsonFault&) {
    return nullptr;
  }
}

template nlohmann::json ParseUntrustedJson(std::string_view);
template nlohmann::ordered_json ParseUntrustedJson(std::string_view);
template nlohmann::json UntrustedJsonOrNull(std::string_view);
template nlohmann::ordered_json UntrustedJsonOrNull(std::string_view);

}  // namespace syncbn
