// Lines and points with their intervals. From top to bottom: legend, label of the y axis, rows of
// what the plot has no place for, the plot, labels of the x axis.
#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/text.h"
#include "study/document/axis_labels.h"
#include "study/document/drawing.h"
#include "study/document/legend.h"
#include "study/document/markup.h"
#include "study/document/number_text.h"
#include "study/document/scale.h"
#include "study/document/text_layout.h"

namespace syncbn::study::document {
namespace {

// Lines of more points have bands for whiskers, and few visible marks.
constexpr size_t kDense = 24;
constexpr size_t kMarksOfDense = 8;
constexpr double kInset = 12;
constexpr double kRow = 14;
constexpr double kCap = 3;

bool IsDense(const Series& series) {
  return series.connected && series.points.size() > kDense;
}

// Told apart by their dashes.
std::string ReferenceClass(size_t index) {
  return "reference r" + std::to_string(index % 3);
}

enum class Place { kPlot, kLost, kOffScale };

class LinePlot {
 public:
  LinePlot(const LineChart& chart, const std::string& interval_kind, double width)
      : chart_(chart), interval_kind_(interval_kind), width_(width) {}

  Drawing Draw();

 private:
  Place PlaceOf(const Point& point) const;
  double X(size_t series, const Point& point) const;
  std::vector<double> Values(bool of_x) const;
  std::vector<LegendItem> LegendItems() const;
  void SetDodge();
  std::string Rows();
  std::string Grid() const;
  std::string References() const;
  std::string Band(size_t series) const;
  std::string Connection(size_t series) const;
  std::string Whisker(size_t series, const Point& point) const;
  std::string Mark(size_t series, size_t index, double y, std::string_view path, Place place) const;
  // Whether no line leads to a point.
  bool IsAlone(const Series& series, size_t index) const;
  std::string SeriesElements(size_t series) const;
  std::string RowName(Place place) const;
  std::string Description() const;

