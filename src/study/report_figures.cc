#include "study/report_figures.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "study/cell_figure.h"
#include "study/figures.h"
#include "study/plotted_measure.h"

namespace syncbn::study {
namespace {

// More lines than these are not told apart, and more plots are not looked at.
constexpr size_t kMostSeries = 8;
constexpr size_t kMostPlots = 12;

// Of a probe: 1 where its other figures of that step are biased.
constexpr std::string_view kBiased = "biased";

// "activations.fc1.mean": probe "activations", layer "fc1", what "mean". A name of two parts has no
// layer.
struct Name {
  std::string probe, layer, what;
};

Name Split(const std::string& name) {
  const size_t first = name.find('.'), last = name.rfind('.');
  if (first == std::string::npos) return {.probe = name, .layer = "", .what = ""};
  if (first == last)
    return {.probe = name.substr(0, first), .layer = "", .what = name.substr(first + 1)};
  return {.probe = name.substr(0, first),
          .layer = name.substr(first + 1, last - first - 1),
          .what = name.substr(last + 1)};
}

// A scale on which all can be told apart: what is above 0 and goes over decades is shown by its
// logarithm.
void ScaleByValues(document::LineChart& plot) {
  constexpr double kMostOnALinearAxis = 100;
  double least = std::numeric_limits<double>::infinity(), most = 0;
  for (const document::Series& series : plot.series) {
    for (const document::Point& point : series.points) {
      if (!std::isfinite(point.y)) continue;
      least = std::min(least, point.y);
      most = std::max(most, point.y);
    }
  }
  if (least > 0 && most > kMostOnALinearAxis * least) plot.y.scale = document::AxisScale::kLog10;
}

class ProbePlots {
 public:
  ProbePlots(const Plan& plan, const Outlook& outlook) : plan_(plan), outlook_(outlook) {
    for (const TrialResult& one : outlook.trials()) {
      if (one.trial.tuning || one.record == nullptr) continue;
      for (const auto& [name, course] : one.record->figures) names_.insert(name);
    }
  }

  document::Section Run() {
    document::Section section{.heading = "Probes", .blocks = {}};
    std::map<std::pair<std::string, std::string>, std::set<std::string>> layers;
    for (const std::string& name : names_) {
      const Name parts = Split(name);
      if (!parts.layer.empty()) layers[{parts.probe, parts.what}].insert(parts.layer);
    }
    for (const std::string& name : names_) {
      const Name parts = Split(name);
      // A middle part that stands alone is no layer.
      if (!parts.layer.empty() && layers[{parts.probe, parts.what}].size() > 1) continue;
      if (parts.what == kBiased) continue;  // is said of the others
      if (section.blocks.size() < kMostPlots) AddCourse(name, section);
    }
    for (const auto& [key, of] : layers) {
      if (of.size() > 1 && section.blocks.size() < kMostPlots) {
        AddLayers(key.first, key.second, {of.begin(), of.end()}, section);
      }
    }
    return section;
  }

 private:
  size_t Cells() const { return std::min(plan_.cells().size(), kMostSeries); }

  std::string Caption() const {
    return plan_.cells().size() > kMostSeries
               ? "Mean over the seeds of each cell; the first " + std::to_string(kMostSeries) +
                     " of " + std::to_string(plan_.cells().size()) + " cells."
               : "Mean over the seeds of each cell.";
  }

  static bool IsBiased(const TrialRecord& record, const std::string& name) {
    const auto found = record.figures.find(Split(name).probe + "." + std::string(kBiased));
    return found != record.figures.end() &&
           std::ranges::any_of(found->second, [](const auto& at) { return at.second > 0; });
  }

  void AddCourse(const std::string& name, document::Section& section) const {
    document::LineChart plot{.x = Plain("steps"), .y = Plain(name), .series = {}, .references = {}};
    for (size_t cell = 0; cell < Cells(); ++cell) {
      std::map<int64_t, CellFigure> at;
      bool biased = false;
      for (const TrialResult& one : outlook_.OfCell(cell)) {
        if (one.trial.tuning || one.record == nullptr) continue;
        const auto found = one.record->figures.find(name);
        if (found == one.record->figures.end()) continue;
        biased = biased || IsBiased(*one.record, name);
        for (const auto& [steps, value] : found->second) {
          if (!std::isfinite(value)) continue;
          at[steps].samples[one.trial.seed] = value;
          at[steps].ids.push_back(one.id);
        }
      }
      document::Series series{.name = NameOf(plan_, cell) + (biased ? " (biased)" : ""),
                              .points = {}};
      for (const auto& [steps, figure] : at) {
        series.points.push_back(PointOf(figure, static_cast<double>(steps), 1));
        if (biased) series.points.back().evidence.note = "biased";
      }
      if (!series.points.empty()) plot.series.push_back(std::move(series));
    }
    if (plot.series.empty()) return;
    ScaleByValues(plot);
    section.blocks.push_back(document::Chart{
        .title = name + " over training", .caption = Caption(), .plot = std::move(plot)});
  }

