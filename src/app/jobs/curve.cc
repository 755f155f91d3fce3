#include "app/jobs/curve.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "app/client_text.h"
#include "app/console.h"

namespace syncbn::app {

std::string DrawCurve(const std::vector<CurvePoint>& points, int width, int rows) {
  constexpr int kScale = 11;  // of the numbers to the left, with a blank
  const int columns = std::max(10, width - kScale - 1);
  double low = std::numeric_limits<double>::infinity(), high = -low;
  for (const CurvePoint& point : points) {
    if (!std::isfinite(point.value)) continue;
    low = std::min(low, point.value);
    high = std::max(high, point.value);
  }
  if (!(low <= high)) return "  no finite values\n";
  const int64_t first = points.front().step;
  const int64_t last = std::max(first, points.back().step);
  // Each column shows the mean of the points that fall into it.
  std::vector<double> sums(static_cast<size_t>(columns)), counts(sums.size());
  for (const CurvePoint& point : points) {
    if (!std::isfinite(point.value)) continue;
    const double share = last == first ? 0.0
                                       : static_cast<double>(point.step - first) /
                                             static_cast<double>(last - first);
    const auto column = static_cast<size_t>(std::lround(share * (columns - 1)));
    sums[column] += point.value;
    counts[column] += 1;
  }
  std::vector<std::string> grid(static_cast<size_t>(rows), std::string(sums.size(), ' '));
  const double range = high > low ? high - low : 1.0;
  for (size_t column = 0; column < sums.size(); ++column) {
    if (counts[column] == 0) continue;
    const double share = high > low ? (sums[column] / counts[column] - low) / range : 0.5;
    const auto row = static_cast<size_t>(std::lround((1 - share) * (rows - 1)));
    grid[row][column] = '*';
  }
  std::string text;
  for (int row = 0; row < rows; ++row) {
    std::string scale;
    if (row == 0) scale = Format("%.4g", high);
    if (row == rows - 1 && high > low) scale = Format("%.4g", low);
    std::string line = grid[static_cast<size_t>(row)];
    while (!line.empty() && line.back() == ' ') line.pop_back();
    text += Format("%*s |", kScale - 1, scale.c_str()) + line + "\n";
  }
  const std::string left = "step " + Thousands(first), right = Thousands(last);
  text += std::string(kScale - 1, ' ') + " +" + std::string(sums.size(), '-') + "\n";
  const int gap = columns - static_cast<int>(left.size() + right.size());
  text += std::string(kScale + 1, ' ') + left + std::string(static_cast<size_t>(std::max(1, gap)), ' ') + right + "\n";
  return text;
}

}  // namespace syncbn::app
