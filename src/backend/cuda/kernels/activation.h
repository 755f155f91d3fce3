// Kernels of activations. Sizes are in elements; nothing is done for 0. T: float or BFloat16.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "backend/specs.h"

namespace syncbn::backend::cuda::kernels {

// y[i] = f(x[i]); y may be x. Throws UNIMPLEMENTED for a kind that is none.
template <typename T>
void Activate(cudaStream_t stream, ActivationKind kind, const T* x, T* y, int64_t elements);
// dx[i] = dy[i] f'(.), from kept[i]: the input where IsFromInput(kind), else the output. dx may be
// dy.
template <typename T>
void ActivateBackward(cudaStream_t stream, ActivationKind kind, const T* kept, const T* dy, T* dx,
                      int64_t elements);

}  // namespace syncbn::backend::cuda::kernels
