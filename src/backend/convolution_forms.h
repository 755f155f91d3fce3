// How convolutions are computed on a CPU; part of the result, like a precision.
#pragma once

#include <cstdint>

namespace syncbn::backend {

//   kDirect  by their definition
//   kAuto    those of 3 x 3 and stride 1 by Winograd's minimal filtering where that is faster, by
//            shapes and instruction set alone; all others by their definition
enum class ConvolutionForms : uint8_t { kDirect, kAuto };

}  // namespace syncbn::backend
