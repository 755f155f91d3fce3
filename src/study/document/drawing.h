// The three kinds of plots as SVG elements, for svg.cc. A drawing is as wide as it is told and as
// high as it needs.
#pragma once

#include <string>
#include <vector>

#include "study/document/chart.h"

namespace syncbn::study::document {

struct Drawing {
  std::string body;
  double height = 0;
  std::string description;  // for who cannot see it
};

Drawing DrawLineChart(const LineChart& chart, const std::string& interval_kind, double width);
Drawing DrawShareChart(const ShareChart& chart, double width);
Drawing DrawHeatMap(const HeatMap& chart, const std::string& interval_kind, double width);

// The style of its colours, beside chart.css: a class each, since a strict security policy takes no
// style of an element's own.
std::string HeatStyle();

// Says that there is nothing, and what is missing.
Drawing DrawNothing(const std::string& what, double width);

inline bool IsNarrow(double width) {
  return width < 500;
}

// The start tag of what shows `lines` on hover and on focus; the first of them is its title.
std::string MarkStart(const std::string& classes, const std::string& attributes,
                      const std::vector<std::string>& lines);

// "5 seeds", "runs: a, b and 10 more", the note.
std::vector<std::string> EvidenceLines(const Evidence& evidence);

}  // namespace syncbn::study::document
