// Names of figures of layers: "activations.layer1.0.conv1.mean".
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nn/model.h"

namespace syncbn::train {

std::string LayerFigure(std::string_view probe, std::string_view layer, std::string_view what);

// Throws INVALID_ARGUMENT, naming the probe's key, where a layer's name is none for a figure or too
// long; `longest` is the longest `what`.
void CheckLayerFigures(std::string_view probe, std::span<const std::string> layers,
                       std::string_view longest);
void CheckLayerFigures(std::string_view probe, std::span<const nn::LayerOutput> layers,
                       std::string_view longest);

}  // namespace syncbn::train
