#include "study/report_heat_maps.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "study/measures.h"
#include "study/plotted_measure.h"

namespace syncbn::study {
namespace {

constexpr size_t kFewestLevels = 3;

struct MapAxes {
  size_t x = 0, y = 0;
  std::vector<size_t> panels;
};

std::optional<MapAxes> MapAxesOf(const std::vector<Axis>& axes) {
  std::vector<size_t> order(axes.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::erase_if(order, [&](size_t i) { return axes[i].levels.size() < kFewestLevels; });
  if (order.size() < 2) return std::nullopt;
  // Numbers before names.
  std::ranges::stable_sort(order, [&](size_t a, size_t b) {
    if (axes[a].numeric() != axes[b].numeric()) return axes[a].numeric();
    return axes[a].levels.size() > axes[b].levels.size();
  });
  MapAxes chosen{
      .x = std::max(order[0], order[1]), .y = std::min(order[0], order[1]), .panels = {}};
  for (size_t i = 0; i < axes.size(); ++i) {
    if (i != chosen.x && i != chosen.y) chosen.panels.push_back(i);
  }
  return chosen;
}

document::Axis Categories(const Axis& axis) {
  document::Axis shown = Plain(axis.name);
  for (const Level& level : axis.levels) shown.categories.push_back(level.label);
  return shown;
}

class MapOfMeasure {
 public:
  MapOfMeasure(const Plan& plan, const Outlook& outlook, const MapAxes& axes,
               const PlottedMeasure& measure)
      : plan_(plan), outlook_(outlook), axes_(axes), measure_(measure) {}

  document::Chart Draw(const std::vector<int>& key, const std::vector<size_t>& cells) const {
    const std::vector<Axis>& axes = plan_.file().axes;
    document::HeatMap map{.x = Categories(axes[axes_.x]),
                          .y = Categories(axes[axes_.y]),
                          .value = measure_.axis,
                          .cells = {},
                          .optimum = std::nullopt};
    map.cells.resize(map.x.categories.size() * map.y.categories.size());
    double best = 0;
    for (const size_t cell : cells) {
      const auto x = static_cast<size_t>(plan_.cells()[cell].levels[axes_.x]);
      const auto y = static_cast<size_t>(plan_.cells()[cell].levels[axes_.y]);
      const document::Point point =
          PointOf(FigureOf(plan_, outlook_, cell, measure_.name), 0, measure_.factor);
      if (point.evidence.runs.empty()) continue;
      map.cells[y * map.x.categories.size() + x] = {.value = point.y,
                                                    .interval = point.interval,
                                                    .evidence = point.evidence,
                                                    .lost = point.lost};
      if (!std::isfinite(point.y)) continue;
      if (map.optimum && (MoreIsBetter(measure_.name) ? point.y <= best : point.y >= best))
        continue;
      best = point.y;
      map.optimum = document::HeatMap::Index{.x = x, .y = y};
    }
    return {.title = measure_.title + " over " + axes[axes_.y].name + " and " + axes[axes_.x].name +
                     PanelName(plan_, axes_.panels, key),
            .caption = "Mean over the seeds of each cell; the best is marked.",
            .plot = std::move(map)};
  }

 private:
  const Plan& plan_;
  const Outlook& outlook_;
  const MapAxes& axes_;
  const PlottedMeasure& measure_;
};

bool IsMapped(const PlottedMeasure& measure, const v1::StudySpec& study) {
  if (measure.name == "test_accuracy") return true;
  if (study.targets().empty()) return false;
  const std::string& target = study.targets(0).name();
  return measure.name == "steps_to " + target || measure.name == "seconds_to " + target;
}

}  // namespace

std::vector<document::Chart> HeatMaps(const Plan& plan, const Outlook& outlook) {
  std::vector<document::Chart> maps;
  const std::optional<MapAxes> axes = MapAxesOf(plan.file().axes);
  if (!axes) return maps;
  for (const PlottedMeasure& measure : Plotted(plan.file().spec)) {
    if (!IsMapped(measure, plan.file().spec)) continue;
    const MapOfMeasure map(plan, outlook, *axes, measure);
    size_t panel = 0;
    for (const auto& [key, cells] : PanelsOf(plan, axes->panels)) {
      if (++panel > kMostPanels) break;
      maps.push_back(map.Draw(key, cells));
    }
  }
  return maps;
}

}  // namespace syncbn::study