  // The last figure of each layer.
  void AddLayers(const std::string& probe, const std::string& what, std::vector<std::string> layers,
                 document::Section& section) const {
    std::ranges::sort(layers, [](const auto& a, const auto& b) { return EarlierLayer(a, b); });
    document::LineChart plot{.x = Plain("layer"), .y = Plain(what), .series = {}, .references = {}};
    plot.x.categories = layers;
    for (size_t cell = 0; cell < Cells(); ++cell) {
      document::Series series{.name = NameOf(plan_, cell), .points = {}};
      for (size_t layer = 0; layer < layers.size(); ++layer) {
        const std::string name = probe + "." + layers[layer] + "." + what;
        CellFigure figure;
        for (const TrialResult& one : outlook_.OfCell(cell)) {
          if (one.trial.tuning || one.record == nullptr) continue;
          const auto found = one.record->figures.find(name);
          if (found == one.record->figures.end() || found->second.empty()) continue;
          const double value = found->second.back().second;
          if (!std::isfinite(value)) continue;
          figure.samples[one.trial.seed] = value;
          figure.ids.push_back(one.id);
        }
        if (figure.samples.empty()) continue;
        series.points.push_back(PointOf(figure, static_cast<double>(layer), 1));
      }
      if (!series.points.empty()) plot.series.push_back(std::move(series));
    }
    if (plot.series.empty()) return;
    ScaleByValues(plot);
    section.blocks.push_back(
        document::Chart{.title = probe + ": " + what + " of each layer, at the end",
                        .caption = Caption(),
                        .plot = std::move(plot)});
  }

  const Plan& plan_;
  const Outlook& outlook_;
  std::set<std::string> names_;
};

}  // namespace

document::Section ProbeSection(const Plan& plan, const Outlook& outlook) {
  return ProbePlots(plan, outlook).Run();
}

document::Section TimeSection(const Plan& plan, const Outlook& outlook) {
  constexpr size_t kMostBars = 40;
  const std::vector<std::pair<const char*, const char*>> parts = {
      {"ms_compute", "computing"},
      {"ms_statistics", "waiting for statistics"},
      {"ms_gradients", "waiting for gradients"},
      {"ms_data", "waiting for data"}};
  document::Section section{.heading = "Time", .blocks = {}};
  document::ShareChart plot{.label = "time of a step", .unit = "ms", .parts = {}, .bars = {}};
  for (const auto& [name, words] : parts) plot.parts.emplace_back(words);
  for (size_t cell = 0; cell < std::min(plan.cells().size(), kMostBars); ++cell) {
    document::Bar bar{
        .name = NameOf(plan, cell), .values = std::vector<double>(parts.size(), 0), .evidence = {}};
    for (const TrialResult& one : outlook.OfCell(cell)) {
      if (one.trial.tuning || one.record == nullptr || one.record->steps == 0) continue;
      if (!one.record->timings.contains("ms_compute")) continue;
      ++bar.evidence.seeds;
      bar.evidence.runs.push_back(one.id);
      for (size_t part = 0; part < parts.size(); ++part) {
        const auto found = one.record->timings.find(parts[part].first);
        const double all = found == one.record->timings.end() ? 0 : found->second;
        bar.values[part] += all / static_cast<double>(one.record->steps);
      }
    }
    if (bar.evidence.seeds == 0) continue;
    for (double& value : bar.values) value /= bar.evidence.seeds;
    plot.bars.push_back(std::move(bar));
  }
  if (plot.bars.empty()) return section;
  section.blocks.push_back(document::Chart{
      .title = "What the time of a step is made of",
      .caption = "Mean over the steps and the seeds of each cell, replica 0's process.",
      .plot = std::move(plot)});
  return section;
}

}  // namespace syncbn::study
