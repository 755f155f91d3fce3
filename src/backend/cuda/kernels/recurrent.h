// Kernels of recurrent layers; see backend::Executor. Nothing is done for 0 samples.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace syncbn::backend::cuda::kernels {

// y[i] = tanh(a[i] + b[i])
void TanhOfSum(cudaStream_t stream, const float* a, const float* b, float* y, int64_t elements);

// A cell is [samples, hidden]; gates i, f, g and o of a sample lie side by side, [samples, 4,
// hidden].
struct LstmShape {
  int64_t samples, hidden;
};
// gates may be b.
void LstmCell(cudaStream_t stream, LstmShape shape, const float* a, const float* b,
              const float* before, float* gates, float* cell);
// tanh_u may be u.
void LstmState(cudaStream_t stream, LstmShape shape, const float* gates, const float* u,
               float* tanh_u, float* state);
void LstmStateBackward(cudaStream_t stream, LstmShape shape, const float* gates,
                       const float* tanh_u, const float* dstate, float* du);
struct LstmBackward {
  const float *gates, *before, *tanh_u, *dstate, *dcell;
  float *dsum, *dbefore;  // dbefore may be dcell
};
void LstmCellBackward(cudaStream_t stream, LstmShape shape, const LstmBackward& tensors);

}  // namespace syncbn::backend::cuda::kernels
