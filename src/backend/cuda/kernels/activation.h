// Kernels of activations. Sizes are in elements; nothing is done for 0.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "backend/specs.h"

namespace syncbn::backend::cuda::kernels {

// y[i] = f(x[i]); y may be x. Throws UNIMPLEMENTED for a kind that is none.
void Activate(cudaStream_t stream, ActivationKind kind, const float* x, float* y, int64_t elements);
// dx[i] = dy[i] f'(.), from kept[i]: the input where IsFromInput(kind), else the output. dx may be
// dy.
void ActivateBackward(cudaStream_t stream, ActivationKind kind, const float* kept, const float* dy,
                      float* dx, int64_t elements);

}  // namespace syncbn::backend::cuda::kernels
