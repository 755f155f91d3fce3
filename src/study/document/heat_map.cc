// A cell for every pair of categories, its value as colour and, where there is room, as text.
#include <algorithm>
#include <cmath>
#include <set>

#include "base/check.h"
#include "study/document/axis_labels.h"
#include "study/document/drawing.h"
#include "study/document/legend.h"
#include "study/document/markup.h"
#include "study/document/number_text.h"
#include "study/document/scale.h"
#include "study/document/text_layout.h"

namespace syncbn::study::document {
namespace {

constexpr double kLine = 15;
constexpr double kColourBar = 150;
constexpr int kColourSteps = 30;
constexpr long kHeatShades = 100;
// Text is dark on some colours and light on others; on those between, what the scheme says.
constexpr double kWeakTo = 0.4;
constexpr double kStrongFrom = 0.62;

// Of the classes of HeatStyle(); a hundredth more or less of a colour nobody sees.
std::string HeatClass(double fraction) {
  return "heat h" +
         std::to_string(std::clamp(std::lround(kHeatShades * fraction), 0L, kHeatShades));
}

class HeatMapDrawing {
 public:
  HeatMapDrawing(const HeatMap& chart, const std::string& interval_kind, double width)
      : chart_(chart),
        interval_kind_(interval_kind),
        width_(width),
        scale_(chart.value, Values(chart), 0, 1, AxisEnds::kAtTicks) {}

  Drawing Draw();

 private:
  static std::vector<double> Values(const HeatMap& chart) {
    std::vector<double> values;
    for (const Cell& cell : chart.cells) {
      if (cell.value) values.push_back(*cell.value);
    }
    return values;
  }
  bool IsBest(size_t column, size_t row) const {
    return chart_.optimum && chart_.optimum->x == column && chart_.optimum->y == row;
  }
  std::string ColourBar(double y) const;
  std::string Keys(double* y) const;
  std::string CellElements(size_t column, size_t row, double x, double y, double width,
                           double height) const;

