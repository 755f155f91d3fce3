#include "study/figures.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <limits>
#include <string_view>
#include <vector>

namespace syncbn::study {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
constexpr std::string_view kWord = "figure ";

struct Asked {
  std::string_view how;  // "", "first", "mean", "growth", "mean_over_layers"
  std::string_view name;
};

std::optional<Asked> Split(std::string_view measure) {
  if (measure.starts_with(kWord)) return Asked{"", measure.substr(kWord.size())};
  const size_t space = measure.find(' ');
  if (space == std::string_view::npos) return std::nullopt;
  const std::string_view how = measure.substr(0, space), rest = measure.substr(space + 1);
  if (!rest.starts_with(kWord)) return std::nullopt;
  return Asked{how, rest.substr(kWord.size())};
}

bool OverLayers(const Asked& asked) {
  return asked.how == "growth" || asked.how == "mean_over_layers";
}

bool FitsPattern(std::string_view name, std::string_view pattern) {
  const size_t star = pattern.find('*');
  const std::string_view begin = pattern.substr(0, star), end = pattern.substr(star + 1);
  return name.size() > begin.size() + end.size() && name.starts_with(begin) && name.ends_with(end);
}

// The last figure of each layer, from the input to the output.
std::vector<double> OfLayers(const Asked& asked, const TrialRecord& record) {
  std::vector<std::pair<std::string_view, double>> found;
  for (const auto& [name, course] : record.figures) {
    if (FitsPattern(name, asked.name) && !course.empty()) {
      found.emplace_back(name, course.back().second);
    }
  }
  std::ranges::sort(found,
                    [](const auto& a, const auto& b) { return EarlierLayer(a.first, b.first); });
  std::vector<double> values;
  for (const auto& [name, value] : found) values.push_back(value);
  return values;
}

double MeanOf(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return values.empty() ? kNone : sum / static_cast<double>(values.size());
}

}  // namespace

bool EarlierLayer(std::string_view a, std::string_view b) {
  const auto digit = [](char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; };
  while (!a.empty() && !b.empty()) {
    if (digit(a.front()) && digit(b.front())) {
      const auto number = [&](std::string_view& text) {
        size_t end = 0;
        while (end < text.size() && digit(text[end])) ++end;
        std::string_view digits = text.substr(0, end);
        while (digits.size() > 1 && digits.front() == '0') digits.remove_prefix(1);
        text.remove_prefix(end);
        return digits;
      };
      const std::string_view left = number(a), right = number(b);
      if (left.size() != right.size()) return left.size() < right.size();
      if (left != right) return left < right;
      continue;
    }
    if (a.front() != b.front()) return a.front() < b.front();
    a.remove_prefix(1);
    b.remove_prefix(1);
  }
  return a.size() < b.size();
}

bool IsFigure(const std::string& measure) {
  const std::optional<Asked> asked = Split(measure);
  if (!asked || asked->name.empty() || asked->name.find(' ') != std::string_view::npos)
    return false;
  const auto stars = std::ranges::count(asked->name, '*');
  if (OverLayers(*asked)) return stars == 1;
  return stars == 0 && (asked->how.empty() || asked->how == "first" || asked->how == "mean");
}

std::optional<std::string> ProbeOf(const std::string& measure) {
  if (!IsFigure(measure)) return std::nullopt;
  const std::string_view name = Split(measure)->name;
  return std::string(name.substr(0, name.find('.')));
}

double ProbeFigureOf(const std::string& measure, const TrialRecord& record) {
  const Asked asked = *Split(measure);
  if (OverLayers(asked)) {
    const std::vector<double> layers = OfLayers(asked, record);
    if (asked.how == "mean_over_layers") return MeanOf(layers);
    if (layers.size() < 2 || !(layers.front() > 0) || !(layers.back() > 0)) return kNone;
    return std::pow(layers.back() / layers.front(), 1 / static_cast<double>(layers.size() - 1));
  }
  const auto found = record.figures.find(std::string(asked.name));
  if (found == record.figures.end() || found->second.empty()) return kNone;
  if (asked.how == "first") return found->second.front().second;
  if (asked.how.empty()) return found->second.back().second;
  std::vector<double> values;
  for (const auto& [step, value] : found->second) values.push_back(value);
  return MeanOf(values);
}

}  // namespace syncbn::study
