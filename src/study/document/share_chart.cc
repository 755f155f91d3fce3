// Bars of equal length, stacked of their parts. A bar's name stands at its left, or above it where
// the drawing is narrow.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/check.h"
#include "base/text.h"
#include "study/document/drawing.h"
#include "study/document/legend.h"
#include "study/document/markup.h"
#include "study/document/number_text.h"
#include "study/document/text_layout.h"

namespace syncbn::study::document {
namespace {

constexpr double kBar = 24;
constexpr double kGap = 10;
constexpr double kLine = 15;

double Shown(double value) {
  return std::isfinite(value) && value > 0 ? value : 0;
}

double Total(const Bar& bar) {
  return std::accumulate(bar.values.begin(), bar.values.end(), 0.0,
                         [](double sum, double value) { return sum + Shown(value); });
}

std::string BarElements(const ShareChart& chart, const Bar& bar, double left, double right,
                        double y) {
  const double total = Total(bar);
  if (!(total > 0) || !std::isfinite(total)) {
    return RectElement(left, y, right - left, kBar, "nothing") +
           TextElement((left + right) / 2, y + 16, "quiet", Anchor::kMiddle, "not measured");
  }
  std::string svg;
  double x = left;
  for (size_t i = 0; i < bar.values.size(); ++i) {
    const double share = Shown(bar.values[i]) / total;
    const double width = share * (right - left);
    if (width <= 0) continue;
    const std::string percent = NumberText(100 * share, share < 0.1 ? 2 : 3) + " %";
    std::vector<std::string> lines = {bar.name, chart.parts[i] + ": " + percent,
                                      WithUnit(NumberText(bar.values[i]), chart.unit) + " of " +
                                          WithUnit(NumberText(total), chart.unit)};
    for (std::string& line : EvidenceLines(bar.evidence)) lines.push_back(std::move(line));
    svg +=
        MarkStart("mark part s " + ColourClass(i), "data-s=\"" + std::to_string(i) + "\"", lines);
    svg += RectElement(x, y, width, kBar, "fill");
    const std::string rounded = FixedText(100 * share, 0) + " %";
    if (TextWidth(rounded) + 8 <= width) {
      svg += TextElement(x + width / 2, y + 16, "on-fill figure", Anchor::kMiddle, rounded);
    }
    svg += "</g>\n";
    x += width;
  }
  return svg;
}

}  // namespace

Drawing DrawShareChart(const ShareChart& chart, double width) {
  if (chart.bars.empty() || chart.parts.empty()) return DrawNothing("there are no bars.", width);
  Drawing drawing;
  std::vector<LegendItem> items;
  for (size_t i = 0; i < chart.parts.size(); ++i) {
    items.push_back({"<rect class=\"fill " + ColourClass(i) +
                         "\" x=\"6\" y=\"-6\" width=\"12\" height=\"12\"/>",
                     chart.parts[i], static_cast<int>(i)});
  }
  const LegendBox legend = DrawLegend(items, width);
  drawing.body = legend.svg;
  double y = legend.height + 6;
  const std::string label =
      chart.unit.empty() ? chart.label : chart.label + ", shares of the whole";
  for (const std::string& line : WrappedText(label, width, 2, kLabelSize)) {
    y += kLine;
    drawing.body += TextElement(0, y, "label", Anchor::kStart, line);
  }
  y += 10;
  const bool above = IsNarrow(width);
  double name_width = 0, total_width = 0;
  std::vector<std::string> totals;
  for (const Bar& bar : chart.bars) {
    SYNCBN_CHECK_EQ(bar.values.size(), chart.parts.size()) << "parts of a bar";
    name_width = std::max(name_width, TextWidth(bar.name));
    totals.push_back(
        WrappedText(WithUnit(NumberText(Total(bar)), chart.unit), width * 0.25, 1).front());
    total_width = std::max(total_width, TextWidth(totals.back()));
  }
  name_width = std::min(name_width, width * 0.3);
  const double left = above ? 0 : name_width + 10;
  const double right = width - total_width - 10;
  for (size_t i = 0; i < chart.bars.size(); ++i) {
    const Bar& bar = chart.bars[i];
    const std::vector<std::string> lines = WrappedText(bar.name, above ? width : name_width + 1, 2);
    const double text_height = kLine * static_cast<double>(lines.size());
    if (above) y += text_height;
    double text_y = above ? y - text_height + 11 : y + kBar / 2 + 4 - (text_height - kLine) / 2;
    for (const std::string& line : lines) {
      drawing.body += above ? TextElement(0, text_y, "", Anchor::kStart, line)
                            : TextElement(left - 10, text_y, "", Anchor::kEnd, line);
      text_y += kLine;
    }
    drawing.body += BarElements(chart, bar, left, right, y);
    drawing.body += TextElement(width, y + 16, "quiet figure", Anchor::kEnd, totals[i]);
    y += std::max(kBar, above ? 0 : text_height) + kGap;
  }
  drawing.height = y;
  drawing.description = chart.label + " of " + std::to_string(chart.bars.size()) +
                        " bars, in parts: " + Join(chart.parts, "; ") + ".";
  return drawing;
}

}  // namespace syncbn::study::document
