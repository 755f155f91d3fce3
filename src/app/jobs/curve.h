// A small curve of text.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace syncbn::app {

struct CurvePoint {
  int64_t step = 0;
  // NaN where there is no finite value.
  double value = 0;
};

// `rows` lines of at most `width` columns with the values' scale to the left and the steps below.
std::string DrawCurve(const std::vector<CurvePoint>& points, int width, int rows);

}  // namespace syncbn::app
