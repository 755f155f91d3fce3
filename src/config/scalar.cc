#include "config/scalar.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "base/text.h"
#include "config/schema.h"
#include "config/source.h"

namespace syncbn::config {
namespace {

bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}

std::string Lower(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) {
    return c < 0x80 ? static_cast<char>(std::tolower(c)) : static_cast<char>(c);
  });
  return lower;
}

// [+-]? (digits [. digits?]? | . digits) ([eE] [+-]? digits)?
struct NumberShape {
  bool matches = false;
  bool whole = false;          // neither point nor exponent
  bool leading_zeros = false;  // 010, 00.5
  std::string_view digits;     // of the whole part
};

NumberShape ShapeOf(std::string_view text) {
  NumberShape shape;
  if (!text.empty() && (text[0] == '+' || text[0] == '-')) text.remove_prefix(1);
  size_t i = 0;
  const auto digits = [&] {
    const size_t begin = i;
    while (i < text.size() && IsDigit(text[i])) ++i;
    return text.substr(begin, i - begin);
  };
  shape.digits = digits();
  shape.whole = true;
  size_t count = shape.digits.size();
  if (i < text.size() && text[i] == '.') {
    shape.whole = false;
    ++i;
    count += digits().size();
  }
  if (count == 0) return shape;
  if (i < text.size() && (text[i] == 'e' || text[i] == 'E')) {
    shape.whole = false;
    ++i;
    if (i < text.size() && (text[i] == '+' || text[i] == '-')) ++i;
    if (digits().empty()) return shape;
  }
  shape.matches = i == text.size();
  shape.leading_zeros = shape.digits.size() > 1 && shape.digits[0] == '0';
  return shape;
}

std::string WithoutLeadingZeros(std::string_view text) {
  std::string sign;
  if (text[0] == '+' || text[0] == '-') {
    sign = text.substr(0, 1);
    text.remove_prefix(1);
  }
  while (text.size() > 1 && text[0] == '0' && IsDigit(text[1])) text.remove_prefix(1);
  return sign + std::string(text);
}

// What is wrong with a text that looks like a number and is none.
std::string NearNumberHint(std::string_view text) {
  const std::string lower = Lower(text);
  std::string_view bare = lower;
  if (!bare.empty() && (bare[0] == '+' || bare[0] == '-')) bare.remove_prefix(1);
  for (std::string_view word : {".inf", ".nan", "inf", "nan", "infinity"}) {
    if (bare == word) return "Numbers must be finite.";
  }
  if (bare.empty() || (!IsDigit(bare[0]) && bare[0] != '.')) return "";
  if (bare.starts_with("0x") || bare.starts_with("0o") || bare.starts_with("0b")) {
    return "Write the number in decimal.";
  }
  const auto without = [&](char c) {
    std::string rest(text);
    std::erase(rest, c);
    return rest;
  };
  if (bare.find('_') != std::string_view::npos && ShapeOf(without('_')).matches) {
    return "Numbers have no underscores: write " + without('_') + ".";
  }
  if (std::count(text.begin(), text.end(), ',') == 1) {
    std::string point(text);
    std::replace(point.begin(), point.end(), ',', '.');
    if (point.ends_with('.')) return "Remove the comma.";
    if (ShapeOf(point).matches) return "The decimal point is `.`, and numbers have no commas.";
  }
  if (text.ends_with('%') && ShapeOf(text.substr(0, text.size() - 1)).matches) {
    return "Write a share instead of a percentage: 0.05 for 5%.";
  }
  const size_t unit = text.find_first_not_of("+-.0123456789");
  if (unit != std::string_view::npos && ShapeOf(text.substr(0, unit)).matches) {
    return "Write the number alone, without a unit.";
  }
  return "";
}

std::string LeadingZeroHint(std::string_view text) {
  return "Numbers have no leading zeros (some programs read 010 as 8): write " +
         WithoutLeadingZeros(text) + ".";
}

