// Kernels of the loss. Nothing is done for 0 samples.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace syncbn::backend::cuda::kernels {

// Of logits T: float or BFloat16.
template <typename T>
struct LossArguments {
  const T* logits = nullptr;        // [samples, classes]
  const int32_t* labels = nullptr;  // [samples]
  double smoothing = 0, scale = 1;
  double* losses = nullptr;   // [samples]
  double* correct = nullptr;  // [samples]
  T* dlogits = nullptr;       // [samples, classes], or null
  int64_t samples = 0, classes = 0;
};
// Softmax cross-entropy (executor.h). Loss and gradient of a sample whose label is no class are
// NaN.
template <typename T>
void SoftmaxCrossEntropy(cudaStream_t stream, const LossArguments<T>& arguments);

// total[0] += values, one after the other.
void AddSum(cudaStream_t stream, const double* values, int64_t elements, double* total);

}  // namespace syncbn::backend::cuda::kernels
