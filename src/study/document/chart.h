// Charts as data: what is shown, not how. svg.h draws them, html.h puts them into a page,
// markdown.h writes them as tables of their points.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace syncbn::study::document {

// low <= high; an end may be infinite.
struct Interval {
  double low = 0;
  double high = 0;
};

// What is behind a point, a bar or a cell: shown on hover, on focus and in tables.
struct Evidence {
  int seeds = 0;                  // 0: not told
  std::vector<std::string> runs;  // their names
  std::string note;               // anything else, a few words
};

enum class AxisScale { kLinear, kLog2, kLog10 };

struct Axis {
  std::string label;
  std::string unit;
  AxisScale scale = AxisScale::kLinear;
  // What of the axis is shown. Where it is not set, what the points need.
  std::optional<double> low, high;
  // Names of the values 0, 1, ... of an x axis; its scale and range do not matter then.
  std::vector<std::string> categories;
};

struct Point {
  double x = 0;
  // Not finite: the point is shown as diverged, at the edge. What an axis cannot hold (zero on a
  // logarithmic one, a value outside of a stated range) is shown there, too, as off the scale.
  double y = 0;
  std::optional<Interval> interval;
  Evidence evidence;
  // In words, where y is not finite for another reason.
  std::string lost = "diverged";
};

struct Series {
  std::string name;
  // In the order in which a line connects them.
  std::vector<Point> points;
  bool connected = true;
  // Index of the point that is marked as the best.
  std::optional<size_t> optimum;
};

struct ReferenceLine {
  enum class At { kX, kY };
  std::string label;  // the value is added to it
  At at = At::kY;
  double value = 0;
};

// Lines or points. Intervals are whiskers, or bands along lines of many points.
struct LineChart {
  Axis x, y;
  std::vector<Series> series;
  std::vector<ReferenceLine> references;
};

// One bar of a ShareChart: as many values as it has parts, none negative.
struct Bar {
  std::string name;
  std::vector<double> values;
  Evidence evidence;
};

// What a whole (the time of a step) is made of: horizontal bars of equal length, stacked. Up to
// six parts have colours of their own.
struct ShareChart {
  std::string label;  // of the values: "time of a step"
  std::string unit;
  std::vector<std::string> parts;
  std::vector<Bar> bars;
};

struct Cell {
  // Without one the cell is shown as not measured, with one that is not finite as lost.
  std::optional<double> value;
  std::optional<Interval> interval;
  Evidence evidence;
  // How, in words.
  std::string lost = "diverged";
};

// A table of colours over two lists of categories.
struct HeatMap {
  struct Index {
    size_t x = 0, y = 0;
  };
  Axis x, y;  // with categories; those of y from top to bottom
  Axis value;
  std::vector<Cell> cells;  // x.categories.size() * y.categories.size(), row after row
  std::optional<Index> optimum;
};

struct Chart {
  std::string title;
  // What to see in it, and from what it was computed.
  std::string caption;
  std::variant<LineChart, ShareChart, HeatMap> plot;
  // What the intervals are.
  std::string interval_kind = "95 % interval";
};

}  // namespace syncbn::study::document