template <typename Integer>
Parsed<Integer> ParseInteger(std::string_view text) {
  const NumberShape shape = ShapeOf(text);
  if (!shape.matches) return {std::nullopt, NearNumberHint(text)};
  if (shape.leading_zeros) return {std::nullopt, LeadingZeroHint(text)};
  if (!shape.whole) {
    const Parsed<double> number = ParseNumber(text);
    if (number.value && *number.value == std::floor(*number.value) &&
        std::fabs(*number.value) < 9e15) {
      return {std::nullopt, "Whole numbers have neither point nor exponent: write " +
                                std::to_string(static_cast<long long>(*number.value)) + "."};
    }
    return {std::nullopt, ""};
  }
  if (text[0] == '+') text.remove_prefix(1);
  if (std::is_unsigned_v<Integer> && text == "-0") text = "0";
  Integer value{};
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code == std::errc() && end == text.data() + text.size()) return {value, ""};
  const bool negative = std::is_unsigned_v<Integer> && text[0] == '-';
  return {std::nullopt, negative ? "" : "The number is too large in size."};
}

}  // namespace

Parsed<double> ParseNumber(std::string_view text) {
  const NumberShape shape = ShapeOf(text);
  if (!shape.matches) return {std::nullopt, NearNumberHint(text)};
  if (shape.leading_zeros) return {std::nullopt, LeadingZeroHint(text)};
  if (text[0] == '+') text.remove_prefix(1);
  double value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code == std::errc() && end == text.data() + text.size() && std::isfinite(value)) {
    return {value == 0 ? 0.0 : value, ""};  // no negative zero
  }
  return {std::nullopt, "The number cannot be held: sizes go from about 1e-308 to 1e308."};
}

Parsed<int64_t> ParseWhole(std::string_view text) {
  return ParseInteger<int64_t>(text);
}

Parsed<uint64_t> ParseUnsigned(std::string_view text) {
  return ParseInteger<uint64_t>(text);
}

Parsed<bool> ParseBool(std::string_view text) {
  if (text == "true") return {true, ""};
  if (text == "false") return {false, ""};
  const std::string lower = Lower(text);
  for (std::string_view word : {"true", "yes", "on", "y", "1"}) {
    if (lower == word) return {std::nullopt, "Write `true`."};
  }
  for (std::string_view word : {"false", "no", "off", "n", "0"}) {
    if (lower == word) return {std::nullopt, "Write `false`."};
  }
  return {std::nullopt, ""};
}

bool ReadsAsOtherThanText(std::string_view text) {
  const std::string lower = Lower(text);
  const std::array words = {"true", "false", "yes", "no", "on", "off", "y", "n", "null", "~", ""};
  return ShapeOf(text).matches || !NearNumberHint(text).empty() ||
         std::find(words.begin(), words.end(), lower) != words.end();
}

std::string FlowText(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::kDamaged:
    case YamlNode::Kind::kNull:
      return "null";
    case YamlNode::Kind::kScalar:
      return !node.quoted && ReadsAsOtherThanText(node.text) ? node.text : QuoteText(node.text);
    case YamlNode::Kind::kSequence:
    case YamlNode::Kind::kMap:
      break;
  }
  const bool map = node.kind == YamlNode::Kind::kMap;
  std::vector<std::string> parts;
  for (size_t i = 0; i < node.items.size(); ++i) {
    const std::string value = FlowText(node.items[i]);
    parts.push_back(map ? QuoteText(node.keys[i].text) + ": " + value : value);
  }
  const std::string inside = Join(parts, ", ");
  return map ? "{" + inside + "}" : "[" + inside + "]";
}

std::string DescribeNode(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::kNull:
      return "nothing";
    case YamlNode::Kind::kSequence:
      return "a list";
    case YamlNode::Kind::kMap:
      return "a mapping";
    case YamlNode::Kind::kDamaged:
      return "something unreadable";
    case YamlNode::Kind::kScalar:
      break;
  }
  constexpr int kMost = 40;
  std::string text = node.text;
  if (CountCharacters(text, text.size()) > kMost) {
    size_t end = 0;
    for (int left = kMost; left > 0 && end < text.size(); --left) {
      ++end;
      while (end < text.size() && (text[end] & 0xc0) == 0x80) ++end;
    }
    text = text.substr(0, end) + "...";
  }
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  }
  if (node.quoted) return "the text \"" + text + "\"";
  if (text == "true" || text == "false") return "`" + text + "`";
  return (ShapeOf(node.text).matches ? "the number " : "the text `") + text +
         (ShapeOf(node.text).matches ? "" : "`");
}

}  // namespace syncbn::config
