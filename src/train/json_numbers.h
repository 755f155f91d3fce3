// Doubles in JSON files that may be NaN or infinite: those are the texts "NaN", "Infinity" and
// "-Infinity", as in protobuf's JSON.
#pragma once

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

namespace syncbn::train {

inline nlohmann::ordered_json JsonNumber(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  return value;
}

// Throws nlohmann::json::exception when it is neither a number nor one of those texts.
inline double NumberOf(const nlohmann::ordered_json& json) {
  if (json == "NaN") return std::numeric_limits<double>::quiet_NaN();
  if (json == "Infinity") return std::numeric_limits<double>::infinity();
  if (json == "-Infinity") return -std::numeric_limits<double>::infinity();
  return json.get<double>();
}

}  // namespace syncbn::train