  const LineChart& chart_;
  const std::string& interval_kind_;
  const double width_;
  double left_ = 0, right_ = 0, top_ = 0, bottom_ = 0, rows_top_ = 0;
  double rows_height_ = 0;
  double dodge_ = 0;  // between neighbouring series
  std::optional<Scale> x_, y_;
  std::vector<Tick> y_ticks_;
};

std::vector<double> LinePlot::Values(bool of_x) const {
  std::vector<double> values;
  for (const Series& series : chart_.series) {
    for (const Point& point : series.points) {
      values.push_back(of_x ? point.x : point.y);
      if (!of_x && point.interval && std::isfinite(point.y)) {
        values.push_back(point.interval->low);
        values.push_back(point.interval->high);
      }
    }
  }
  for (const ReferenceLine& line : chart_.references) {
    if ((line.at == ReferenceLine::At::kX) == of_x) values.push_back(line.value);
  }
  return values;
}

Place LinePlot::PlaceOf(const Point& point) const {
  if (!std::isfinite(point.y)) return Place::kLost;
  return x_->At(point.x) && y_->At(point.y) ? Place::kPlot : Place::kOffScale;
}

double LinePlot::X(size_t series, const Point& point) const {
  const double middle = (static_cast<double>(chart_.series.size()) - 1) / 2;
  return x_->Clamped(point.x).value_or(left_) + dodge_ * (static_cast<double>(series) - middle);
}

// Whiskers of several series at one x would hide each other: they stand beside each other where
// there is room.
void LinePlot::SetDodge() {
  std::set<double> places;
  bool whiskers = false;
  for (const Series& series : chart_.series) {
    if (IsDense(series)) return;
    for (const Point& point : series.points) {
      whiskers |= point.interval.has_value();
      if (const auto x = x_->At(point.x)) places.insert(std::round(*x * 10) / 10);
    }
  }
  const auto count = static_cast<double>(chart_.series.size());
  if (!whiskers || count < 2) return;
  double gap = right_ - left_;
  for (auto it = places.begin(); it != places.end() && std::next(it) != places.end(); ++it) {
    gap = std::min(gap, *std::next(it) - *it);
  }
  // Beside the first and the last place there is the inset.
  const double most =
      chart_.x.categories.empty() ? std::min(5.0, 2 * (kInset - 2) / (count - 1)) : 11;
  const double spread = std::min(most, gap * 0.6 / count);
  if (spread >= 1.5) dodge_ = spread;
}

std::vector<LegendItem> LinePlot::LegendItems() const {
  std::vector<LegendItem> items;
  for (size_t s = 0; s < chart_.series.size(); ++s) {
    const Series& series = chart_.series[s];
    std::string swatch = "<g class=\"s " + ColourClass(s) + "\">";
    if (series.connected) swatch += "<path class=\"line\" d=\"M0 0H24\"/>";
    swatch +=
        "<path class=\"shape\" transform=\"translate(12 0)\" d=\"" + ShapePath(s) + "\"/></g>";
    std::string text = series.name;
    if (series.optimum && *series.optimum < series.points.size()) {
      text += " (best at " +
              WithUnit(AxisValueText(chart_.x, series.points[*series.optimum].x), chart_.x.unit) +
              ")";
    }
    items.push_back({swatch, text, static_cast<int>(s)});
  }
  const bool ringed =
      std::any_of(chart_.series.begin(), chart_.series.end(), [](const Series& series) {
        return series.optimum && *series.optimum < series.points.size();
      });
  if (ringed) {
    items.push_back({"<circle class=\"ring\" cx=\"12\" r=\"7\"/>", "best of its series"});
  }
  for (size_t i = 0; i < chart_.references.size(); ++i) {
    const ReferenceLine& line = chart_.references[i];
    const bool at_x = line.at == ReferenceLine::At::kX;
    if (!(at_x ? x_ : y_)->At(line.value)) continue;
    const Axis& axis = at_x ? chart_.x : chart_.y;
    items.push_back(
        {"<path class=\"" + ReferenceClass(i) + "\" d=\"" + (at_x ? "M12-7V7" : "M0 0H24") + "\"/>",
         line.label + ", " + WithUnit(AxisValueText(axis, line.value), axis.unit)});
  }
  return items;
}

// One row a series and reason, above the plot, with its name at the left.
// Of the marks above the plot.
std::string LinePlot::RowName(Place place) const {
  if (place == Place::kOffScale) return "off scale";
  std::set<std::string> lost;
  for (const Series& series : chart_.series) {
    for (const Point& point : series.points) {
      if (PlaceOf(point) == Place::kLost) lost.insert(point.lost);
    }
  }
  return lost.size() == 1 ? *lost.begin() : "no value";
}

std::string LinePlot::Rows() {
  std::string svg;
  double y = rows_top_;
  for (const Place place : {Place::kLost, Place::kOffScale}) {
    bool named = false;
    for (size_t s = 0; s < chart_.series.size(); ++s) {
      std::string marks;
      for (size_t i = 0; i < chart_.series[s].points.size(); ++i) {
        if (PlaceOf(chart_.series[s].points[i]) != place) continue;
        marks +=
            Mark(s, i, y + kRow / 2, place == Place::kLost ? kCrossPath : kOffScalePath, place);
      }
      if (marks.empty()) continue;
      svg += RectElement(left_, y, right_ - left_, kRow - 1, "row");
      if (!named) {
        svg += TextElement(left_ - 8, y + 11, "quiet", Anchor::kEnd, RowName(place));
      }
      named = true;
      svg += "<g class=\"s aside " + ColourClass(s) + "\" data-s=\"" + std::to_string(s) + "\">" +
             marks + "</g>\n";
      y += kRow;
    }
  }
  rows_height_ = y - rows_top_;
  return svg;
}

std::string LinePlot::Grid() const {
  std::string svg;
  for (const Tick& tick : y_ticks_) {
    if (tick.label.empty()) continue;
    const double y = *y_->At(tick.value);
    svg += LineElement(left_, y, right_, y, "grid");
    svg += TextElement(left_ - 8, y + 4, "figure", Anchor::kEnd, tick.label);
  }
  return svg + LineElement(left_, bottom_, right_, bottom_, "axis");
}

std::string LinePlot::References() const {
  std::string svg;
  for (size_t i = 0; i < chart_.references.size(); ++i) {
    const ReferenceLine& line = chart_.references[i];
    const bool at_x = line.at == ReferenceLine::At::kX;
    const auto at = (at_x ? x_ : y_)->At(line.value);
    if (!at) continue;
    svg += at_x ? LineElement(*at, top_, *at, bottom_, ReferenceClass(i))
                : LineElement(left_, *at, right_, *at, ReferenceClass(i));
  }
  return svg;
}

// The area between the ends of the intervals, along what is in the plot.
std::string LinePlot::Band(size_t s) const {
  std::string svg, upper, lower;
  const auto close = [&] {
    if (!upper.empty()) svg += "<path class=\"band\" d=\"M" + upper + "L" + lower + "Z\"/>\n";
    upper.clear();
    lower.clear();
  };
  for (const Point& point : chart_.series[s].points) {
    const bool shown = point.interval && PlaceOf(point) == Place::kPlot;
    const auto low = shown ? y_->Clamped(point.interval->low) : std::nullopt;
    const auto high = shown ? y_->Clamped(point.interval->high) : std::nullopt;
    if (!low || !high) {
      close();
      continue;
    }
    const std::string x = Px(X(s, point));
    upper += (upper.empty() ? "" : " ") + x + " " + Px(*high);
    lower = x + " " + Px(*low) + (lower.empty() ? "" : " ") + lower;
  }
  close();
  return svg;
}

std::string LinePlot::Connection(size_t s) const {
  std::string path;
  bool broken = true;
  for (const Point& point : chart_.series[s].points) {
    if (PlaceOf(point) != Place::kPlot) {
      broken = true;
      continue;
    }
    path += (broken ? "M" : " ") + Px(X(s, point)) + " " + Px(*y_->At(point.y));
    broken = false;
  }
  return path.empty() ? "" : "<path class=\"line\" d=\"" + path + "\"/>\n";
}

std::string LinePlot::Whisker(size_t s, const Point& point) const {
  if (!point.interval) return "";
  const auto low = y_->Clamped(point.interval->low), high = y_->Clamped(point.interval->high);
  if (!low || !high) return "";
  const double x = X(s, point);
  std::string path = "M" + Px(x) + " " + Px(*low) + "V" + Px(*high);
  // An end that lies outside has no cap.
  for (const double end : {point.interval->low, point.interval->high}) {
    if (const auto y = y_->At(end)) path += "M" + Px(x - kCap) + " " + Px(*y) + "h" + Px(2 * kCap);
  }
  return "<path class=\"whisker\" d=\"" + path + "\"/>\n";
}

bool LinePlot::IsAlone(const Series& series, size_t index) const {
  const bool before = index > 0 && PlaceOf(series.points[index - 1]) == Place::kPlot;
  const bool behind =
      index + 1 < series.points.size() && PlaceOf(series.points[index + 1]) == Place::kPlot;
  return !before && !behind;
}

std::string LinePlot::Mark(size_t s, size_t index, double y, std::string_view path,
                           Place place) const {
  const Series& series = chart_.series[s];
  const Point& point = series.points[index];
  std::vector<std::string> lines = {series.name};
  lines.push_back(chart_.x.label + ": " +
                  WithUnit(AxisValueText(chart_.x, point.x), chart_.x.unit));
  if (place == Place::kLost) {
    lines.push_back(chart_.y.label + ": " + LostText(point.lost));
  } else {
    lines.push_back(chart_.y.label + ": " + IntervalText(point.y, point.interval, chart_.y.unit));
    if (point.interval) lines.back() += ", " + interval_kind_;
    if (place == Place::kOffScale) lines.push_back("outside of what the axes can show");
  }
  const bool best = series.optimum == index;
  if (best) lines.push_back("best of its series");
  for (std::string& line : EvidenceLines(point.evidence)) lines.push_back(std::move(line));
  const bool dense = IsDense(series) && place == Place::kPlot && !best;
  const size_t every = std::max<size_t>(1, series.points.size() / kMarksOfDense);
  const bool shown = !dense || index % every == every / 2 || IsAlone(series, index);
  std::string svg =
      MarkStart(shown ? "mark" : "mark hidden",
                "transform=\"translate(" + Px(X(s, point)) + " " + Px(y) + ")\"", lines);
  if (best) svg += "<circle class=\"ring\" r=\"" + Px(kOptimumRadius) + "\"/>";
  return svg + "<path class=\"shape\" d=\"" + std::string(path) + "\"/></g>\n";
}

std::string LinePlot::SeriesElements(size_t s) const {
  const Series& series = chart_.series[s];
  std::string svg = "<g class=\"s " + ColourClass(s) + "\" data-s=\"" + std::to_string(s) + "\">\n";
  const bool dense = IsDense(series);
  if (dense) svg += Band(s);
  if (series.connected) svg += Connection(s);
  std::string marks;
  for (size_t i = 0; i < series.points.size(); ++i) {
    const Point& point = series.points[i];
    if (PlaceOf(point) != Place::kPlot) continue;
    if (!dense) svg += Whisker(s, point);
    marks += Mark(s, i, *y_->At(point.y), ShapePath(s), Place::kPlot);
  }
  return svg + marks + "</g>\n";
}

std::string LinePlot::Description() const {
  size_t points = 0, off_scale = 0;
  std::map<std::string, size_t> lost;
  std::vector<std::string> names;
  for (const Series& series : chart_.series) {
    names.push_back(series.name);
    points += series.points.size();
    for (const Point& point : series.points) {
      if (PlaceOf(point) == Place::kLost) ++lost[point.lost];
      off_scale += PlaceOf(point) == Place::kOffScale;
    }
  }
  std::string text = LabelText(chart_.y) + " against " + LabelText(chart_.x) + ". " +
                     Plural(static_cast<long long>(points), "point") + " in " +
                     std::to_string(names.size()) + " series: " + Join(names, "; ") + ".";
  for (const auto& [how, count] : lost) text += " " + std::to_string(count) + " " + how + ".";
  if (off_scale > 0) text += " Off the scale: " + std::to_string(off_scale) + ".";
  return text;
}

Drawing LinePlot::Draw() {
  const bool narrow = IsNarrow(width_);
  const double plot_height = narrow ? 230 : 290;
  const int most_ticks = chart_.y.scale == AxisScale::kLinear ? (narrow ? 5 : 6) : 9;
  // Ticks do not depend on where the plot lies, but where it lies depends on their labels.
  y_.emplace(chart_.y, Values(false), plot_height - kInset, 0, AxisEnds::kAtTicks);
  y_ticks_ = y_->Ticks(most_ticks);
  double label_width = 0;
  for (const Tick& tick : y_ticks_) label_width = std::max(label_width, TextWidth(tick.label));
  right_ = width_ - 2;
  left_ = label_width + 10;
  x_.emplace(chart_.x, Values(true), left_, right_);
  for (const Series& series : chart_.series) {
    for (const Point& point : series.points) {
      const Place place = PlaceOf(point);
      if (place != Place::kPlot) left_ = std::max(left_, TextWidth(RowName(place)) + 10);
    }
  }
  const double inset = chart_.x.categories.empty() ? kInset : 0;
  x_.emplace(chart_.x, Values(true), left_ + inset, right_ - inset);
  SetDodge();

  Drawing drawing;
  const LegendBox legend = DrawLegend(LegendItems(), width_);
  drawing.body = legend.svg;
  double y = legend.height + 6;
  for (const std::string& line : WrappedText(LabelText(chart_.y), width_, 2, kLabelSize)) {
    y += 15;
    drawing.body += TextElement(0, y, "label", Anchor::kStart, line);
  }
  rows_top_ = y + 9;
  const std::string rows = Rows();
  top_ = rows_top_ + rows_height_ + 3;
  bottom_ = top_ + plot_height;
  y_.emplace(chart_.y, Values(false), bottom_ - (chart_.y.scale == AxisScale::kLinear ? 0 : kInset),
             top_ + 5, AxisEnds::kAtTicks);
  y_ticks_ = y_->Ticks(most_ticks);

  drawing.body += Grid() + References() + rows;
  for (size_t s = 0; s < chart_.series.size(); ++s) drawing.body += SeriesElements(s);
  const AxisLabels labels =
      chart_.x.categories.empty()
          ? TickLabelsBelow(*x_, bottom_, width_)
          : CategoryLabelsBelow(chart_.x.categories, left_,
                                (right_ - left_) / static_cast<double>(chart_.x.categories.size()),
                                bottom_);
  const AxisLabels title =
      AxisTitleBelow(LabelText(chart_.x), left_, right_, bottom_ + labels.height);
  drawing.body += labels.svg + title.svg;
  drawing.height = bottom_ + labels.height + title.height + 5;
  drawing.description = Description();
  return drawing;
}

}  // namespace

Drawing DrawLineChart(const LineChart& chart, const std::string& interval_kind, double width) {
  const bool any = std::any_of(chart.series.begin(), chart.series.end(),
                               [](const Series& series) { return !series.points.empty(); });
  return any ? LinePlot(chart, interval_kind, width).Draw()
             : DrawNothing("there are no points.", width);
}

}  // namespace syncbn::study::document
