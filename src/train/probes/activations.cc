#include "train/probes/activations.h"

#include <cmath>
#include <string>
#include <vector>

#include "train/probes/layer_figures.h"

namespace syncbn::train {

MeanAndStd OverAllChannels(const OutputStatistics& output) {
  const double channels = static_cast<double>(output.channels());
  double mean = 0;
  for (const double of_channel : output.mean()) mean += of_channel;
  mean /= channels;
  double m2 = 0;
  for (size_t c = 0; c < output.channels(); ++c) {
    const double apart = output.mean()[c] - mean;
    m2 += output.m2()[c] + output.count() * apart * apart;
  }
  // Without elements both are 0 / 0.
  const double elements = output.count() * channels;
  return {.mean = elements > 0 ? mean : std::nan(""), .std = std::sqrt(m2 / elements)};
}

ActivationsProbe::ActivationsProbe(int64_t every_steps, const nn::Model& unfused)
    : PeriodicProbe(every_steps),
      meter_(unfused.outputs(), {.saturation = true, .gradients = true}) {
  CheckLayerFigures(name(), meter_.layers(), "saturated");
}

NamedFigures ActivationsProbe::Look(const ProbedStep& step) {
  int64_t batch = 0;
  for (const ReplicaGradient& replica : step.replicas) batch += replica.samples;
  const std::vector<OutputStatistics> outputs = meter_.Measure(step, step.parameters);
  NamedFigures figures;
  for (size_t i = 0; i < outputs.size(); ++i) {
    const OutputStatistics& output = outputs[i];
    const nn::LayerOutput& layer = meter_.layers()[i];
    const auto figure = [&](const char* what) -> double& {
      return figures[LayerFigure(name(), layer.layer, what)];
    };
    const MeanAndStd all = OverAllChannels(output);
    figure("mean") = all.mean;
    figure("std") = all.std;
    if (layer.activation) figure("saturated") = output.saturated;
    const double elements = output.count() * static_cast<double>(output.channels());
    figure("gradient") = static_cast<double>(batch) * std::sqrt(output.squared_gradient / elements);
  }
  return figures;
}

}  // namespace syncbn::train
