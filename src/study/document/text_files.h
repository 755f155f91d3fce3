// The files next to this one that become part of every report, as CMake embeds them.
#pragma once

#include <string_view>

namespace syncbn::study::document {

std::string_view ChartStyle();  // chart.css
std::string_view PageStyle();   // page.css
std::string_view PageScript();  // page.js

}  // namespace syncbn::study::document
