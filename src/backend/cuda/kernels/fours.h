// Four neighbouring elements at a time, whatever the address: which elements a thread treats, and
// so the order of a sum, does not depend on how a tensor is aligned.
#pragma once

#include <cstdint>

#include "kernel_language.h"

namespace syncbn::backend::cuda::kernels {

SYNCBN_HOST_DEVICE bool IsAligned16(const void* address) {
  return reinterpret_cast<uintptr_t>(address) % 16 == 0;
}

// Elements i .. i + 3 of the `elements` at x, 0 beyond them. `aligned`: x + i is a multiple of 16
// bytes.
SYNCBN_DEVICE Vector<float, 4> LoadFour(const float* x, int64_t i, int64_t elements, bool aligned) {
  if (aligned && i + 4 <= elements) return LoadVector<4>(x + i);
  Vector<float, 4> four;
  SYNCBN_UNROLL
  for (int k = 0; k < 4; ++k) four[k] = i + k < elements ? Load(x + i + k) : 0.0F;
  return four;
}
SYNCBN_DEVICE void StoreFour(float* x, int64_t i, int64_t elements, bool aligned,
                             const Vector<float, 4>& four) {
  if (aligned && i + 4 <= elements) {
    StoreVector(x + i, four);
    return;
  }
  SYNCBN_UNROLL
  for (int k = 0; k < 4; ++k) {
    if (i + k < elements) Store(x + i + k, four[k]);
  }
}

}  // namespace syncbn::backend::cuda::kernels
