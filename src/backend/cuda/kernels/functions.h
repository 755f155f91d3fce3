// Functions that more than one kernel applies to its elements, in float32. NaN stays NaN.
#pragma once

#include <cmath>

#include "kernel_language.h"

namespace syncbn::backend::cuda::kernels {

// 1 / (1 + e^-x), from e^-|x| so that nothing overflows and small results keep their digits.
SYNCBN_DEVICE float Sigmoid(float x) {
  const float e = std::exp(-std::fabs(x));
  return (x < 0 ? e : 1.0f) / (1.0f + e);
}

}  // namespace syncbn::backend::cuda::kernels
