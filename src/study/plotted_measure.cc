#include "study/plotted_measure.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "base/text.h"
#include "study/measures.h"

namespace syncbn::study {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

}  // namespace

document::Axis Plain(std::string label, std::string unit) {
  return {.label = std::move(label),
          .unit = std::move(unit),
          .scale = document::AxisScale::kLinear,
          .low = std::nullopt,
          .high = std::nullopt,
          .categories = {}};
}

std::vector<PlottedMeasure> Plotted(const v1::StudySpec& study) {
  std::vector<PlottedMeasure> all = {
      {"test_accuracy", "Test accuracy at the end", Plain("test accuracy", "%"), 100},
      {"gap", "Generalization gap: test loss minus train loss", Plain("gap"), 1}};
  for (const v1::TargetSpec& target : study.targets()) {
    PlottedMeasure one{"steps_to " + target.name(), "Steps to " + target.name(), Plain("steps"), 1};
    one.axis.scale = document::AxisScale::kLog2;
    all.push_back(std::move(one));
    if (study.at_once() != 1) continue;  // times are of one at a time
    PlottedMeasure time{"seconds_to " + target.name(), "Time to " + target.name(),
                        Plain("seconds", "s"), 1};
    time.axis.scale = document::AxisScale::kLog2;
    all.push_back(std::move(time));
  }
  if (study.at_once() == 1) {
    all.push_back({"samples_per_second", "Throughput", Plain("training samples per second"), 1});
  }
  for (const std::string& measure : AskedMeasures(study)) {
    const bool known =
        std::ranges::any_of(all, [&](const PlottedMeasure& one) { return one.name == measure; });
    const bool accuracy = IsAccuracy(measure);
    if (known) continue;
    all.push_back({measure, measure, Plain(measure, accuracy ? "%" : ""), accuracy ? 100.0 : 1.0});
  }
  if (study.has_tune()) {
    PlottedMeasure one{"tuned", "Best " + study.tune().path(), Plain(study.tune().path()), 1};
    one.axis.scale = document::AxisScale::kLog10;
    all.push_back(std::move(one));
  }
  return all;
}

document::Point PointOf(const CellFigure& figure, double x, double factor) {
  document::Point point{.x = x, .y = kNone, .interval = std::nullopt, .evidence = {}};
  point.evidence.seeds = static_cast<int>(figure.samples.size());
  point.evidence.runs = figure.ids;
  if (figure.diverged > 0) {
    point.evidence.note = std::to_string(figure.diverged) + " diverged";
  }
  if (figure.failed > 0) {
    point.evidence.note +=
        (point.evidence.note.empty() ? "" : ", ") + std::to_string(figure.failed) + " failed";
    if (figure.samples.empty()) point.lost = "failed";
  }
  if (figure.not_reached > 0) {
    point.lost = "not reached";
    point.evidence.seeds = static_cast<int>(figure.ids.size());
    point.evidence.note = "not reached by " + std::to_string(figure.not_reached) + " of " +
                          std::to_string(figure.ids.size());
    return point;
  }
  const std::vector<double> values = figure.Values();
  if (values.size() >= 2) {
    const Interval interval = figure.MeanOf();
    point.y = interval.estimate * factor;
    point.interval = document::Interval{interval.low * factor, interval.high * factor};
  } else if (!values.empty()) {
    point.y = values[0] * factor;
  }
  return point;
}

std::map<std::vector<int>, std::vector<size_t>> PanelsOf(const Plan& plan,
                                                         const std::vector<size_t>& axes) {
  std::map<std::vector<int>, std::vector<size_t>> panels;
  for (size_t cell = 0; cell < plan.cells().size(); ++cell) {
    std::vector<int> key;
    for (const size_t axis : axes) key.push_back(plan.cells()[cell].levels[axis]);
    panels[key].push_back(cell);
  }
  return panels;
}

std::string PanelName(const Plan& plan, const std::vector<size_t>& axes,
                      const std::vector<int>& levels) {
  std::vector<std::string> parts;
  for (size_t i = 0; i < axes.size(); ++i) {
    const Axis& axis = plan.file().axes[axes[i]];
    parts.push_back(axis.name + " " + axis.levels[static_cast<size_t>(levels[i])].label);
  }
  return parts.empty() ? "" : " (" + Join(parts, ", ") + ")";
}

}  // namespace syncbn::study
