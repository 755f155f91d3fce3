#include "study/report_charts.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "base/text.h"
#include "study/cell_figure.h"
#include "study/plotted_measure.h"
#include "study/report_figures.h"
#include "study/report_heat_maps.h"
#include "study/statistics/interval.h"

namespace syncbn::study {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
// More lines than these are not told apart.
constexpr size_t kMostSeries = 8;

// Values that are at least three and span a factor of four or more are shown on a logarithmic
// scale.
document::Axis AxisOf(const Axis& axis) {
  document::Axis shown{.label = axis.name,
                       .unit = "",
                       .scale = document::AxisScale::kLinear,
                       .low = std::nullopt,
                       .high = std::nullopt,
                       .categories = {}};
  if (!axis.numeric()) {
    for (const Level& level : axis.levels) shown.categories.push_back(level.label);
    return shown;
  }
  double low = *axis.levels.front().number, high = low;
  bool powers = true;
  for (const Level& level : axis.levels) {
    low = std::min(low, *level.number);
    high = std::max(high, *level.number);
    powers = powers && *level.number > 0 &&
             std::log2(*level.number) == std::round(std::log2(*level.number));
  }
  if (low > 0 && high / low >= 4) {
    shown.scale = powers ? document::AxisScale::kLog2 : document::AxisScale::kLog10;
  }
  return shown;
}

// The lines in one plot, or where they are too many to be told apart in several, about as many in
// each.
void AddInParts(const document::Chart& chart, const std::vector<document::Series>& series,
                document::Section& section) {
  const size_t shown = std::min(series.size(), kMostPanels * kMostSeries);
  const size_t parts = (shown + kMostSeries - 1) / kMostSeries;
  for (size_t part = 0; part < parts; ++part) {
    document::Chart one = chart;
    if (parts > 1) {
      one.title += " (part " + std::to_string(part + 1) + " of " + std::to_string(parts) + ")";
    }
    if (shown < series.size()) {
      one.caption += " The first " + std::to_string(shown) + " of " +
                     std::to_string(series.size()) + " cells.";
    }
    const auto begin = series.begin();
    std::get<document::LineChart>(one.plot).series.assign(
        begin + static_cast<std::ptrdiff_t>(part * shown / parts),
        begin + static_cast<std::ptrdiff_t>((part + 1) * shown / parts));
    section.blocks.push_back(std::move(one));
  }
}

// Which axis lies along x, and which makes the lines; the others make panels.
struct Layout {
  size_t x = 0;
  std::optional<size_t> series;
  std::vector<size_t> panels;
};

Layout LayoutOf(const std::vector<Axis>& axes) {
  Layout layout;
  for (size_t i = 0; i < axes.size(); ++i) {
    const bool better = axes[i].numeric() && (!axes[layout.x].numeric() ||
                                              axes[i].levels.size() > axes[layout.x].levels.size());
    if (better) layout.x = i;
  }
  for (size_t i = 0; i < axes.size(); ++i) {
    if (i == layout.x) continue;
    if (!layout.series && axes[i].levels.size() <= kMostSeries) {
      layout.series = i;
    } else {
      layout.panels.push_back(i);
    }
  }
  return layout;
}

class Charts {
 public:
  Charts(const Plan& plan, const Outlook& outlook)
      : plan_(plan), outlook_(outlook), axes_(plan.file().axes) {}

  std::vector<document::Section> Run() {
    std::vector<document::Section> sections;
    if (!axes_.empty()) {
      layout_ = LayoutOf(axes_);
      document::Section section{.heading = "Against " + axes_[layout_.x].name, .blocks = {}};
      for (const PlottedMeasure& measure : Plotted(plan_.file().spec)) {
        AddMeasure(measure, section);
      }
      for (document::Chart& map : HeatMaps(plan_, outlook_)) {
        section.blocks.emplace_back(std::move(map));
      }
      if (!section.blocks.empty()) sections.push_back(std::move(section));
    }
    if (!outlook_.tuned().empty()) sections.push_back(Sweeps());
    sections.push_back(Curves());
    sections.push_back(ProbeSection(plan_, outlook_));
    if (plan_.file().spec.at_once() == 1) sections.push_back(TimeSection(plan_, outlook_));
    std::erase_if(sections, [](const auto& section) { return section.blocks.empty(); });
    return sections;
  }

 private:
  double XOf(const Cell& cell) const {
    const Level& level = plan_.LevelOf(cell, layout_.x);
    return axes_[layout_.x].numeric() ? *level.number : cell.levels[layout_.x];
  }

