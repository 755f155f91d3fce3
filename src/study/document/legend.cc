#include "study/document/legend.h"

#include <algorithm>

#include "study/document/markup.h"
#include "study/document/text_layout.h"

namespace syncbn::study::document {
namespace {

constexpr double kLine = 18;
constexpr double kSwatch = 24;
constexpr double kSwatchGap = 6;
constexpr double kItemGap = 18;
constexpr size_t kMostLines = 3;

}  // namespace

std::string ColourClass(size_t series) {
  return "c" + std::to_string(series % kColours);
}

std::string ShapePath(size_t series) {
  static const char* const kPaths[kShapes] = {
      "M4 0A4 4 0 1 1-4 0A4 4 0 1 1 4 0Z",                    // circle
      "M-3.6-3.6H3.6V3.6H-3.6Z",                              // square
      "M0-4.9 4.6 3.4H-4.6Z",                                 // triangle
      "M0-5.2 5.2 0 0 5.2-5.2 0Z",                            // diamond
      "M0 4.9 4.6-3.4H-4.6Z",                                 // triangle on its tip
      "M-1.6-5H1.6V-1.6H5V1.6H1.6V5H-1.6V1.6H-5V-1.6H-1.6Z",  // cross
      "M-5 0-2.5-4.3H2.5L5 0 2.5 4.3H-2.5Z",                  // hexagon
  };
  return kPaths[series % kShapes];
}

LegendBox DrawLegend(const std::vector<LegendItem>& items, double width) {
  LegendBox box;
  if (items.empty()) return box;
  double x = 0, y = 0;  // top left of the next item
  double row_height = kLine;
  for (const LegendItem& item : items) {
    const double room = width - kSwatch - kSwatchGap;
    const std::vector<std::string> lines = WrappedText(item.text, room, kMostLines);
    double text_width = 0;
    for (const std::string& line : lines) text_width = std::max(text_width, TextWidth(line));
    const double item_width = kSwatch + kSwatchGap + text_width;
    if (x > 0 && x + item_width > width) {
      x = 0;
      y += row_height;
      row_height = kLine;
    }
    box.svg += "<g class=\"key\"";
    if (item.series >= 0) box.svg += " data-s=\"" + std::to_string(item.series) + "\"";
    box.svg += " transform=\"translate(" + Px(x) + " " + Px(y + kLine / 2) + ")\">";
    box.svg += RectElement(-3, -kLine / 2, item_width + 6,
                           kLine * static_cast<double>(lines.size()), "hit");
    box.svg += item.swatch;
    for (size_t i = 0; i < lines.size(); ++i) {
      box.svg += TextElement(kSwatch + kSwatchGap, 4 + kLine * static_cast<double>(i), "",
                             Anchor::kStart, lines[i]);
    }
    box.svg += "</g>\n";
    row_height = std::max(row_height, kLine * static_cast<double>(lines.size()));
    x += item_width + kItemGap;
  }
  box.height = y + row_height;
  return box;
}

}  // namespace syncbn::study::document
