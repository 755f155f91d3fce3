// Kernels of the loss. Nothing is done for 0 samples.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace syncbn::backend::cuda::kernels {

struct LossArguments {
  const float* logits = nullptr;    // [samples, classes]
  const int32_t* labels = nullptr;  // [samples]
  double smoothing = 0, scale = 1;
  double* losses = nullptr;   // [samples]
  double* correct = nullptr;  // [samples]
  float* dlogits = nullptr;   // [samples, classes], or null
  int64_t samples = 0, classes = 0;
};
// Softmax cross-entropy (executor.h). Loss and gradient of a sample whose label is no class are
// NaN.
void SoftmaxCrossEntropy(cudaStream_t stream, const LossArguments& arguments);

// total[0] += values, one after the other.
void AddSum(cudaStream_t stream, const double* values, int64_t elements, double* total);

}  // namespace syncbn::backend::cuda::kernels
