#include "study/document/svg.h"

#include "study/document/drawing.h"
#include "study/document/markup.h"
#include "study/document/text_files.h"
#include "study/document/text_layout.h"

namespace syncbn::study::document {
namespace {

Drawing Draw(const Chart& chart, double width) {
  if (const auto* lines = std::get_if<LineChart>(&chart.plot)) {
    return DrawLineChart(*lines, chart.interval_kind, width);
  }
  if (const auto* shares = std::get_if<ShareChart>(&chart.plot))
    return DrawShareChart(*shares, width);
  return DrawHeatMap(std::get<HeatMap>(chart.plot), chart.interval_kind, width);
}

std::string Start(const Chart& chart, double width, double height, const std::string& attributes) {
  // Marks of lines and points are found by what is nearest, the others by what is under the
  // pointer.
  const bool nearest = std::holds_alternative<LineChart>(chart.plot);
  return std::string("<svg class=\"chart") + (nearest ? " nearest" : "") +
         "\" role=\"group\" aria-label=\"" + Escaped(chart.title) + "\" viewBox=\"0 0 " +
         Px(width) + " " + Px(height) + "\"" + attributes + ">\n";
}

std::string Description(const Drawing& drawing) {
  return "<desc>" + Escaped(drawing.description) + "</desc>\n";
}

}  // namespace

std::string Svg(const Chart& chart, double width) {
  const Drawing drawing = Draw(chart, width);
  // No <title>: browsers would show it over every mark.
  return Start(chart, width, drawing.height, "") + Description(drawing) + drawing.body + "</svg>\n";
}

std::string SvgFile(const Chart& chart, double width) {
  constexpr double kMargin = 16;
  const Drawing drawing = Draw(chart, width - 2 * kMargin);
  double y = kMargin;
  std::string title;
  for (const std::string& line : WrappedText(chart.title, width - 2 * kMargin, 3, 17)) {
    y += 19;
    title += TextElement(kMargin, y - 4, "title", Anchor::kStart, line);
  }
  y += 10;
  const double height = y + drawing.height + kMargin;
  return Start(chart, width, height,
               " xmlns=\"http://www.w3.org/2000/svg\" width=\"" + Px(width) + "\" height=\"" +
                   Px(height) + "\"") +
         "<title>" + Escaped(chart.title) + "</title>\n" + Description(drawing) + "<style>\n" +
         std::string(ChartStyle()) + HeatStyle() + "</style>\n" +
         RectElement(0, 0, width, height, "paper") + title + "<g transform=\"translate(" +
         Px(kMargin) + " " + Px(y) + ")\">\n" + drawing.body + "</g>\n</svg>\n";
}

}  // namespace syncbn::study::document