  const HeatMap& chart_;
  const std::string& interval_kind_;
  const double width_;
  const Scale scale_;
};

std::string HeatMapDrawing::ColourBar(double y) const {
  const std::string low = NumberText(scale_.low()), high = NumberText(scale_.high());
  const double left = TextWidth(low) + 6;
  std::string svg = TextElement(left - 6, y + 11, "figure", Anchor::kEnd, low);
  for (int i = 0; i < kColourSteps; ++i) {
    const double step = kColourBar / kColourSteps;
    svg += "<rect class=\"" + HeatClass((i + 0.5) / kColourSteps) + "\" x=\"" +
           Px(left + i * step) + "\" y=\"" + Px(y) + "\" width=\"" + Px(step + 0.4) +
           "\" height=\"14\"/>";
  }
  return svg + TextElement(left + kColourBar + 6, y + 11, "figure", Anchor::kStart, high);
}

// What is not a colour.
std::string HeatMapDrawing::Keys(double* y) const {
  std::set<std::string> lost;
  bool missing = false;
  for (const Cell& cell : chart_.cells) {
    if (cell.value && !std::isfinite(*cell.value)) lost.insert(cell.lost);
    missing |= !cell.value;
  }
  std::vector<LegendItem> items;
  if (chart_.optimum)
    items.push_back({"<rect class=\"best\" x=\"5\" y=\"-6\" width=\"14\" height=\"12\"/>", "best"});
  for (const std::string& how : lost) {
    items.push_back({"<path class=\"cross\" transform=\"translate(12 0)\" d=\"" +
                         std::string(kCrossPath) + "\"/>",
                     how});
  }
  if (missing)
    items.push_back({TextElement(12, 4, "quiet", Anchor::kMiddle, "\xe2\x80\x93"), "not measured"});
  const LegendBox box = DrawLegend(items, width_);
  const std::string svg = "<g transform=\"translate(0 " + Px(*y) + ")\">" + box.svg + "</g>";
  *y += box.height;
  return items.empty() ? "" : svg;
}

std::string HeatMapDrawing::CellElements(size_t column, size_t row, double x, double y,
                                         double width, double height) const {
  const Cell& cell = chart_.cells[row * chart_.x.categories.size() + column];
  std::vector<std::string> lines = {chart_.x.label + " " + chart_.x.categories[column] + ", " +
                                    chart_.y.label + " " + chart_.y.categories[row]};
  std::string inside, classes = "mark cell";
  const double middle_x = x + width / 2, middle_y = y + height / 2;
  if (!cell.value) {
    lines.push_back("not measured");
    inside = RectElement(x, y, width, height, "missing") +
             TextElement(middle_x, middle_y + 4, "quiet", Anchor::kMiddle, "\xe2\x80\x93");
  } else if (!std::isfinite(*cell.value)) {
    lines.push_back(chart_.value.label + ": " + LostText(cell.lost));
    inside = RectElement(x, y, width, height, "missing") +
             "<path class=\"cross\" transform=\"translate(" + Px(middle_x) + " " + Px(middle_y) +
             ")\" d=\"" + std::string(kCrossPath) + "\"/>";
  } else {
    lines.push_back(chart_.value.label + ": " +
                    IntervalText(*cell.value, cell.interval, chart_.value.unit));
    if (cell.interval) lines.back() += ", " + interval_kind_;
    const std::string text = NumberText(*cell.value);
    const bool on_scale = scale_.At(*cell.value).has_value();
    if (on_scale) {
      const double fraction = scale_.Fraction(*cell.value);
      inside = "<rect class=\"" + HeatClass(fraction) + "\" x=\"" + Px(x) + "\" y=\"" + Px(y) +
               "\" width=\"" + Px(width) + "\" height=\"" + Px(height) + "\"/>";
      classes += fraction >= kStrongFrom ? " strong" : fraction > kWeakTo ? " middle" : " weak";
    } else {
      lines.push_back("outside of what the colours can show");
      inside = RectElement(x, y, width, height, "missing");
    }
    if (TextWidth(text) + 6 <= width && height >= 14) {
      inside += TextElement(middle_x, middle_y + 4, "figure", Anchor::kMiddle, text);
    }
  }
  if (IsBest(column, row)) {
    lines.push_back("best");
    inside += RectElement(x + 1.5, y + 1.5, width - 3, height - 3, "best");
  }
  for (std::string& line : EvidenceLines(cell.evidence)) lines.push_back(std::move(line));
  return MarkStart(classes, "", lines) + inside + "</g>\n";
}

Drawing HeatMapDrawing::Draw() {
  Drawing drawing;
  const auto columns = static_cast<double>(chart_.x.categories.size());
  double y = 0;
  for (const std::string& line : WrappedText(LabelText(chart_.value), width_, 2, kLabelSize)) {
    y += kLine;
    drawing.body += TextElement(0, y - 2, "label", Anchor::kStart, line);
  }
  y += 5;
  drawing.body += ColourBar(y);
  y += 22;
  drawing.body += Keys(&y);
  y += 6;
  for (const std::string& line : WrappedText(LabelText(chart_.y), width_, 2, kLabelSize)) {
    y += kLine;
    drawing.body += TextElement(0, y, "label", Anchor::kStart, line);
  }
  y += 8;
  double name_width = 0;
  for (const std::string& name : chart_.y.categories)
    name_width = std::max(name_width, TextWidth(name));
  name_width = std::min(name_width, width_ * 0.3);
  const double left = name_width + 8;
  const double slot = std::min(90.0, (width_ - left) / columns);
  const double height = std::clamp(slot, 20.0, 34.0);
  for (size_t row = 0; row < chart_.y.categories.size(); ++row) {
    const std::vector<std::string> lines =
        WrappedText(chart_.y.categories[row], name_width + 1, height >= 30 ? 2 : 1);
    double text_y = y + height / 2 + 4 - kLine / 2 * static_cast<double>(lines.size() - 1);
    for (const std::string& line : lines) {
      drawing.body += TextElement(left - 8, text_y, "figure", Anchor::kEnd, line);
      text_y += kLine;
    }
    for (size_t column = 0; column < chart_.x.categories.size(); ++column) {
      drawing.body += CellElements(column, row, left + static_cast<double>(column) * slot + 0.75,
                                   y + 0.75, std::max(1.0, slot - 1.5), height - 1.5);
    }
    y += height;
  }
  const AxisLabels labels = CategoryLabelsBelow(chart_.x.categories, left, slot, y - 2);
  const AxisLabels title =
      AxisTitleBelow(LabelText(chart_.x), left, left + slot * columns, y + labels.height);
  drawing.body += labels.svg + title.svg;
  drawing.height = y + labels.height + title.height + 5;
  drawing.description = LabelText(chart_.value) + " by " + LabelText(chart_.x) + " (" +
                        std::to_string(chart_.x.categories.size()) + ") and " +
                        LabelText(chart_.y) + " (" + std::to_string(chart_.y.categories.size()) +
                        ").";
  return drawing;
}

}  // namespace

Drawing DrawHeatMap(const HeatMap& chart, const std::string& interval_kind, double width) {
  SYNCBN_CHECK_EQ(chart.cells.size(), chart.x.categories.size() * chart.y.categories.size())
      << "cells of a heat map";
  if (chart.cells.empty()) return DrawNothing("there are no cells.", width);
  return HeatMapDrawing(chart, interval_kind, width).Draw();
}

std::string HeatStyle() {
  std::string style;
  for (long shade = 0; shade <= kHeatShades; ++shade) {
    const std::string number = std::to_string(shade);
    style += ".h" + number + "{--f:" + number + "%}" + (shade % 10 == 9 ? "\n" : "");
  }
  return style + "\n";
}

}  // namespace syncbn::study::document
