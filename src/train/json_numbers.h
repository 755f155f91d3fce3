// Doubles in JSON files, where JSON has no NaN and no infinity: what is not finite is null, so that
// every reader of JSON reads the file, and none takes a text for a number.
#pragma once

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

namespace syncbn::train {

inline nlohmann::ordered_json JsonNumber(double value) {
  if (!std::isfinite(value)) return nullptr;
  return value;
}

// NaN for null, and for the texts "NaN", "Infinity" and "-Infinity" what they say: older files hold
// them. Throws nlohmann::json::exception when it is none of these and no number.
inline double NumberOf(const nlohmann::ordered_json& json) {
  if (json.is_null() || json == "NaN") return std::numeric_limits<double>::quiet_NaN();
  if (json == "Infinity") return std::numeric_limits<double>::infinity();
  if (json == "-Infinity") return -std::numeric_limits<double>::infinity();
  return json.get<double>();
}

}  // namespace syncbn::train
