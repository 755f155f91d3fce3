#include "train/probes/running_error.h"

#include <cmath>
#include <string>
#include <vector>

#include "train/probes/layer_figures.h"

namespace syncbn::train {
namespace {

constexpr const char* kMean = "mean";
constexpr const char* kLogVariance = "log_variance";

}  // namespace

RunningError RunningErrorOf(int64_t channels, std::span<const double> running,
                            std::span<const double> population) {
  double means = 0, logs = 0, counted = 0;
  for (size_t c = 0; c < static_cast<size_t>(channels); ++c) {
    const size_t v = static_cast<size_t>(channels) + c;
    const double variance = population[v];
    if (variance == 0) continue;
    const double mean = running[c] - population[c];
    const double log_variance = std::log(running[v] / variance);
    means += mean * mean / variance;
    logs += log_variance * log_variance;
    counted += 1;
  }
  return {.mean = std::sqrt(means / counted), .log_variance = std::sqrt(logs / counted)};
}

RunningErrorProbe::RunningErrorProbe(const v1::RunningErrorSpec& spec,
                                     const nn::RunningStatisticsLayout& layout)
    : PeriodicProbe(spec.every_steps()), spec_(spec) {
  std::vector<std::string> names;
  for (const nn::NormStatistics& norm : layout.norms()) {
    if (norm.tracked) names.push_back(norm.name);
  }
  tracked_ = !names.empty();
  CheckLayerFigures(name(), names, kLogVariance);
}

NamedFigures RunningErrorProbe::Look(const ProbedStep& step) {
  const Tensor precise = step.precise_statistics(spec_.samples()).OnHost();
  const Tensor running = step.running_statistics.OnHost();
  NamedFigures figures;
  for (const nn::NormStatistics& norm : step.model->running_statistics().norms()) {
    if (!norm.tracked) continue;
    const RunningError error =
        RunningErrorOf(norm.channels, norm.ChannelRunning(running.Span<double>()),
                       norm.ChannelRunning(precise.Span<double>()));
    figures[LayerFigure(name(), norm.name, kMean)] = error.mean;
    figures[LayerFigure(name(), norm.name, kLogVariance)] = error.log_variance;
  }
  return figures;
}

}  // namespace syncbn::train
