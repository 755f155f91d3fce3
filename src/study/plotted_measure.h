// What plots of a study's cells share: the measures they show, their points, and their panels.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "study/cell_figure.h"
#include "study/document/chart.h"
#include "study/plan.h"

namespace syncbn::study {

// Plots of one measure, at most: more are not looked at.
inline constexpr size_t kMostPanels = 6;

struct PlottedMeasure {
  std::string name;  // MeasureOf
  std::string title;
  document::Axis axis;
  double factor = 1;  // the axis shows the measure times this
};

// Those of every study, of its targets, of its claims and of its tuning, in the order in which they
// are shown.
std::vector<PlottedMeasure> Plotted(const v1::StudySpec& study);

// On a linear scale as wide as its points need.
document::Axis Plain(std::string label, std::string unit = "");

// A cell's mean with its interval and the runs behind it; not finite where it was not measured, has
// diverged or was not reached.
document::Point PointOf(const CellFigure& figure, double x, double factor);

// The cells of each combination of levels of these axes, of which there is a plot each.
std::map<std::vector<int>, std::vector<size_t>> PanelsOf(const Plan& plan,
                                                         const std::vector<size_t>& axes);
// " (norm BN, rate 0.1)"; nothing where there are no such axes.
std::string PanelName(const Plan& plan, const std::vector<size_t>& axes,
                      const std::vector<int>& levels);

}  // namespace syncbn::study
