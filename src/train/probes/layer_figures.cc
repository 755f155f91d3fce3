#include "train/probes/layer_figures.h"

#include "base/error.h"
#include "train/metric_record.h"

namespace syncbn::train {

std::string LayerFigure(std::string_view probe, std::string_view layer, std::string_view what) {
  std::string name(probe);
  name.append(".").append(layer).append(".").append(what);
  return name;
}

void CheckLayerFigures(std::string_view probe, std::span<const std::string> layers,
                       std::string_view longest) {
  for (const std::string& layer : layers) {
    try {
      MetricRecord().AddFigures({{LayerFigure(probe, layer, longest), 0}});
    } catch (const Error& error) {
      throw Error(error.code(), "probes." + std::string(probe) + ": " + error.message());
    }
  }
}

void CheckLayerFigures(std::string_view probe, std::span<const nn::LayerOutput> layers,
                       std::string_view longest) {
  std::vector<std::string> names;
  for (const nn::LayerOutput& layer : layers) names.push_back(layer.layer);
  CheckLayerFigures(probe, names, longest);
}

}  // namespace syncbn::train
