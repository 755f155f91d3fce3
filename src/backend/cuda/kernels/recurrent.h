// Kernels of recurrent layers; see backend::Executor. Nothing is done for 0 samples.
// T: float or BFloat16.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace syncbn::backend::cuda::kernels {

// y[i] = tanh(a[i] + b[i])
template <typename T>
void TanhOfSum(cudaStream_t stream, const T* a, const T* b, T* y, int64_t elements);

// A cell is [samples, hidden]; gates i, f, g and o of a sample lie side by side, [samples, 4,
// hidden].
struct LstmShape {
  int64_t samples, hidden;
};
// gates may be b.
template <typename T>
void LstmCell(cudaStream_t stream, LstmShape shape, const T* a, const T* b, const T* before,
              T* gates, T* cell);
// tanh_u may be u.
template <typename T>
void LstmState(cudaStream_t stream, LstmShape shape, const T* gates, const T* u, T* tanh_u,
               T* state);
template <typename T>
void LstmStateBackward(cudaStream_t stream, LstmShape shape, const T* gates, const T* tanh_u,
                       const T* dstate, T* du);
template <typename T>
struct LstmBackward {
  const T *gates, *before, *tanh_u, *dstate, *dcell;
  T *dsum, *dbefore;  // dbefore may be dcell
};
template <typename T>
void LstmCellBackward(cudaStream_t stream, LstmShape shape, const LstmBackward<T>& tensors);

}  // namespace syncbn::backend::cuda::kernels
