// Kernels of weight norm.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace syncbn::backend::cuda::kernels {

struct WeightNormArguments {
  const float* v = nullptr;     // [outputs, inputs]
  const float* gain = nullptr;  // [outputs]
  int64_t outputs = 0, inputs = 0;
};
// weight [outputs, inputs], norms [outputs]
void WeightNormForward(cudaStream_t stream, const WeightNormArguments& arguments, float* weight,
                       double* norms);

struct WeightNormGradients {
  float* dv = nullptr;  // or dgain, may be null
  bool accumulate_dv = false;
  float* dgain = nullptr;
  bool accumulate_dgain = false;
};
void WeightNormBackward(cudaStream_t stream, const WeightNormArguments& arguments,
                        const double* norms, const float* dweight,
                        const WeightNormGradients& gradients);

}  // namespace syncbn::backend::cuda::kernels
