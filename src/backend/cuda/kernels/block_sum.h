// Sums over the threads of a block, in one fixed order.
#pragma once

#include "kernel_language.h"

namespace syncbn::backend::cuda::kernels {

// The sum of the values of a warp's lanes, for each of them.
template <typename T>
SYNCBN_DEVICE T WarpSum(T value) {
  SYNCBN_UNROLL
  for (int mask = kWarp / 2; mask > 0; mask /= 2) value += ShuffleXor(value, mask);
  return value;
}

// The sum of the values of all threads, for each of them: pairs of lanes, then the warps one after
// the other. All threads call it; it has two barriers.
template <typename T>
SYNCBN_DEVICE T BlockSum(T value) {
  SYNCBN_SHARED(T, of_warps, kWarp);
  value = WarpSum(value);
  Barrier();  // the last sum is read
  if (Lane() == 0) of_warps[Warp()] = value;
  Barrier();
  T sum = of_warps[0];
  for (int warp = 1; warp < Threads() / kWarp; ++warp) sum += of_warps[warp];
  return sum;
}

}  // namespace syncbn::backend::cuda::kernels
