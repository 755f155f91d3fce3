#include "study/cell_figure.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/text.h"
#include "study/paired.h"
#include "study/statistics/verdict.h"

namespace syncbn::study {
namespace {

std::string Number(double value, bool percent) {
  char text[48];
  std::snprintf(text, sizeof text, percent ? "%.2f" : "%.4g", percent ? 100 * value : value);
  return text;
}

}  // namespace

std::string NameOf(const Plan& plan, size_t cell) {
  const std::string text = plan.Describe(plan.cells()[cell]);
  return text.empty() ? "the run file as it is" : text;
}

std::vector<double> CellFigure::Values() const {
  std::vector<double> values;
  for (const auto& [seed, value] : samples) values.push_back(value);
  return values;
}

Interval CellFigure::MeanOf() const {
  Interval interval = MeanInterval(Values());
  interval.low = std::max(interval.low, possible.low);
  interval.high = std::min(interval.high, possible.high);
  return interval;
}

std::string CellFigure::Text(const std::string& measure) const {
  return Text(measure, samples.size() >= 2);
}

std::string CellFigure::HeadText(const std::string& measure) const {
  const std::string text = Text(measure, samples.size() >= kFewestSeeds);
  if (not_reached > 0 || samples.empty() || samples.size() >= kFewestSeeds) return text;
  return text + " of " + Plural(static_cast<long long>(samples.size()), "seed");
}

std::string CellFigure::Text(const std::string& measure, bool with_interval) const {
  // The mean of those that reached it would be that of the lucky ones.
  if (not_reached > 0) {
    return "not reached by " + std::to_string(not_reached) + " of " + std::to_string(ids.size());
  }
  const bool percent = IsAccuracy(measure);
  const std::vector<double> values = Values();
  if (values.empty()) return "-";
  const std::string unit = percent ? " %" : measure.starts_with("seconds") ? " s" : "";
  if (values.size() == 1) return Number(values[0], percent) + unit;
  const Interval interval = MeanOf();
  const std::string mean = Number(interval.estimate, percent) + unit;
  if (!with_interval) return mean;
  return mean + " [" + Number(interval.low, percent) + ", " + Number(interval.high, percent) + "]";
}

CellFigure FigureOf(const Plan& plan, const Outlook& outlook, size_t cell,
                    const std::string& measure) {
  CellFigure figure{.possible = PossibleRangeOf(measure)};
  for (const TrialResult& one : outlook.OfCell(cell)) {
    if (one.trial.tuning || one.record == nullptr) continue;
    figure.ids.push_back(one.id);
    figure.diverged += one.record->end == TrialEnd::kDiverged ? 1 : 0;
    if (one.record->end == TrialEnd::kFailed) {
      ++figure.failed;
      continue;
    }
    const Sample sample = SampleOf(outlook, measure, one);
    if (sample.beyond != Beyond::kNo) {
      ++figure.not_reached;
      figure.ends[one.trial.seed] = sample.value;
    } else if (std::isfinite(sample.value)) {
      figure.samples[one.trial.seed] = sample.value;
    }
  }
  return figure;
}

}  // namespace syncbn::study