  void AddMeasure(const PlottedMeasure& measure, document::Section& section) {
    size_t panel = 0;
    for (const auto& [key, cells] : PanelsOf(plan_, layout_.panels)) {
      if (++panel > kMostPanels) break;
      document::LineChart plot{
          .x = AxisOf(axes_[layout_.x]), .y = measure.axis, .series = {}, .references = {}};
      std::map<int, document::Series> series;
      bool any = false;
      for (const size_t cell : cells) {
        const int level = layout_.series ? plan_.cells()[cell].levels[*layout_.series] : 0;
        document::Series& line = series[level];
        // Between names there is nothing.
        line.connected = axes_[layout_.x].numeric();
        const CellFigure figure = FigureOf(plan_, outlook_, cell, measure.name);
        any = any || !figure.samples.empty();
        if (figure.ids.empty()) continue;
        line.points.push_back(PointOf(figure, XOf(plan_.cells()[cell]), measure.factor));
      }
      if (!any) continue;
      for (auto& [level, line] : series) {
        line.name = layout_.series
                        ? axes_[*layout_.series].name + " " +
                              axes_[*layout_.series].levels[static_cast<size_t>(level)].label
                        : measure.axis.label;
        std::ranges::stable_sort(line.points, {}, &document::Point::x);
        plot.series.push_back(std::move(line));
      }
      section.blocks.push_back(
          document::Chart{.title = measure.title + PanelName(plan_, layout_.panels, key),
                          .caption = "Mean over the seeds of each cell.",
                          .plot = std::move(plot)});
    }
  }

  document::Section Sweeps() const {
    const v1::TuneSpec& tune = plan_.file().spec.tune();
    document::Section section{.heading = "Tuning", .blocks = {}};
    document::LineChart plot{
        .x = Plain(tune.path()), .y = Plain(tune.measure()), .series = {}, .references = {}};
    plot.x.scale = document::AxisScale::kLog10;
    const double factor = IsAccuracy(tune.measure()) ? 100 : 1;
    if (factor != 1) plot.y.unit = "%";
    std::vector<document::Series> all;
    for (size_t cell = 0; cell < outlook_.tuned().size(); ++cell) {
      const Tuned& tuned = outlook_.tuned()[cell];
      document::Series series{.name = plan_.Describe(plan_.cells()[cell]), .points = {}};
      for (const auto& [value, measure] : tuned.tried) {
        const TrialResult* trial = TrialThatTried(cell, value);
        if (trial == nullptr) continue;  // it has not ended
        const bool finished = trial->record->end == TrialEnd::kFinished;
        if (tuned.value == value) series.optimum = series.points.size();
        series.points.push_back(
            {.x = value,
             .y = measure * factor,
             .interval = std::nullopt,
             .evidence = {.seeds = 1,
                          .runs = {trial->id},
                          .note = finished ? "" : TrialEndName(trial->record->end)},
             .lost = !finished             ? TrialEndName(trial->record->end)
                     : std::isinf(measure) ? "not reached"
                                           : "no value"});
      }
      if (!series.points.empty()) all.push_back(std::move(series));
    }
    AddInParts({.title = "What was tried, one seed each",
                .caption = "The best of each cell, which its trials were given, is marked.",
                .plot = std::move(plot)},
               all, section);
    return section;
  }

  // The whole run, if it has ended, by which a cell was tuned.
  const TrialResult* TrialThatTried(size_t cell, double value) const {
    for (const TrialResult& one : outlook_.OfCell(cell)) {
      const bool whole = one.trial.tuning && !one.trial.rung;
      if (whole && one.trial.tuned == value && one.record != nullptr) return &one;
    }
    return nullptr;
  }

  // Accuracy at the evaluations, mean over the seeds.
  document::Section Curves() const {
    document::Section section{.heading = "Learning curves", .blocks = {}};
    document::LineChart plot{.x = Plain("samples seen"),
                             .y = Plain("test accuracy", "%"),
                             .series = {},
                             .references = {}};
    std::vector<document::Series> all;
    for (size_t cell = 0; cell < plan_.cells().size(); ++cell) {
      std::map<int64_t, CellFigure> at;
      for (const TrialResult& one : outlook_.OfCell(cell)) {
        if (one.trial.tuning || one.record == nullptr) continue;
        for (const Evaluation& evaluation : one.record->test) {
          if (!std::isfinite(evaluation.accuracy)) continue;
          CellFigure& figure = at[evaluation.samples];
          figure.samples[one.trial.seed] = evaluation.accuracy;
          figure.ids.push_back(one.id);
        }
      }
      if (at.size() < 2) continue;
      document::Series series{.name = plan_.Describe(plan_.cells()[cell]), .points = {}};
      for (const auto& [samples, figure] : at) {
        series.points.push_back(PointOf(figure, static_cast<double>(samples), 100));
      }
      all.push_back(std::move(series));
    }
    AddInParts({.title = "Test accuracy over training",
                .caption = "Mean over the seeds of each cell.",
                .plot = std::move(plot)},
               all, section);
    return section;
  }

  const Plan& plan_;
  const Outlook& outlook_;
  const std::vector<Axis>& axes_;
  Layout layout_;
};

}  // namespace

std::vector<document::Section> ChartSections(const Plan& plan, const Outlook& outlook) {
  return Charts(plan, outlook).Run();
}

}  // namespace syncbn::study
