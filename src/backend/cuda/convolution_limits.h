// What a convolution is called in messages, and whether cuDNN can be told its sizes.
#pragma once

#include <string>

#include "backend/specs.h"

namespace syncbn::backend::cuda {

// "convolution 64 -> 128, window 3 x 3, stride 1 x 1, padding 1 x 1, groups 1, of [32, 56, 56, 64]"
std::string ConvolutionName(const Conv2dSpec& spec, const Shape& x);

// Throws INVALID_ARGUMENT where the convolution's input, output or filter has more elements than
// cuDNN counts, in 32 bits. An extent is never more than those, nor are strides and paddings of a
// window that fits.
void CheckFitsCudnn(const Conv2dSpec& spec, const Shape& x);

}  // namespace syncbn::backend::cuda
