// Kernels of what decides about a step, and of running statistics.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <span>

#include "backend/update_specs.h"

namespace syncbn::backend::cuda::kernels {

// A tensor whose squares are summed.
struct SquaresOf {
  const float* x = nullptr;
  int64_t elements = 0;
};
// Doubles that SumsOfSquares needs for what it has added up so far.
int64_t SumsOfSquaresScratch(std::span<const SquaresOf> tensors);
// sums[i] = the sum of squares of tensors[i]; 0 without elements.
void SumsOfSquares(cudaStream_t stream, std::span<const SquaresOf> tensors, double* scratch,
                   double* sums);

struct JudgeArguments {
  const double* squares = nullptr;
  int64_t tensors = 0;
  const double* loss = nullptr;  // [1]
  const double* moments = nullptr;
  int64_t moments_elements = 0;
  double clip_norm = 0;
  double* verdict = nullptr;
};
void JudgeStep(cudaStream_t stream, const JudgeArguments& arguments);

struct RunningArguments {
  RunningRule rule;  // but kNone
  const double* running = nullptr;
  const double* moments = nullptr;
  const double* verdict = nullptr;  // null: accepted
  double* updated = nullptr;        // no part of running
};
// The blocks of `updated`; it is not touched between them.
void UpdateRunning(cudaStream_t stream, const RunningArguments& arguments,
                   std::span<const RunningBlock> blocks);

}  // namespace syncbn::backend::cuda::kernels
