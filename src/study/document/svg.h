// A chart as SVG.
#pragma once

#include <string>

#include "study/document/chart.h"

namespace syncbn::study::document {

// Widths at which text has its natural size: on a desktop and on paper, and on a phone.
inline constexpr double kWide = 720;
inline constexpr double kNarrow = 336;

// An <svg> element to stand inside of a page that has the style of html.h. Title and caption are
// the page's.
std::string Svg(const Chart& chart, double width = kWide);

// A file of its own, with title, style and both colour schemes.
std::string SvgFile(const Chart& chart, double width = kWide);

}  // namespace syncbn::study::document
