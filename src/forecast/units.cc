#include "forecast/units.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/text.h"

namespace syncbn::forecast {
namespace {

[[noreturn]] void Refuse(std::string_view text, std::string_view expected) {
  throw Error(ErrorCode::kInvalidArgument,
              "expected " + std::string(expected) + ", found '" + std::string(text) + "'");
}

// A plain positive number at the start of `text`, which is cut off it.
std::optional<double> TakeNumber(std::string_view& text) {
  // from_chars would take "inf" and "nan".
  if (text.empty() || (text[0] != '.' && (text[0] < '0' || text[0] > '9'))) return std::nullopt;
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || !std::isfinite(value)) return std::nullopt;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  if (value <= 0) return std::nullopt;
  return value;
}

using Units = std::vector<std::pair<std::string_view, double>>;

// From `low` to `high`, both in the unit of the result: no cluster has other links.
double ParseQuantity(std::string_view text, const Units& units, double low, double high,
                     std::string_view expected) {
  std::string_view rest = text;
  const std::optional<double> number = TakeNumber(rest);
  while (rest.starts_with(' ')) rest.remove_prefix(1);
  const auto unit = std::ranges::find(units, rest, &Units::value_type::first);
  if (!number || unit == units.end()) Refuse(text, expected);
  const double value = *number * unit->second;
  constexpr double kRounding = 1e-9;  // 10000ms is 10s
  if (value < low * (1 - kRounding) || value > high * (1 + kRounding)) Refuse(text, expected);
  return value;
}

int ParseWhole(std::string_view part, std::string_view text, int most,
               const std::string& expected) {
  int value = 0;
  const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), value);
  if (error != std::errc() || end != part.data() + part.size() || value < 1 || value > most) {
    Refuse(text, expected);
  }
  return value;
}

}  // namespace

double ParseDuration(std::string_view text) {
  return ParseQuantity(text, {{"ns", 1e-9}, {"us", 1e-6}, {"ms", 1e-3}, {"s", 1}}, 1e-9, 10,
                       "a time from 1ns to 10s with its unit (ns, us, ms or s), such as 5us");
}

double ParseBandwidth(std::string_view text) {
  std::string_view plain = text;
  if (plain.ends_with("/s")) plain.remove_suffix(2);
  const Units units = {{"kbit", 1e3 / 8}, {"Mbit", 1e6 / 8}, {"Gbit", 1e9 / 8}, {"Tbit", 1e12 / 8}};
  constexpr std::string_view kExpected =
      "a bandwidth from 100kbit to 100Tbit with its unit (kbit, Mbit, Gbit or Tbit a second), such "
      "as 25Gbit";
  try {
    return ParseQuantity(plain, units, 100e3 / 8, 100e12 / 8, kExpected);
  } catch (const Error&) {
    Refuse(text, kExpected);
  }
}

std::vector<int> ParseDoublings(std::string_view text, int most) {
  const std::string expected =
      "a range by doubling such as 2..1024, or numbers such as 2,3,8, from 1 to " +
      std::to_string(most);
  std::vector<int> values;
  if (const size_t dots = text.find(".."); dots != std::string_view::npos) {
    const int first = ParseWhole(text.substr(0, dots), text, most, expected);
    const int last = ParseWhole(text.substr(dots + 2), text, most, expected);
    if (first > last) Refuse(text, expected);
    for (int64_t value = first; value <= last; value *= 2)
      values.push_back(static_cast<int>(value));
    return values;
  }
  std::string_view rest = text;
  while (true) {
    const size_t comma = std::min(rest.find(','), rest.size());
    values.push_back(ParseWhole(rest.substr(0, comma), text, most, expected));
    if (comma == rest.size()) break;
    rest.remove_prefix(comma + 1);
  }
  std::ranges::sort(values);
  values.erase(std::unique(values.begin(), values.end()), values.end());
  return values;
}

study::Interval ParseInterval(std::string_view text) {
  constexpr std::string_view kExpected = "a number above 0, or its 95 % interval such as 300..500";
  const size_t dots = text.find("..");
  std::string_view low = text.substr(0, dots);
  std::string_view high = dots == std::string_view::npos ? low : text.substr(dots + 2);
  const std::optional<double> from = TakeNumber(low), to = TakeNumber(high);
  // "300..500" reads as "300." and ".500" where numbers are taken greedily: the text was cut first.
  if (!from || !to || !low.empty() || !high.empty() || *from > *to) Refuse(text, kExpected);
  return {.low = *from, .estimate = std::sqrt(*from * *to), .high = *to};
}

}  // namespace syncbn::forecast
