#include "train/probes/moments_probe.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "train/probes/layer_figures.h"

namespace syncbn::train {
namespace {

constexpr const char* kMeanOverStd = "mean_over_std";
constexpr const char* kLargestMeanOverStd = "largest_mean_over_std";
constexpr const char* kCondition = "condition";
constexpr const char* kConstantChannels = "constant_channels";

}  // namespace

ChannelSpread SpreadOf(std::span<const double> block) {
  const size_t channels = block.size() / 2;
  const std::span<const double> mean = block.subspan(1, channels), m2 = block.subspan(1 + channels);
  ChannelSpread spread;
  double smallest = std::numeric_limits<double>::infinity(), largest = 0;
  int64_t counted = 0;
  for (size_t c = 0; c < channels; ++c) {
    const double std = std::sqrt(m2[c] / block[0]);
    if (!(std > 0)) {
      ++spread.constant_channels;
      continue;
    }
    const double ratio = std::abs(mean[c]) / std;
    spread.mean_over_std += ratio;
    spread.largest_mean_over_std = std::max(spread.largest_mean_over_std, ratio);
    smallest = std::min(smallest, std);
    largest = std::max(largest, std);
    ++counted;
  }
  if (counted == 0) {
    constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
    spread.mean_over_std = spread.largest_mean_over_std = spread.condition = kNone;
    return spread;
  }
  spread.mean_over_std /= static_cast<double>(counted);
  spread.condition = largest / smallest;
  return spread;
}

MomentsProbe::MomentsProbe(int64_t every_steps, const nn::RunningStatisticsLayout& layout)
    : PeriodicProbe(every_steps) {
  std::vector<std::string> names;
  for (const nn::NormStatistics& norm : layout.norms()) names.push_back(norm.name);
  CheckLayerFigures(name(), names, kLargestMeanOverStd);
}

NamedFigures MomentsProbe::Look(const ProbedStep& step) {
  NamedFigures figures;
  const std::span<const double> moments = step.moments.Span<double>();
  for (const nn::NormStatistics& norm : step.model->running_statistics().norms()) {
    const ChannelSpread spread = SpreadOf(norm.ChannelMoments(moments));
    figures[LayerFigure(name(), norm.name, kMeanOverStd)] = spread.mean_over_std;
    figures[LayerFigure(name(), norm.name, kLargestMeanOverStd)] = spread.largest_mean_over_std;
    figures[LayerFigure(name(), norm.name, kCondition)] = spread.condition;
    if (spread.constant_channels > 0) {
      figures[LayerFigure(name(), norm.name, kConstantChannels)] =
          static_cast<double>(spread.constant_channels);
    }
  }
  return figures;
}

}  // namespace syncbn::train
