// Kernels that change parameters.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "backend/update_specs.h"

namespace syncbn::backend::cuda::kernels {

// What the elements of a part are updated with, in float32: made on the device, where verdict,
// norms and the number of updates are.
struct PartFactors {
  float moves;           // 0: nothing does
  float gradient_scale;  // with trust
  float keep;            // of the weight, with decoupled decay
  float decay;           // coupled, with trust; AdamW: root_scale, 1 / sqrt(1 - beta2^n)
  float rate;            // AdamW: rate / (1 - beta1^n)
};
inline constexpr int64_t kPartFactors = sizeof(PartFactors) / sizeof(float);

struct UpdateArguments {
  double learning_rate = 0;
  const double* verdict = nullptr;
  // Sums of squares of the gradients and of the weights of each part; where one has trust.
  const double* gradient_squares = nullptr;
  const double* weight_squares = nullptr;
  const float* gradients = nullptr;
  float* parameters = nullptr;
  float* slots[2] = {};  // spec.slots() of them
  double* updates = nullptr;
  float* factors = nullptr;  // scratch: kPartFactors of each part
};
// All parts of `spec`; see UpdateSpec.
void Update(cudaStream_t stream, const UpdateSpec& spec, const UpdateArguments& arguments);

}  // namespace syncbn::backend::cuda::kernels
