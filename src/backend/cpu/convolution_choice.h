// Which convolutions Winograd's form is faster for, and with which tile: a function of shapes and
// instruction set, never of a clock, so that all processes and replicas choose alike, today and
// tomorrow.
#pragma once

#include <optional>

#include "backend/cpu/kernels/kernel_table.h"
#include "backend/specs.h"

namespace syncbn::backend::cpu {

enum class ConvolutionPass { kForward, kBackwardInput, kBackwardWeights };

// The tile; none for the direct form. Forward and the gradient of the input do not look at the
// number of images, so that an image has the same result in every batch. A tile is chosen only
// where it keeps the rule of accuracy of winograd.h for inputs that are not mostly zeros.
std::optional<WinogradTile> ChooseWinograd(ConvolutionPass pass, const Conv2dSpec& spec,
                                           const Shape& x, Isa isa);

}  // namespace syncbn::backend::cpu
