// Scalars of YAML, read strictly: one spelling for every value, and no value that is not meant.
//
// Numbers are decimal and finite; 010, 0x10, 1_000, .inf and 1e999 are none. Booleans are `true`
// and `false` only. What stood in quotation marks is text and nothing else. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "config/yaml_tree.h"

namespace syncbn::config {

template <typename T>
struct Parsed {
  std::optional<T> value;
  // Why not, and what to write: "numbers have no leading zeros: write 10". May be empty when the
  // text is nothing like a number.
  std::string hint;
};

Parsed<double> ParseNumber(std::string_view text);
// Whole numbers are written without point and exponent.
Parsed<int64_t> ParseWhole(std::string_view text);
Parsed<uint64_t> ParseUnsigned(std::string_view text);
Parsed<bool> ParseBool(std::string_view text);

// Whether the text, without quotation marks, is a number, a truth value or nothing in YAML, here or
// in other programs (`yes`, `.inf`).
bool ReadsAsOtherThanText(std::string_view text);

// A node as YAML on one line that reads back as the same.
std::string FlowText(const YamlNode& node);

// "the text `eight`", "the number 1.5", "a list", "nothing"
std::string DescribeNode(const YamlNode& node);

}  // namespace syncbn::config
