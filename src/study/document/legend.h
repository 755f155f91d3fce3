// What the marks and colours of a chart mean, above it.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace syncbn::study::document {

// Series are told apart by colour (6) and by shape (7), which together repeat after 42.
inline constexpr size_t kColours = 6;
inline constexpr size_t kShapes = 7;

std::string ColourClass(size_t series);

// Path of the shape around (0, 0), of about the same area for all.
std::string ShapePath(size_t series);
// Marks of what the plot has no place for.
inline constexpr std::string_view kCrossPath = "M-3.6-3.6 3.6 3.6M-3.6 3.6 3.6-3.6";
inline constexpr std::string_view kOffScalePath = "M0-5V1M0 3.4V5";
inline constexpr double kOptimumRadius = 8.5;

struct LegendItem {
  LegendItem(std::string_view swatch, std::string_view text, int series = -1)
      : swatch(swatch), text(text), series(series) {}

  // Drawn in a box from (0, -7) to (24, 7).
  std::string swatch;
  std::string text;
  // Elements with data-s of this number are its series: they are brought out with it. -1: none.
  int series;
};

struct LegendBox {
  std::string svg;  // from (0, 0) downwards
  double height = 0;
};

// Item after item, line after line; long texts wrap within the width.
LegendBox DrawLegend(const std::vector<LegendItem>& items, double width);

}  // namespace syncbn::study::document
